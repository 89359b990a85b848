// How often each entry of the ledger was written at the target, counted by the target itself: a
// second application shows even where an upsert hides it in the rows.
import { LEDGER } from "./bank.ts";
import type { SqlClient } from "./sql-client.ts";
import { contents } from "./test-tables.ts";

const STATEMENTS = {
  postgres: [
    "CREATE TABLE applications (id bigint PRIMARY KEY, times integer NOT NULL)",
    `CREATE FUNCTION count_application() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         -- With its schema: as under native replication, triggers run with an empty search path.
         INSERT INTO public.applications VALUES (NEW.id, 1)
           ON CONFLICT (id) DO UPDATE SET times = applications.times + 1;
         RETURN NULL;
       END $$`,
    `CREATE TRIGGER count_application AFTER INSERT OR UPDATE ON ledger
       FOR EACH ROW EXECUTE FUNCTION count_application()`,
  ],
  mariadb: [
    "CREATE TABLE applications (id bigint PRIMARY KEY, times integer NOT NULL)",
    ...["AFTER INSERT", "BEFORE UPDATE"].map(
      (when, index) =>
        `CREATE TRIGGER count_${index} ${when} ON ledger FOR EACH ROW
           INSERT INTO applications VALUES (NEW.id, 1) ON DUPLICATE KEY UPDATE times = times + 1`,
    ),
  ],
  sqlite: [
    "CREATE TABLE applications (id bigint PRIMARY KEY, times integer NOT NULL)",
    ...["INSERT", "UPDATE"].map(
      (event) =>
        `CREATE TRIGGER count_${event} AFTER ${event} ON ledger BEGIN
           INSERT INTO applications VALUES (NEW.id, 1)
             ON CONFLICT (id) DO UPDATE SET times = times + 1;
         END`,
    ),
  ],
} as const;

/** Call when the initial copy is done: a copied row may rightly be written again by a change. */
export async function countApplications(target: SqlClient): Promise<void> {
  for (const statement of STATEMENTS[target.dialect]) await target.run(statement);
}

/** Entries that were written other than once; empty when all is well. */
export async function wronglyApplied(target: SqlClient): Promise<readonly string[]> {
  const counted = await contents(target, {
    name: "applications",
    columns: { id: "bigint", times: "integer" },
    key: ["id"],
  });
  const times = new Map(counted.map((row) => [row.id, row.times]));
  const entries = await contents(target, LEDGER);
  return entries
    .filter(({ id }) => times.get(id ?? "") !== "1")
    .map(({ id }) => `entry ${id}: ${times.get(id ?? "") ?? 0} times`);
}
