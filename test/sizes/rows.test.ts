// A row as large as memory lets it be: it passes, within a known multiple of its size, or is named (G7).
import { describe, expect, test } from "vitest";
import { sha256 } from "../../src/core/hash.ts";
import { measured, report, sized } from "../support/large.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { dialectOf, type SqlClient, type SqlRow } from "../support/sql-client.ts";
import { TestBed } from "../support/test-bed.ts";
import { TwoProcesses } from "../support/two-processes.ts";

const MEGABYTES = sized(5, 100);
const PATIENCE_MS = 280_000;
/** What a process may need: a part that is always there, and so many times the row (docs/reference/limits.md). */
const ALWAYS_MEGABYTES = 256;
const TIMES_THE_ROW = 18;

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "postgres", queue: "nats" },
  { source: "mariadb", target: "mariadb", queue: "embedded" },
];

const BLOB = { postgres: "bytea", mariadb: "longblob", sqlite: "blob" } as const;
const TEXT = { postgres: "text", mariadb: "longtext", sqlite: "text" } as const;

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (name, pair) => {
  test.skipIf(!available(pair))(
    `text and bytes of ${MEGABYTES} MB, copied and changed`,
    async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      const dialect = dialectOf(pair.source);
      if (dialect === "mariadb") {
        await source.run("SET GLOBAL max_allowed_packet = 1073741824");
        await bed.dropSql("source");
      }
      const sql = await bed.sql("source");
      await sql.run(
        `CREATE TABLE large (id int NOT NULL PRIMARY KEY, t ${TEXT[dialect]}, b ${BLOB[dialect]})`,
      );
      const [quarter, size] = [MEGABYTES * 1024 * 256, MEGABYTES * 1024 * 1024];
      // Five bytes, a backslash among them, which some statements and formats write as two.
      const [part, times] = [
        { postgres: "ab\\é", mariadb: "ab\\\\é", sqlite: "" }[dialect],
        size / 5,
      ];
      const text =
        dialect === "sqlite"
          ? `replace(hex(randomblob(${Math.floor(size / 9) * 4})), 'A', '\\é')`
          : `repeat('${part}', ${Math.floor(times)})`;
      const bytes = {
        postgres: `decode(repeat('00ff5c0a', ${quarter}), 'hex')`,
        mariadb: `unhex(repeat('00ff5c0a', ${quarter}))`,
        sqlite: `randomblob(${size})`,
      }[dialect];
      await sql.run(`INSERT INTO large VALUES (1, 'small', NULL), (2, ${text}, NULL)`);
      const definition = bed.define([{ from: "source", to: "target", tables: ["large"] }]);
      await using pipeline = await TwoProcesses.start(bed.folder, definition);
      const expectSame = async () =>
        expect(await digests(await bed.sql("target"))).toEqual(await digests(sql));
      await measured(`${name}: text copied`, () => pipeline.waitFor(PATIENCE_MS));
      await expectSame();
      await sql.run(`INSERT INTO large VALUES (3, NULL, ${bytes})`);
      await measured(`${name}: bytes applied`, () => pipeline.waitFor(PATIENCE_MS));
      await expectSame();
      await sql.run("UPDATE large SET t = 'small again' WHERE id = 2");
      await pipeline.waitFor(PATIENCE_MS);
      for (const role of ["relay", "applier"] as const) {
        const peak = pipeline.peakMegabytes(role);
        report(`${name}: ${role}: ${peak} MB`);
        expect(peak).toBeLessThan(ALWAYS_MEGABYTES + TIMES_THE_ROW * MEGABYTES);
      }
      await expectSame();
    },
    PATIENCE_MS,
  );
});

/** The heap that is promised to be enough for a row, whatever it holds (docs/reference/limits.md): a part that is always there, and so many times the row. */
const ALWAYS_MEGABYTES_IN_HEAP = 64;
const TIMES_THE_ROW_IN_HEAP = 13;
const HEAVY_MEGABYTES = sized(10, 20);
/** What is written as two characters by some formats, or as six, or has more bytes than characters. */
const HEAVY = ['"', "\\", "\u0001", "漢"];

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))(
    `rows of ${HEAVY_MEGABYTES} MB pass in a heap of ${TIMES_THE_ROW_IN_HEAP} times as much, and a little, whatever they hold`,
    async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const dialect = dialectOf(pair.source);
      if (dialect === "mariadb") {
        await (await bed.sql("source")).run("SET GLOBAL max_allowed_packet = 1073741824");
        await bed.dropSql("source");
      }
      const sql = await bed.sql("source");
      await sql.run(
        `CREATE TABLE large (id int NOT NULL PRIMARY KEY, t ${TEXT[dialect]}, b ${BLOB[dialect]})`,
      );
      const definition = bed.define([{ from: "source", to: "target", tables: ["large"] }]);
      const heap = {
        NODE_OPTIONS: `--max-old-space-size=${ALWAYS_MEGABYTES_IN_HEAP + TIMES_THE_ROW_IN_HEAP * HEAVY_MEGABYTES}`,
      };
      await using pipeline = await TwoProcesses.start(bed.folder, definition, {
        ...{ relay: heap, applier: heap },
      });
      await pipeline.waitFor(PATIENCE_MS);
      const values = [
        ...HEAVY.map((text) => `${repeated(dialect, text)}, NULL`),
        `NULL, ${repeated(dialect, "\\", true)}`,
      ];
      for (const [id, value] of values.entries()) {
        await sql.run(`INSERT INTO large SELECT ${id}, ${value}`);
        await pipeline.waitFor(PATIENCE_MS);
        await sql.run(`UPDATE large SET id = id + 1000 WHERE id = ${id}`);
        await pipeline.waitFor(PATIENCE_MS);
        expect(await digests(await bed.sql("target"))).toEqual(await digests(sql));
        await sql.run("DELETE FROM large");
      }
    },
    PATIENCE_MS,
  );
});

/** An expression of so many megabytes: this text again and again, be it as bytes. */
function repeated(dialect: keyof typeof TEXT, text: string, asBytes = false): string {
  const unit = Buffer.from(text);
  const times = Math.floor((HEAVY_MEGABYTES * 1_000_000) / unit.length);
  const hex = unit.toString("hex");
  if (dialect === "sqlite") {
    const repeat = `replace(hex(zeroblob(${times})), '00', CAST(x'${hex}' AS TEXT))`;
    return asBytes ? `CAST(${repeat} AS BLOB)` : repeat;
  }
  if (dialect === "mariadb") {
    const repeat = `repeat(x'${hex}', ${times})`;
    return asBytes ? repeat : `CONVERT(${repeat} USING utf8mb4)`;
  }
  return asBytes
    ? `decode(repeat('${hex}', ${times}), 'hex')`
    : `repeat(convert_from('\\x${hex}', 'UTF8'), ${times})`;
}

const KEYLESS: TestPair = { source: "mariadb", target: "mariadb", queue: "nats" };

// The heap tells what is held: garbage has no room in it. A change of a row without a key holds it twice, in hex.
test.skipIf(!available(KEYLESS))(
  "rows of 10 MB without a key pass through an applier with a heap of 96 MB",
  async () => {
    await using bed = await TestBed.make({ source: "mariadb", target: "mariadb" }, KEYLESS);
    await (await bed.sql("source")).run("SET GLOBAL max_allowed_packet = 1073741824");
    await bed.dropSql("source");
    const sql = await bed.sql("source");
    await sql.run("CREATE TABLE large (id int NOT NULL, t text, b longblob)");
    const definition = bed.define([{ from: "source", to: "target", tables: ["large"] }]);
    await using pipeline = await TwoProcesses.start(bed.folder, definition, {
      applier: { NODE_OPTIONS: "--max-old-space-size=96" },
    });
    await pipeline.waitFor(PATIENCE_MS);
    await sql.run(
      "INSERT INTO large SELECT seq, 'small', unhex(repeat(lpad(hex(seq), 8, '0'), 2621440)) FROM seq_1_to_4",
    );
    await sql.run("UPDATE large SET t = 'small again'");
    await pipeline.waitFor(PATIENCE_MS);
    expect(await digests(await bed.sql("target"))).toEqual(await digests(sql));
  },
  PATIENCE_MS,
);

const MANY = sized(400, 1_000);
/** Those that are on their way at a time. */
const A_FEW = 5;

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (name, pair) => {
  test.skipIf(!available(pair))(
    `${MANY} rows of 1 MB in one transaction need the memory of a few`,
    async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const sql = await bed.sql("source");
      const dialect = dialectOf(pair.source);
      await sql.run(`CREATE TABLE large (id int NOT NULL PRIMARY KEY, t ${TEXT[dialect]})`);
      const definition = bed.define([{ from: "source", to: "target", tables: ["large"] }]);
      await using pipeline = await TwoProcesses.start(bed.folder, definition);
      await pipeline.waitFor(PATIENCE_MS);
      const text = dialect === "sqlite" ? "hex(zeroblob(500000))" : "repeat('0123456789', 100000)";
      const select = Array.from({ length: MANY }, (_, id) => `SELECT ${id}, ${text}`);
      await sql.run(`INSERT INTO large ${select.join(" UNION ALL ")}`);
      await pipeline.waitFor(PATIENCE_MS);
      for (const role of ["relay", "applier"] as const) {
        const peak = pipeline.peakMegabytes(role);
        report(`${name}: ${role}: ${peak} MB`);
        expect(peak, role).toBeLessThan(ALWAYS_MEGABYTES + A_FEW * TIMES_THE_ROW);
      }
      const target = await bed.sql("target");
      const lengths = "SELECT count(*) AS n, min(length(t)) AS l FROM large";
      expect(await target.rows(lengths)).toEqual(await sql.rows(lengths));
    },
    PATIENCE_MS,
  );
});

test("a row larger than the queue may be is named, not waited for", async () => {
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
  const source = await bed.sql("source");
  await source.run("CREATE TABLE large (id int NOT NULL PRIMARY KEY, t text)");
  const definition = bed.define([{ from: "source", to: "target", tables: ["large"] }]);
  const bounded = {
    ...definition,
    queue: { ...definition.queue, maxStreamBytes: 2 * 1024 * 1024 },
  };
  const pipeline = await bed.start(bounded);
  await source.run("INSERT INTO large VALUES (1, printf('%.*c', 3000000, 'x'))");
  await expect(pipeline.finished).rejects.toMatchObject({
    code: "TM-QUEUE-LIMIT",
    fix: expect.stringContaining("maxSize"),
  });
});

const BOTH_QUEUES: readonly TestPair[] = (["embedded", "nats"] as const).map((queue) => ({
  ...{ source: "sqlite", target: "sqlite", queue },
}));

describe.each(BOTH_QUEUES.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))(
    "a batch passes the bound of a queue for which nobody has set one",
    async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await source.run("CREATE TABLE large (id int NOT NULL PRIMARY KEY, t text)");
      const definition = bed.define([{ from: "source", to: "target", tables: ["large"] }]);
      const queue = { ...definition.queue, maxStreamBytes: 2 * 1024 * 1024, isBoundSoft: true };
      const pipeline = await bed.start({ ...definition, queue });
      for (let id = 1; id <= 3; id++) {
        // Each beyond what the one before has stretched the queue to.
        const length = id * 2_000_000;
        const rows = Array.from(
          { length: 3 },
          (_, i) => `(${10 * id + i}, hex(randomblob(${length / 2})))`,
        );
        await source.run(`INSERT INTO large VALUES ${rows.join(", ")}`);
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      }
      // Of small rows, many of which share a message.
      await source.run(
        `WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 31000)
         INSERT INTO large SELECT i, hex(randomblob(100)) FROM n`,
      );
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      expect(await digests(await bed.sql("target"))).toEqual(await digests(source));
    },
    PATIENCE_MS,
  );
});

/** Each row with a digest in place of each large value, made by the server where it can. */
async function digests(sql: SqlClient): Promise<readonly SqlRow[]> {
  const rows = await sql.rows(
    `SELECT ${sql.dialect === "sqlite" ? "*" : "id, md5(t) AS t, md5(b) AS b"} FROM large ORDER BY id`,
  );
  return rows.map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [name, value === null ? null : sha256(value)]),
    ),
  );
}
