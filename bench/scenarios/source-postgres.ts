// What capture costs a PostgreSQL source: the same load on a database with capture and without.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { postgres } from "../../src/databases/postgres/index.ts";
import { installCapture } from "../capture.ts";
import { Database } from "../database.ts";
import { createDocuments } from "../loads/documents.ts";
import { createTpcb, TPCB_TABLES } from "../loads/pgbench.ts";
import { createWide, INSERT_ONE } from "../loads/wide.ts";
import type { Context, Scenario } from "../scenario.ts";
import { bulk, longRows, type Sides, transactions } from "./two-sources.ts";

export const sourcePostgres: Scenario = {
  name: "source",
  what: "PostgreSQL: transactions a second and bulk statements, with capture / without",

  async run(context: Context): Promise<void> {
    const tpcb = await sides(context, "tpcb", (database) =>
      createTpcb(context.bed, database, context.size(10, 1)),
    );
    await transactions(context, tpcb, { figure: "TPC-B" });
    await assertLogged(context, tpcb.measured, TPCB_TABLES);
    await drop(tpcb);
    const wide = await sides(context, "wide", createWide);
    const script = join(context.bed.folder, "insert-one.sql");
    writeFileSync(script, INSERT_ONE);
    await transactions(context, wide, { figure: "one-row INSERT", script });
    await bulk(context, wide);
    await drop(wide);
    const documents = await sides(context, "documents", (database) =>
      createDocuments(database, context.size(2_000, 20)),
    );
    await longRows(context, documents);
    await drop(documents);
  },
};

async function sides(
  { bed }: Context,
  name: string,
  create: (database: Database) => Promise<void>,
): Promise<Sides> {
  const server = await bed.source();
  const plain = await Database.create(server, `plain_${name}`);
  const captured = await Database.create(server, `captured_${name}`);
  bed.atEnd(() => plain.close());
  bed.atEnd(() => captured.close());
  for (const database of [plain, captured]) await create(database);
  await installCapture(postgres, captured.url);
  const goals = { tps: 0.85, insert: 3.6, update: 2.8 };
  return { scenario: "source", baseline: plain, against: "no capture", measured: captured, goals };
}

async function drop({ baseline, measured }: Sides): Promise<void> {
  await baseline.close();
  await measured.close();
}

/** Capture that captures nothing would be cheap. */
async function assertLogged(
  { results }: Context,
  captured: Database,
  tables: readonly string[],
): Promise<void> {
  const logged = await captured.number(
    `SELECT count(DISTINCT left(kind, -1)) FROM (SELECT kind FROM tidemark.change_log_0
     UNION ALL SELECT kind FROM tidemark.change_log_1
     UNION ALL SELECT kind FROM tidemark.change_log_2) log`,
  );
  if (logged === tables.length) return;
  results.wrong.push(`source: changes of ${logged} tables were logged, not of ${tables.length}`);
}
