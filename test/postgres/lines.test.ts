// Rows of a copy pass from PostgreSQL to PostgreSQL untouched, as lines or in binary; where a row objects, or a value
// must be changed on the way, they are taken one by one, and nobody can tell the difference.
import { existsSync, readdirSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { TableRule } from "../../src/core/definition.ts";
import { available } from "../servers/index.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

/** Several pieces of lines. */
const ROWS = 30_000;
const TABLE = "CREATE TABLE notes (id int PRIMARY KEY, at timestamptz, body text, raw bytea)";

/** A list of columns may leave some out, so the rows of it come as text. */
const FORMS = [
  ["as lines", ["raw"], "id, at, body"],
  ["in binary", undefined, "id, at, body, raw"],
] as const;

describe.skipIf(!available("postgres")).each(FORMS)("rows %s", (form, except, columns) => {
  const rule = { table: "public.notes", ...(except && { except }) };
  const definition = TABLE.replace(except ? ", raw bytea" : "", "");
  const rowsOf = `SELECT ${columns} FROM notes`;
  const isBinary = form === "in binary";

  test("are written as they come", async () => {
    await using bed = await filled();
    const target = await bed.sql("target");
    await follow(bed, rule);
    await expectSame(bed, rowsOf);
    expect(bed.logger.text()).not.toContain("came in binary");
    // One transaction wrote thousands of them: no row was taken by itself.
    const [most] = await target.rows(
      "SELECT count(*)::text AS rows FROM notes GROUP BY xmin::text ORDER BY count(*) DESC LIMIT 1",
    );
    expect(Number(most?.rows)).toBeGreaterThan(5_000);
  });

  test("give way to row by row where some stand already", async () => {
    await using bed = await filled();
    const target = await bed.sql("target");
    await target.run(definition);
    await target.run("INSERT INTO notes (id, body) VALUES (5, 'old'), (20000, 'old')");
    await follow(bed, rule);
    await expectSame(bed, rowsOf);
    // What stands is known before it is asked for.
    expect(bed.logger.text()).not.toContain("came in binary");
  });

  test("give way to row by row where some have come since it was asked for", async () => {
    await using bed = await filled();
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run("CREATE TABLE before (id int PRIMARY KEY)");
    await source.run("INSERT INTO before VALUES (1)");
    for (const ddl of [
      definition,
      "CREATE TABLE before (id int PRIMARY KEY)",
      `CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
         INSERT INTO public.notes (id, body) VALUES (5, 'old'), (20000, 'old') ON CONFLICT DO NOTHING;
         RETURN NULL;
       END$$`,
      "CREATE TRIGGER note AFTER INSERT ON before FOR EACH ROW EXECUTE FUNCTION note()",
      "ALTER TABLE before ENABLE ALWAYS TRIGGER note",
    ]) {
      await target.run(ddl);
    }
    await follow(bed, "public.before", rule);
    await expectSame(bed, rowsOf);
    const text = bed.logger.text();
    expect(text.split("came in binary").length - 1).toBe(isBinary ? 1 : 0);
    expect(text).not.toContain("interrupted");
  });

  test("name what a rule of the target refuses, and leave nothing of it", async () => {
    await using bed = await filled();
    const target = await bed.sql("target");
    await target.run(definition.replace(/\)$/, ", CONSTRAINT most CHECK (id < 29000))"));
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: [rule] }]),
    );
    await expect(pipeline.finished).rejects.toMatchObject({
      code: "TM-APPLY-CONSTRAINT",
      details: { constraint: "most" },
    });
    const [row] = await target.rows("SELECT count(*)::text AS rows FROM notes WHERE id >= 29000");
    expect(row?.rows).toBe("0");
  });

  test("are read again when the queue has lost their bodies on the way", async () => {
    await using bed = await filled();
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run(
      `INSERT INTO notes SELECT n, NULL, repeat('x', 100) FROM generate_series(${ROWS + 1}, 120000) n`,
    );
    await target.run(definition);
    // Nothing is written until most of the copy lies in the queue.
    await target.run("BEGIN");
    await target.run("LOCK TABLE notes IN SHARE MODE");
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: [rule] }]),
    );
    const folder = join(bed.folder, "queue.db-bodies");
    const files = () => (existsSync(folder) ? readdirSync(folder) : []);
    const size = () => files().reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    await expect.poll(size, { timeout: PATIENCE_MS }).toBeGreaterThan(8_000_000);
    for (const name of files()) truncateSync(join(folder, name));
    await target.run("COMMIT");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(pipeline);
    await expectSame(bed, rowsOf, 120_000);
    expect(bed.logger.text()).toContain("TM-MESSAGE-CORRUPT");
  });
});

describe.skipIf(!available("postgres"))("rows as lines", () => {
  test("with bytes stand at the target as at the source", async () => {
    await using bed = await filled();
    // Of no type that travels in binary.
    for (const name of ["source", "target"]) {
      const sql = await bed.sql(name);
      await sql.run("CREATE TYPE mood AS ENUM ('sad')");
    }
    await (await bed.sql("source")).run("ALTER TABLE notes ADD COLUMN mood mood DEFAULT 'sad'");
    await follow(bed, "public.notes");
    await expectSame(bed, "SELECT id, at, body, raw, mood FROM notes");
  });

  test("pass through a filter of the config and a transform", async () => {
    await using bed = await filled();
    await follow(bed, {
      table: "public.notes",
      except: ["raw"],
      where: "id % 3 = 0",
      transform: (row) => ({ ...row, body: row.body === null ? null : `${row.body}!` }),
    });
    const target = await bed.sql("target");
    const source = await bed.sql("source");
    expect(await target.rows("SELECT id, at, body FROM notes ORDER BY id")).toEqual(
      await source.rows(
        "SELECT id, at, body || '!' AS body FROM notes WHERE id % 3 = 0 ORDER BY id",
      ),
    );
  });
});

async function filled(): Promise<TestBed> {
  const bed = await TestBed.make({ source: "postgres", target: "postgres" });
  const source = await bed.sql("source");
  await source.run(TABLE);
  await source.run(
    `INSERT INTO notes SELECT n, timestamptz '2026-01-01 00:00:00Z' + n * interval '1 s',
       CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN E'tab\\t line\\n back\\\\ \\\\N ' || n WHEN 2 THEN '' WHEN 3 THEN E'\\\\.'
       ELSE repeat('ß漢', 20) END,
       decode(md5(n::text), 'hex')
     FROM generate_series(1, ${ROWS}) n`,
  );
  return bed;
}

async function follow(bed: TestBed, ...rules: readonly (string | TableRule)[]): Promise<void> {
  const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables: rules }]));
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.stop(pipeline);
}

async function expectSame(bed: TestBed, query: string, count = ROWS): Promise<void> {
  const read = async (sql: SqlClient) => sql.rows(`${query} ORDER BY id`);
  const rows = await read(await bed.sql("target"));
  expect(rows).toHaveLength(count);
  expect(rows).toEqual(await read(await bed.sql("source")));
}
