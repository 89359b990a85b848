// As many columns as each database can have; tables of one column; empty tables.
import { describe, expect, test } from "vitest";
import type { DatabaseKind } from "../servers/index.ts";
import { LARGE, sized } from "../support/large.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { dialectOf, type SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

/** Of a table of 4-byte integers, in what the source can capture and the target can hold. */
const MOST: Readonly<Record<string, number>> = { postgres: 1_600, mariadb: 1_017, sqlite: 1_993 };

const MORE_PAIRS: readonly TestPair[] = [
  { source: "mysql", target: "mysql", queue: "embedded" },
  { source: "postgres", target: "sqlite", queue: "embedded" },
  { source: "mariadb", target: "postgres", queue: "embedded" },
];

const PAIRS: readonly TestPair[] = [
  { source: "postgres", target: "postgres", queue: "embedded" },
  { source: "mariadb", target: "mariadb", queue: "embedded" },
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  ...(LARGE ? MORE_PAIRS : []),
];

const most = (kind: DatabaseKind) => MOST[dialectOf(kind)] ?? 0;

async function createWide(sql: SqlClient, columns: number, more = ""): Promise<void> {
  const list = Array.from({ length: columns - 1 }, (_, i) => `c${i} int`);
  await sql.run(`CREATE TABLE wide (id int NOT NULL PRIMARY KEY, ${list.join(", ")})${more}`);
}

async function insertWide(sql: SqlClient, columns: number, id: number): Promise<void> {
  const values = Array.from({ length: columns - 1 }, (_, i) => (i % 7 === 0 ? "NULL" : i + id));
  await sql.run(`INSERT INTO wide VALUES (${id}, ${values.join(", ")})`);
}

const inOrder = (sql: SqlClient, table: string) => sql.rows(`SELECT * FROM ${table} ORDER BY id`);

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => {
    // SQLite takes long over so many; an expression of it may be 1,000 deep, which these are beyond, too.
    const few = pair.source === "sqlite" ? sized(1_100, 2_000) : 2_000;
    const columns = Math.min(few, most(pair.source), most(pair.target));
    test(`${columns} columns, copied and changed, with a condition and without a column`, async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const [source, target] = [await bed.sql("source"), await bed.sql("target")];
      await createWide(source, columns);
      for (let id = 1; id <= 3; id++) await insertWide(source, columns, id);
      const rule = { table: "wide", as: "copy" };
      const whole = await bed.start(bed.define([{ from: "source", to: "target", tables: [rule] }]));
      await whole.waitFor({ timeoutMs: PATIENCE_MS });
      expect(await inOrder(target, "copy")).toEqual(await inOrder(source, "wide"));
      const change = async () => {
        await insertWide(source, columns, 30);
        await source.run(`UPDATE wide SET c${columns - 2} = -1 WHERE id < 3`);
        await source.run("UPDATE wide SET id = 31 WHERE id = 30");
        await source.run("DELETE FROM wide WHERE id = 3");
      };
      await change();
      await whole.waitFor({ timeoutMs: PATIENCE_MS });
      expect(await inOrder(target, "copy")).toEqual(await inOrder(source, "wide"));
      await bed.stop(whole);

      await source.run("DELETE FROM wide WHERE id > 20");
      const where = `c${columns - 3} <> 0 AND c1 > 0`;
      const some = await bed.start(
        bed.define([
          {
            from: "source",
            to: "target",
            tables: [{ ...rule, as: "narrower", except: ["c0"], where }],
          },
        ]),
      );
      await change();
      await some.waitFor({ timeoutMs: PATIENCE_MS });
      const passing = await source.rows(`SELECT * FROM wide WHERE ${where} ORDER BY id`);
      const expected = passing.map(({ c0: _, ...row }) => row);
      expect(expected.length).toBeGreaterThan(0);
      expect(await inOrder(target, "narrower")).toEqual(expected);
    });
  });
});

const TOO_WIDE: readonly (readonly [source: DatabaseKind, target: DatabaseKind, code: string])[] = [
  ["postgres", "mariadb", "TM-COLUMN-UNFIT"],
  ["sqlite", "postgres", "TM-COLUMN-UNFIT"],
  ["sqlite", "mariadb", "TM-COLUMN-UNFIT"],
];

test.each(TOO_WIDE)("%s to %s: more than the target can hold is refused", async (...given) => {
  const [source, target, code] = given;
  await using bed = await TestBed.make({ source, target });
  await createWide(await bed.sql("source"), most(source));
  const definition = bed.define([{ from: "source", to: "target", tables: ["wide"] }]);
  await expect(bed.open(definition)).rejects.toMatchObject({
    code,
    message: expect.stringContaining("at most"),
  });
});

for (const target of ["mariadb", "mysql"] as const) {
  const pair: TestPair = { source: "sqlite", target, queue: "embedded" };
  test.skipIf(!available(pair))(
    `${title(pair)}: texts that a row has no room for together are refused as a table, not as a value`,
    async () => {
      await using bed = await TestBed.make({ source: "sqlite", target });
      const [source, there] = [await bed.sql("source"), await bed.sql("target")];
      const list = Array.from({ length: 450 }, (_, i) => `c${i} text`);
      const table = `CREATE TABLE wide (id int NOT NULL PRIMARY KEY, ${list.join(", ")})`;
      await source.run(table);
      await source.run("INSERT INTO wide (id, c7) VALUES (1, 'short')");
      const definition = bed.define([{ from: "source", to: "target", tables: ["wide"] }]);
      await expect(bed.start(definition)).rejects.toMatchObject({
        code: "TM-COLUMN-UNFIT",
        message: expect.stringContaining("Table wide."),
        fix: expect.stringContaining("innodb_strict_mode"),
      });
      // The way out that the error names.
      await there.run("SET SESSION innodb_strict_mode = OFF");
      await there.run(`${table.replace("int", "bigint").replaceAll(" text", " longtext")}`);
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      expect(await inOrder(there, "wide")).toEqual(await inOrder(source, "wide"));
    },
  );
}

const SHORT_TEXTS: TestPair = { source: "postgres", target: "mariadb", queue: "embedded" };

// MariaDB has room for 33 of VARCHAR(60), and for 383 of LONGTEXT.
test.skipIf(!available(SHORT_TEXTS))("150 short texts arrive in MariaDB", async () => {
  await using bed = await TestBed.make({ source: "postgres", target: "mariadb" });
  const [source, target] = [await bed.sql("source"), await bed.sql("target")];
  const list = Array.from({ length: 150 }, (_, i) => `c${i} varchar(60)`);
  await source.run(`CREATE TABLE wide (id int NOT NULL PRIMARY KEY, ${list.join(", ")})`);
  const values = list.map(() => "repeat('é', 60)").join(", ");
  await source.run(`INSERT INTO wide VALUES (1, ${values})`);
  const pipeline = await bed.start(
    bed.define([{ from: "source", to: "target", tables: ["public.wide"] }]),
  );
  await source.run(`INSERT INTO wide VALUES (2, ${values})`);
  await source.run("UPDATE wide SET c7 = 'short' WHERE id = 1");
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  expect(await inOrder(target, "wide")).toEqual(await inOrder(source, "wide"));
});

const LONG_KEYS = { postgres: 33, mariadb: 33, mysql: 17 } as const;

for (const [target, columns] of Object.entries(LONG_KEYS) as [DatabaseKind, number][]) {
  const pair: TestPair = { source: "sqlite", target, queue: "embedded" };
  test.skipIf(!available(pair))(
    `${title(pair)}: a key of ${columns} columns is refused`,
    async () => {
      await using bed = await TestBed.make({ source: "sqlite", target });
      const source = await bed.sql("source");
      const key = Array.from({ length: columns }, (_, i) => `c${i}`);
      const list = key.map((name) => `${name} int NOT NULL`);
      await source.run(
        `CREATE TABLE long_key (${list.join(", ")}, PRIMARY KEY (${key.join(", ")}))`,
      );
      const definition = bed.define([{ from: "source", to: "target", tables: ["long_key"] }]);
      await expect(bed.open(definition)).rejects.toMatchObject({
        code: "TM-COLUMN-UNFIT",
        message: expect.stringContaining(`columns, the key has ${columns}`),
      });
    },
  );
}

test("more than the change log of SQLite has room for is refused", async () => {
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
  await createWide(await bed.sql("source"), most("sqlite") + 1);
  const definition = bed.define([{ from: "source", to: "target", tables: ["wide"] }]);
  await expect(bed.open(definition)).rejects.toMatchObject({ code: "TM-TABLE-UNSUPPORTED" });
});

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("a table of nothing but its key, and an empty one", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run("CREATE TABLE only_key (id int NOT NULL PRIMARY KEY)");
    await source.run("CREATE TABLE no_rows (id int NOT NULL PRIMARY KEY, note varchar(9))");
    await source.run("INSERT INTO only_key VALUES (1), (2), (3)");
    const definition = bed.define([
      { from: "source", to: "target", tables: ["only_key", "no_rows"] },
    ]);
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    expect(await inOrder(target, "no_rows")).toEqual([]);
    await source.run("UPDATE only_key SET id = 10 WHERE id = 1");
    await source.run("UPDATE only_key SET id = 3 WHERE id = 10 AND id = 0");
    await source.run("DELETE FROM only_key WHERE id = 2");
    await source.run("INSERT INTO only_key VALUES (4)");
    await source.run("DELETE FROM no_rows");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    expect(await inOrder(target, "only_key")).toEqual(await inOrder(source, "only_key"));
    expect(await inOrder(target, "no_rows")).toEqual([]);
  });
});
