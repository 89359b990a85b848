// A copy from SQLite to SQLite is exact, whatever class a value has; a target stays responsive.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Progress } from "../../src/core/target.ts";
import { type Row, UNCHANGED } from "../../src/core/value.ts";
import { Bench, refuses } from "../../src/testing/database-bed.ts";
import { takeChunk } from "../../src/testing/replica.ts";
import { sqliteBed } from "../conformance/sqlite-bed.ts";

let from: Bench;
let to: Bench;
beforeEach(async () => {
  from = new Bench(await sqliteBed());
  to = new Bench(await sqliteBed());
});
afterEach(async () => {
  await from.close();
  await to.close();
});

const VALUES = [
  "NULL",
  "0",
  "1",
  "-1",
  "9223372036854775807",
  "-9223372036854775808",
  "0.1",
  "5.0",
  "-0.0",
  "1e300",
  "1e18",
  "9007199254740993",
  "5e-324",
  "9e999",
  "-9e999",
  "''",
  "'abc'",
  "'5'",
  "'5.0'",
  "' 7 '",
  "'1e3'",
  "'-0'",
  "'t'",
  "'NaN'",
  "'Infinity'",
  "'2024-02-29'",
  "'2024-02-29 12:00:00'",
  "'12:00:00'",
  "'{\"a\":1}'",
  "'0f8fad5b-d9cb-469f-a165-70867728950e'",
  "'a' || char(0) || 'b'",
  "CAST(x'80ff41' AS TEXT)",
  "CAST(x'eda080' AS TEXT)",
  "'\ufffd'",
  "x''",
  "x'00ff'",
  "x'35'",
];

const TYPES = [
  "INTEGER",
  "INT",
  "TEXT",
  "VARCHAR(10)",
  "REAL",
  "DOUBLE PRECISION",
  "BLOB",
  "",
  "NUMERIC",
  "DECIMAL(10,2)",
  "BOOLEAN",
  "DATE",
  "DATETIME",
  "TIME",
  "JSON",
  "UUID",
  "STRING",
  "ANY",
  'my "odd" type',
  // Only quoted are these words a type's name.
  '"SET"',
  '"VARCHAR(10) NOT NULL"',
  '"INTEGER DEFAULT"',
];

async function copy(table: string): Promise<void> {
  const log = await from.log();
  const capture = await from.captureTable(table);
  await log.capture([capture]);
  const target = await to.target();
  const { schema } = capture;
  const plan = await target.plan([
    {
      name: schema.name,
      key: schema.key,
      columns: schema.columns.map((column) => ({ ...column, sourceKind: "sqlite" })),
    },
  ]);
  expect(plan.mappings.map(({ fidelity }) => fidelity)).not.toContain("refused");
  await target.prepare(plan);
  const session = await target.openApplier("s", plan.tables);
  const [bound] = plan.tables;
  if (session === null || bound === undefined) throw new ReferenceError("no session");
  const { chunk } = await takeChunk(log.batches, {
    table: schema.name,
    after: null,
    maxRows: 10_000,
    maxBytes: 1 << 30,
  });
  const transaction = await session.begin(await session.load());
  await transaction.put(bound, chunk.rows);
  await transaction.put(bound, chunk.rows, { fresh: true });
  await transaction.commit({
    timeline: "t",
    position: { batch: 1, chunk: 0 },
    hash: "h",
    tables: [],
  });
  await session.close();
}

describe("SQLite to SQLite", () => {
  it("keeps every value's class and bytes in a column of every type", async () => {
    const source = await from.sql();
    const columns = TYPES.map(
      (type, i) => `c${i} ${type.startsWith("my ") ? '"my ""odd"" type"' : type}`,
    );
    await source.run(`CREATE TABLE t (id INTEGER PRIMARY KEY, ${columns.join(", ")})`);
    for (const [i, value] of VALUES.entries()) {
      await source.run(`INSERT INTO t VALUES (${i}, ${TYPES.map(() => value).join(", ")})`);
    }
    await copy("t");
    const read = `SELECT id, ${TYPES.map((_, i) => `typeof(c${i}), hex(CAST(c${i} AS BLOB)), printf('%!.20g', c${i})`).join(", ")} FROM t ORDER BY id`;
    expect(await (await to.sql()).rows(read)).toEqual(await source.rows(read));
    const declared = "SELECT name, type FROM pragma_table_info('t')";
    const types = new Map(
      (await (await to.sql()).rows(declared)).map(([name, type]) => [name, type]),
    );
    for (const [name, type] of await source.rows(declared)) {
      // Without STRICT, a column called ANY converts; the copy's does not, so its values stay.
      expect(types.get(name ?? null)).toBe(type === "ANY" ? "" : type);
    }
  });

  it("keeps every class in the columns of a STRICT table", async () => {
    const source = await from.sql();
    await source.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v ANY) STRICT");
    for (const [i, value] of VALUES.entries())
      await source.run(`INSERT INTO t VALUES (${i}, ${value})`);
    await copy("t");
    const read =
      "SELECT id, typeof(v), hex(CAST(v AS BLOB)), printf('%!.20g', v) FROM t ORDER BY id";
    expect(await (await to.sql()).rows(read)).toEqual(await source.rows(read));
  });

  it("keeps keys of every class", async () => {
    const source = await from.sql();
    await source.run("CREATE TABLE t (k PRIMARY KEY NOT NULL, v) WITHOUT ROWID");
    for (const value of VALUES.slice(1))
      await source.run(`INSERT OR IGNORE INTO t VALUES (${value}, 1)`);
    await copy("t");
    const read = "SELECT typeof(k), hex(CAST(k AS BLOB)) FROM t ORDER BY k";
    expect(await (await to.sql()).rows(read)).toEqual(await source.rows(read));
  });
});

describe("a target of ours", () => {
  async function openItems(ddl: string | null) {
    const sql = await to.sql();
    if (ddl !== null) await sql.run(ddl);
    const target = await to.target();
    const plan = await target.plan([
      {
        name: to.name("items"),
        key: ["id"],
        columns: [
          {
            name: "id",
            type: { kind: "integer", bits: 64 },
            nativeType: "bigint",
            sourceKind: "x",
            nullable: false,
          },
          {
            name: "v",
            type: { kind: "text" },
            nativeType: "text",
            sourceKind: "x",
            nullable: true,
          },
        ],
      },
    ]);
    await target.prepare(plan);
    const session = await target.openApplier("s", plan.tables);
    const [bound] = plan.tables;
    if (session === null || bound === undefined) throw new ReferenceError("no session");
    to.keep(session);
    return { sql, session, bound };
  }
  const next: Progress = { timeline: "t", position: { batch: 1, chunk: 0 }, hash: "h", tables: [] };

  it("lets the rest of the process run during a large batch", async () => {
    const { session, bound } = await openItems(null);
    const rows = Array.from({ length: 60_000 }, (_, i): Row => [String(i), `value ${i}`]);
    const transaction = await session.begin(await session.load());
    let turns = 0;
    const turn = () => {
      turns++;
      turning = setImmediate(turn);
    };
    let turning = setImmediate(turn);
    // By a clock on which each look at it finds a millisecond gone, however fast the machine is: of 120,000 rows that is two seconds.
    let elapsed = 0;
    const clock = vi.spyOn(performance, "now").mockImplementation(() => elapsed++);
    try {
      await transaction.put(bound, rows);
      await transaction.remove(
        bound,
        rows.map(([id]) => [id ?? null]),
      );
    } finally {
      clock.mockRestore();
      clearImmediate(turning);
    }
    await transaction.commit(next);
    expect(elapsed).toBeGreaterThan(1_800);
    expect(turns).toBeGreaterThan(elapsed / 20);
  });

  it("refuses a tagged value that its column would convert, by name and without the value", async () => {
    const { session, bound } = await openItems(null);
    const transaction = await session.begin(await session.load());
    const put = transaction.put(bound, [["1", ["integer", "424242"]]]);
    await refuses(put, "TM-VALUE-REFUSED");
    await expect(put).rejects.toThrow("items.v");
    await expect(put).rejects.not.toThrow("424242");
  });

  it("tells keys apart that its collation takes for one", async () => {
    const sql = await to.sql();
    await sql.run("CREATE TABLE items (id TEXT COLLATE NOCASE PRIMARY KEY, v TEXT)");
    const target = await to.target();
    const plan = await target.plan([
      {
        name: to.name("items"),
        key: ["id"],
        columns: ["id", "v"].map((name) => ({
          name,
          type: { kind: "text" },
          nativeType: "TEXT",
          sourceKind: "sqlite",
          nullable: name === "v",
        })),
      },
    ]);
    await target.prepare(plan);
    const [bound] = plan.tables;
    const session = await target.openApplier("s", plan.tables);
    if (session === null || bound === undefined) throw new ReferenceError("no session");
    to.keep(session);
    const transaction = await session.begin(await session.load());
    await transaction.put(bound, [
      ["A", "1"],
      ["b", "2"],
      [["text", "raw\udcff"], "3"],
    ]);
    // As a source with the same collation logs the update of A to a, in either order.
    await transaction.put(bound, [["a", "1"]]);
    await transaction.remove(bound, [["A"], ["B"], [["text", "RAW\udcff"]]]);
    await transaction.put(bound, [["b", UNCHANGED]]);
    await transaction.commit(next);
    expect(await sql.rows("SELECT hex(id), v FROM items ORDER BY v")).toEqual([
      ["61", "1"],
      ["62", "2"],
      ["726177FF", "3"],
    ]);
  });

  it.each([
    ["UNIQUE ON CONFLICT REPLACE", "a"],
    ["UNIQUE ON CONFLICT IGNORE", "a"],
    ["UNIQUE ON CONFLICT ROLLBACK", "a"],
    ["NOT NULL ON CONFLICT REPLACE DEFAULT 'other'", null],
  ])("lets no rule of its schema change in silence what is written: %s", async (rule, value) => {
    const { session, bound } = await openItems(
      `CREATE TABLE items (id INTEGER PRIMARY KEY, v TEXT ${rule})`,
    );
    const transaction = await session.begin(await session.load());
    await transaction.put(bound, [["1", "a"]]);
    await refuses(transaction.put(bound, [["2", value]]), "TM-APPLY-CONSTRAINT");
    await transaction.put(bound, [["1", "b"]]);
    await transaction.commit(next);
    expect(await (await to.sql()).rows("SELECT * FROM items")).toEqual([["1", "b"]]);
  });

  it.each([
    ["RAISE(ROLLBACK)", "SELECT RAISE(ROLLBACK, 'no')"],
    ["OR ROLLBACK", "INSERT OR ROLLBACK INTO taken VALUES (1)"],
  ])("commits nothing behind a trigger that ends its transaction: %s", async (_, action) => {
    const { sql, session, bound } = await openItems(
      `CREATE TABLE taken (id INTEGER PRIMARY KEY); INSERT INTO taken VALUES (1);
       CREATE TABLE items (id INTEGER PRIMARY KEY, v TEXT);
       CREATE TRIGGER no AFTER INSERT ON items WHEN NEW.id = 2 BEGIN ${action}; END`,
    );
    const transaction = await session.begin(await session.load());
    await transaction.put(bound, [["1", "a"]]);
    const put = (id: string) => transaction.put(bound, [[id, "a"]]);
    await refuses(
      transaction.attempt(() => put("2")),
      "TM-TABLE-UNSUPPORTED",
    );
    await refuses(put("3"), "TM-INTERNAL");
    await transaction.rollback();
    expect(await sql.rows("SELECT * FROM items")).toEqual([]);
  });

  it("names the tables of a reference that does not hold", async () => {
    const { session, bound } = await openItems(
      "CREATE TABLE p (v TEXT PRIMARY KEY); CREATE TABLE items (id INTEGER PRIMARY KEY, v TEXT REFERENCES p)",
    );
    const transaction = await session.begin(await session.load());
    await transaction.put(bound, [["1", "orphan"]]);
    const commit = transaction.commit(next);
    await refuses(commit, "TM-APPLY-CONSTRAINT");
    await expect(commit).rejects.toThrow("items refers to p");
  });

  it.each([
    [
      "columns without a unique index",
      "TM-TABLE-UNSUPPORTED",
      "CREATE TABLE p (id PRIMARY KEY, v TEXT)",
    ],
    ["a table that is missing", "TM-TABLE-MISSING", "CREATE TABLE other (v TEXT)"],
  ])("tells how to mend a foreign key to %s", async (_, code, parent) => {
    const { session, bound } = await openItems(
      `${parent}; CREATE TABLE items (id INTEGER PRIMARY KEY, v TEXT REFERENCES p (v))`,
    );
    const transaction = await session.begin(await session.load());
    const put = () => transaction.put(bound, [["1", "a"]]);
    await expect(transaction.attempt(put)).rejects.toMatchObject({
      code,
      fix: expect.stringContaining("foreign key"),
    });
    await transaction.rollback();
  });

  it("waits for a writer of the file, and says so when it waits too long", async () => {
    const { sql, session, bound } = await openItems(null);
    await sql.run("BEGIN IMMEDIATE");
    const start = await session.load();
    let begun = false;
    const beginning = session.begin(start).then((transaction) => {
      begun = true;
      return transaction;
    });
    await sql.run("CREATE TABLE other (id)");
    expect(begun).toBe(false);
    await sql.run("COMMIT");
    const transaction = await beginning;
    await transaction.put(bound, [["1", "a"]]);
    await transaction.commit(next);
    expect(await sql.rows("SELECT * FROM items")).toEqual([["1", "a"]]);
  });
});
