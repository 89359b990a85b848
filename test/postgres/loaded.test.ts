// A table that comes back from a dump, with our triggers and by another oid: the application's writes go on (G8).
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, connect, optionsOf, SERVERS } from "./support.ts";

const OWN = `CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
  CREATE TRIGGER own BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION own()`;
const TABLES = [
  ["a table", "CREATE TABLE t (id int PRIMARY KEY, name text)"],
  [
    "a partitioned table",
    `CREATE TABLE t (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
     CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE high PARTITION OF t DEFAULT`,
  ],
] as const;

describe.each(SERVERS)("on %s", (kind) => {
  const open: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  it.skipIf(!available(kind)).each(TABLES)("%s with triggers of its own", async (_, create) => {
    const database = await freshDatabase(kind);
    open.push({ close: async () => database[Symbol.asyncDispose]() });
    const sql = await connect(database.url);
    open.push({ close: () => sql.end() });
    await sql.query(`${create}; ${OWN}`);
    const source = await postgres.openSource(optionsOf(database.url));
    open.push(source);
    const log = (await source.openChangeLog()) as ChangeLog;
    open.push(log);
    await log.capture(await captureTables(database.url, ["t"]));

    // What `pg_dump -t t` writes; a dump of all loads the same into another database.
    const { rows } = await sql.query<{ create: string }>(
      `SELECT pg_get_triggerdef(oid) AS create FROM pg_trigger
       WHERE tgrelid = 't'::regclass AND NOT tgisinternal AND tgparentid = 0 AND tgname <> 'own'`,
    );
    const triggers = rows.map((row) => row.create);
    expect(triggers.length).toBeGreaterThan(1);
    await sql.query("DROP TABLE t; DROP FUNCTION own");
    await sql.query([create, OWN, ...triggers].join(";\n"));

    await sql.query("INSERT INTO t VALUES (1, 'a'), (20, 'b')");
    await sql.query("UPDATE t SET id = id + 1, name = 'x'");
    await sql.query("DELETE FROM t WHERE id = 2");
    await expect(log.batches.cut()).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
    await sql.query("ALTER TABLE t RENAME TO other");
    await sql.query("INSERT INTO other VALUES (3, 'c')");
  });
});
