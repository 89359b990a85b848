// `where` at its edges: rows that enter and leave, conditions that fail, columns that are not sent (G1).
import { describe, expect, test } from "vitest";
import type { TableRule } from "../../src/core/definition.ts";
import { isTidemarkError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { listParked } from "../../src/pipeline/parked.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { dialectOf, transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", status: "varchar", secret: "varchar", qty: "integer" },
  key: ["id"],
};

const PAIRS: readonly TestPair[] = [
  { source: "postgres", target: "mariadb", queue: "embedded" },
  { source: "mariadb", target: "postgres", queue: "embedded" },
  { source: "mysql", target: "sqlite", queue: "embedded" },
  { source: "sqlite", target: "sqlite", queue: "embedded" },
];

/** Fails where qty is 0, and only there; SQLite has no condition that fails and is let in. */
const FAILING: Partial<Record<string, string>> = {
  postgres: "10 / qty > 1 -- a comment",
  mariadb: "CAST(qty AS UNSIGNED) - 1 >= 0 -- a comment",
};

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => {
    registerPassingTests(pair);
    if (pair.source === "sqlite") registerRefusalTests(pair);
    const failing = FAILING[dialectOf(pair.source)];
    if (failing !== undefined) registerFailingTests(pair, failing);
    if (pair.source === "postgres") {
      registerShapeTests(pair, FAILING.postgres ?? "");
      registerSettingsTests(pair);
    }
    if (dialectOf(pair.source) === "mariadb") registerCascadeTests(pair);
  });
});

async function bedOf(pair: TestPair, rule: Partial<TableRule>) {
  const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, [ITEMS]);
  const definition = bed.define([
    { from: "source", to: "target", tables: [{ table: "items", ...rule }] },
  ]);
  const insert = (id: number, status: string | null, secret: string | null, qty: number | null) =>
    insertRow(source, ITEMS, { id, status, secret, qty });
  const atTarget = async () => {
    const rows = await (await bed.sql("target")).rows("SELECT id FROM items ORDER BY id");
    return rows.map(({ id }) => Number(id));
  };
  return { bed, source, definition, insert, atTarget };
}

const synced = (pipeline: Pipeline) => pipeline.waitFor({ timeoutMs: PATIENCE_MS });

function registerPassingTests(pair: TestPair): void {
  test("rows enter and leave by update, with their key too, by a column that is not sent", async () => {
    const where = "status <> 'draft' AND secret = 'open' AND (qty > 5 OR id = 1) -- a comment";
    const { bed, source, definition, insert, atTarget } = await bedOf(pair, {
      where,
      except: ["secret"],
    });
    await using _ = bed;
    await insert(1, "sent", "open", null);
    await insert(2, "draft", "open", 9);
    await insert(3, null, "open", 9);
    await insert(4, "sent", "open", null);
    await insert(5, "sent", null, 9);
    const pipeline = await bed.start(definition);
    const expectSame = async (...expected: number[]) => {
      await synced(pipeline);
      expect(await atTarget()).toEqual(expected);
      const columns = "id, status, qty";
      const wanted = await source.rows(`SELECT ${columns} FROM items WHERE ${where}\n ORDER BY id`);
      const found = await (await bed.sql("target")).rows(
        `SELECT ${columns} FROM items ORDER BY id`,
      );
      expect(found).toEqual(wanted);
    };
    await expectSame(1);
    const play = async (...statements: string[]) => {
      await transaction(source, async () => {
        for (const statement of statements) await source.run(statement);
      });
    };
    // In and out by the column sent, by the one that is not, by NULL.
    await play(
      "UPDATE items SET status = 'sent' WHERE id = 2",
      "UPDATE items SET status = 'sent' WHERE id = 3",
      "UPDATE items SET qty = 6 WHERE id = 4",
      "UPDATE items SET secret = 'open' WHERE id = 5",
    );
    await expectSame(1, 2, 3, 4, 5);
    await play(
      "UPDATE items SET secret = 'shut' WHERE id = 2",
      "UPDATE items SET status = NULL WHERE id = 3",
      "UPDATE items SET qty = NULL WHERE id = 4",
    );
    await expectSame(1, 5);
    // With the key at the same time: out, in, and a row that takes the key of one that left.
    await play("UPDATE items SET id = 15, status = 'draft' WHERE id = 5");
    await expectSame(1);
    await play("UPDATE items SET id = 12, secret = 'open' WHERE id = 2");
    await expectSame(1, 12);
    await play(
      "UPDATE items SET id = 21, status = 'draft' WHERE id = 1",
      "UPDATE items SET id = 1, status = 'kept' WHERE id = 12",
    );
    await expectSame(1);
    // In and out within a transaction; deleted while outside.
    await play(
      "UPDATE items SET status = 'draft' WHERE id = 1",
      "UPDATE items SET status = 'back' WHERE id = 1",
      "DELETE FROM items WHERE id = 21",
    );
    await expectSame(1);
  });

  test("a condition that the source does not take is refused before the start", async () => {
    const { bed, definition } = await bedOf(pair, { where: "no_such_column = 1" });
    await using _ = bed;
    await expect(bed.open(definition)).rejects.toMatchObject({ code: "TM-CONFIG-INVALID" });
  });
}

function registerRefusalTests(pair: TestPair): void {
  test.each([
    ["a function that may raise", "abs(qty) > 1", "abs"],
    ["JSON", "status ->> '$.a' = 1", "->>"],
    ["a sum over a subquery", "(SELECT sum(qty) FROM items) > 1", "sum"],
  ])("%s is refused: a trigger could not catch the error", async (_title, where, name) => {
    const { bed, definition } = await bedOf(pair, { where });
    await using _ = bed;
    await expect(bed.open(definition)).rejects.toMatchObject({
      code: "TM-CONFIG-INVALID",
      message: expect.stringContaining(`${name}()`),
    });
  });

  test("a row is not told by a LIKE that means another thing to its writer", async () => {
    const where = "status like 'S%' -- a comment";
    const { bed, source, definition, insert, atTarget } = await bedOf(pair, {
      where,
      onError: "park",
    });
    await using _ = bed;
    const pipeline = await bed.start(definition);
    await insert(1, "Sent", null, null);
    await source.run("PRAGMA case_sensitive_like = ON");
    await insert(2, "sent", null, null);
    await insert(3, "draft", null, null);
    await synced(pipeline);
    const parked = await listParked(definition, silentLogger);
    expect([await atTarget(), parked.map(({ key }) => Number(JSON.parse(key).id)).sort()]).toEqual([
      [1],
      [2, 3],
    ]);
    await source.run("PRAGMA case_sensitive_like = OFF");
    await source.run("UPDATE items SET qty = 1");
    await synced(pipeline);
    expect([await atTarget(), await listParked(definition, silentLogger)]).toEqual([[1, 2], []]);
  });

  test("functions that never raise are let in", async () => {
    const where = "lower(status) LIKE 'S%' AND coalesce(qty, 0) BETWEEN 0 AND round(5.5)";
    const { bed, definition, insert, atTarget } = await bedOf(pair, { where });
    await using _ = bed;
    const pipeline = await bed.start(definition);
    await insert(1, "Sent", null, null);
    await insert(2, "draft", null, 1);
    await synced(pipeline);
    expect(await atTarget()).toEqual([1]);
  });
}

function registerFailingTests(pair: TestPair, where: string): void {
  test("a condition that fails never fails the application; the sync stops and names it", async () => {
    const { bed, source, definition, insert } = await bedOf(pair, { where });
    await using _ = bed;
    await insert(1, "sent", "open", 5);
    const pipeline = await bed.start(definition);
    await synced(pipeline);
    await insert(2, "sent", "open", 0);
    expect(await source.run("UPDATE items SET qty = 0 WHERE id = 1")).toBe(1);
    await expect(pipeline.finished).rejects.toSatisfy(
      (error) => isTidemarkError(error, "TM-FILTER-FAILED") && error.message.includes(where),
    );
  });

  test("or parks the row, copied or changed, until its next state can be told", async () => {
    const { bed, source, definition, insert, atTarget } = await bedOf(pair, {
      where,
      onError: "park",
      except: ["secret"],
    });
    await using _ = bed;
    const parked = async () =>
      (await listParked(definition, silentLogger))
        .map(({ key }) => Number(JSON.parse(key).id))
        .sort((a, b) => a - b);
    await insert(1, "copied", "open", 0);
    await insert(2, "copied", "open", 5);
    const pipeline = await bed.start(definition);
    await synced(pipeline);
    expect([await atTarget(), await parked()]).toEqual([[2], [1]]);

    await insert(3, "new", "open", 0);
    await source.run("UPDATE items SET qty = 0 WHERE id = 2");
    await insert(4, "new", "open", 5);
    await synced(pipeline);
    // What stood of row 2 before stays.
    expect([await atTarget(), await parked()]).toEqual([
      [2, 4],
      [1, 2, 3],
    ]);

    await source.run("UPDATE items SET qty = 5 WHERE id = 1");
    await source.run("DELETE FROM items WHERE id = 2");
    await source.run("UPDATE items SET id = 30 WHERE id = 3");
    await synced(pipeline);
    expect([await atTarget(), await parked()]).toEqual([[1, 4], [30]]);
    await source.run("UPDATE items SET id = 31, qty = 5 WHERE id = 30");
    await synced(pipeline);
    expect([await atTarget(), await parked()]).toEqual([[1, 4, 31], []]);
  });
}

function registerShapeTests(pair: TestPair, where: string): void {
  test("a condition that fails is told in every shape of capture", async () => {
    const { bed, source, definition, insert } = await bedOf(pair, { where, onError: "park" });
    await using _ = bed;
    await source.run("CREATE TABLE logged (LIKE items INCLUDING ALL)");
    await source.run(
      `CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
    );
    await source.run(
      "CREATE TRIGGER quiet AFTER UPDATE ON logged FOR EACH ROW EXECUTE FUNCTION quiet()",
    );
    await source.run(
      "CREATE TABLE parts (qty int, dropped int, id int PRIMARY KEY) PARTITION BY RANGE (id)",
    );
    await source.run("ALTER TABLE parts DROP COLUMN dropped");
    await source.run("CREATE TABLE parts_1 (id int NOT NULL, qty int)");
    await source.run("ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES FROM (0) TO (100)");
    const rule = (table: string): TableRule => ({ table, where, onError: "park" });
    const all = bed.define([
      { from: "source", to: "target", tables: ["items", "logged", "parts"].map(rule) },
    ]);
    expect(all.syncs).toHaveLength(definition.syncs.length);
    const pipeline = await bed.start(all);
    await insert(1, null, null, 0);
    await source.run("INSERT INTO logged SELECT * FROM items");
    await source.run("INSERT INTO logged (id, qty) VALUES (2, 5)");
    await source.run("INSERT INTO parts (id, qty) VALUES (1, 0), (2, 5)");
    await source.run("UPDATE parts_1 SET qty = 0 WHERE id = 2");
    await synced(pipeline);
    const parked = await listParked(all, silentLogger);
    expect(parked.map(({ table, key }) => `${table} ${JSON.parse(key).id}`).sort()).toEqual([
      "public.items 1",
      "public.logged 1",
      "public.parts 1",
      "public.parts 2",
    ]);
    // Nothing of ours holds on to the table.
    await source.run("DROP TABLE items");
  });
}

/** What a session may be set to, and a condition that holds but where it is read under that. */
const READ_OTHERWISE: readonly (readonly [setting: string, condition: string])[] = [
  ["standard_conforming_strings TO off", String.raw`status ~ '^\d+$'`],
  // Bytes that are no UTF-8, where a backslash is an escape.
  ["escape_string_warning TO off", String.raw`status <> '\xde\xad'`],
  ["backslash_quote TO off", String.raw`status <> E'\''`],
  ["array_nulls TO off", "array_position('{NULL}'::text[], NULL) = 1"],
  ["transform_null_equals TO on", "(secret = NULL) IS NULL"],
  [
    "timezone_abbreviations TO 'India'",
    "timestamptz '2024-01-01 00:00 IST' = '2023-12-31 22:00+00'",
  ],
  ["xmloption TO document", "status::xml IS NOT NULL"],
  ["xmlbinary TO hex", "xmlelement(name x, 'a'::bytea)::text = '<x>YQ==</x>'"],
  [
    "default_text_search_config TO 'english'",
    "to_tsvector('running') @@ 'running & !run'::tsquery",
  ],
  ["TimeZone TO 'Asia/Tokyo'", "timestamptz '2024-01-01 00:00' = '2024-01-01 00:00+00'"],
  ["DateStyle TO 'SQL, DMY'", "date '01/02/03' = '2001-02-03'"],
  // By a function of the application, in whose name the condition does not tell what it depends on.
  ["plpgsql.variable_conflict TO error", "app.nulls() = 1"],
];

function registerSettingsTests(pair: TestPair): void {
  test("a condition says the same whatever the writer's session is set to", async () => {
    const where = READ_OTHERWISE.map(([, condition]) => `(${condition})`).join(" AND ");
    const { bed, source } = await bedOf(pair, { where });
    await using _ = bed;
    await source.run(
      `CREATE SCHEMA app;
       CREATE FUNCTION app.nulls() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
         RETURN array_position(('{' || 'NU' || 'LL}')::text[], NULL); END $$;
       CREATE TABLE logged (LIKE items INCLUDING ALL);
       CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
       CREATE TRIGGER quiet AFTER UPDATE ON logged FOR EACH ROW EXECUTE FUNCTION quiet()`,
    );
    await source.run("INSERT INTO items VALUES (1, '1'); INSERT INTO logged VALUES (1, '1')");
    for (const i of READ_OTHERWISE.keys()) {
      await source.run(`CREATE TABLE only_${i} (LIKE items INCLUDING ALL)`);
      await source.run(`INSERT INTO only_${i} VALUES (1, '1')`);
    }
    const rules: readonly TableRule[] = [
      { table: "items", where },
      { table: "logged", where },
      ...READ_OTHERWISE.map(([, condition], i) => ({ table: `only_${i}`, where: condition })),
    ];
    const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables: rules }]));
    await synced(pipeline);
    for (const [setting] of READ_OTHERWISE) await source.run(`SET ${setting}`);
    const target = await bed.sql("target");
    for (const { table } of rules) {
      await source.run(`INSERT INTO ${table} (id, status) VALUES (2, '2')`);
      await synced(pipeline);
      const rows = await target.rows(`SELECT id FROM ${table} ORDER BY id`);
      expect([table, ...rows.map(({ id }) => Number(id))]).toEqual([table, 1, 2]);
    }
  });

  test("a condition that names a value which is none is refused before the start", async () => {
    const { bed, definition } = await bedOf(pair, { where: "status::date > '31.12.2024'" });
    await using _ = bed;
    await expect(bed.start(definition)).rejects.toSatisfy((error) =>
      isTidemarkError(error, "TM-CONFIG-INVALID"),
    );
  });
}

function registerCascadeTests(pair: TestPair): void {
  test("a condition that fails is told in what a foreign key does", async () => {
    const { bed, source, definition, insert } = await bedOf(pair, {
      where: "CAST(COALESCE(parent, 0) AS UNSIGNED) - 1 >= 0",
      onError: "park",
    });
    await using _ = bed;
    await source.run("CREATE TABLE parents (id int PRIMARY KEY)");
    await source.run(
      "ALTER TABLE items ADD parent int, ADD FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE SET NULL",
    );
    await source.run("INSERT INTO parents VALUES (1)");
    await insert(1, null, null, 5);
    await source.run("UPDATE items SET parent = 1");
    const pipeline = await bed.start(definition);
    await source.run("DELETE FROM parents");
    await synced(pipeline);
    expect(await listParked(definition, silentLogger)).toMatchObject([
      { table: "items", code: "TM-FILTER-FAILED" },
    ]);
  });
}
