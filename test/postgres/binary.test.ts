// Rows of a copy in PostgreSQL's binary format, where both sides have the very same types: every value is the
// same to the last digit, between versions too (G6).
import { afterEach, describe, expect, it } from "vitest";
import type { CaptureTable, Chunk, ChunkRequest } from "../../src/core/source.ts";
import type { BoundTable } from "../../src/core/target.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { onlyChunk } from "../../src/testing/replica.ts";
import { available, type FreshDatabase, freshDatabase } from "../servers/index.ts";
import { captureTables, connect, optionsOf } from "./support.ts";

const COLUMNS = `
  id bigint PRIMARY KEY, i2 smallint, i4 integer, o oid, n numeric, n102 numeric(10,2), f4 real, f8 double precision,
  t text, vc varchar(10), c char(5), by bytea, d date, ti time, ti2 time(2), ttz timetz, ts timestamp, tstz timestamptz(3),
  j json, jb jsonb, u uuid, b3 bit(3), vb bit varying(9), bo boolean, ip inet, ci cidr, ma macaddr,
  ia int[], ta text[][], na numeric(6,2)[], ba bytea[], dom positive`;

const DOMAIN = "CREATE DOMAIN positive AS numeric(8,3) CHECK (VALUE > 0)";

const ROWS = `
INSERT INTO v VALUES
 (9223372036854775807, -32768, -2147483648, 4294967295, 'NaN', -12345678.90, 'Infinity', 0.1, E'tab\\t nl\\n "q" \\\\ ''', 'é€😀', 'ab ',
  '\\x00ff5c22', '0044-03-15 BC', '24:00', '23:59:59.99', '23:59:59.999999+05:30', 'infinity', '2026-01-01 00:00:00.123+14',
  '{"b": 1,  "a": [null, "\\u00e9"]}', '{"b":1,"a":[1.0]}',
  'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', B'101', B'1', true, '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03',
  '{1,NULL,-3}', '{{"a,b",NULL},{"","q\\"\\\\"}}', '[2:3]={1.50,2.25}', '{"\\\\x00ff"}', 1.5),
 (-1, 0, 0, 0, 123456789012345678901234567890.123456789000, 0, '-0', 1e-300, '', '', '', '', '4713-01-01 BC', '00:00', '00:00',
  '00:00-12', '0001-01-01 00:00:00.000001', '-infinity', 'null', 'null', NULL, B'000', B'', false, '::1', '::/0', NULL,
  '{}', '{}', '{NaN}', NULL, NULL)`;

/** Enough for a chunk that streams. */
const MORE = `
INSERT INTO v (id, i4, n, f8, t, by, ts)
SELECT n, n, n / 7.0, n / 7.0, repeat('ß漢', n % 50), decode(md5(n::text), 'hex'), timestamp '2026-01-01' + n * interval '1 s'
FROM generate_series(1, 3000) n`;

const PAIRS = [
  ["postgres", "postgres-newest"],
  ["postgres-newest", "postgres"],
  ["postgres-oldest", "postgres-newest"],
] as const;

const WHOLE = { after: null, maxRows: 100_000, maxBytes: 1 << 23, binary: true };

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

async function database(kind: Parameters<typeof freshDatabase>[0]) {
  const made = await freshDatabase(kind);
  const sql = await connect(made.url);
  open.push({ close: async () => made[Symbol.asyncDispose]() }, { close: () => sql.end() });
  return { made, sql };
}

/** The next rows of `v`, asked for in binary. */
async function chunkOf(
  from: FreshDatabase,
  more: Partial<ChunkRequest> = {},
  filters: string[] = [],
) {
  const source = await postgres.openSource(optionsOf(from.url));
  const log = await source.openChangeLog();
  if (log === null) throw new TypeError("no change log");
  open.push(source, log);
  const [table] = await captureTables(from.url, ["v"], { filters });
  if (table === undefined) throw new TypeError("The table was not described.");
  await log.capture([table]);
  const chunk = onlyChunk(await log.batches.cut([{ ...WHOLE, table: table.schema.name, ...more }]));
  return { chunk, table };
}

/** Of a target that has the table, or is given it. */
async function applierOf({ url }: FreshDatabase, { schema }: CaptureTable) {
  const { columns, name, key } = schema;
  const opened = await postgres.openTarget(optionsOf(url));
  open.push(opened);
  const asked = columns.map((column) => ({ ...column, sourceKind: "postgres" as const }));
  const plan = await opened.plan([{ name, key, columns: asked }]);
  await opened.prepare(plan);
  const session = await opened.openApplier("s", plan.tables);
  if (session === null) throw new TypeError("somebody holds the lease");
  open.push(session);
  return { session, bound: plan.tables[0] as BoundTable, columns };
}

async function* linesOf({ layout, content }: Chunk) {
  if (content.kind !== "lines") throw new TypeError("It does not stream.");
  const { filtered, binary } = content;
  for await (const { bytes, rows } of content.blocks({ headroom: 3, size: 10_000 })) {
    yield { layout, rows, filtered, binary, bytes: bytes.subarray(3) };
  }
}

const isBinary = ({ content }: Chunk) => content.kind === "lines" && content.binary === true;

describe.each(PAIRS)("binary from %s to %s", (source, target) => {
  it.skipIf(!available(source) || !available(target))("keeps every value", async () => {
    const [from, to] = [await database(source), await database(target)];
    for (const { sql } of [from, to]) await sql.query(`${DOMAIN}; CREATE TABLE v (${COLUMNS})`);
    await from.sql.query(`${ROWS};${MORE}`);
    const { chunk, table } = await chunkOf(from.made);
    expect(isBinary(chunk)).toBe(true);
    const { session, bound, columns } = await applierOf(to.made, table);
    const types = columns.map(({ nativeType }) => nativeType);
    const takes = (other?: string) =>
      session.takesBinary?.(bound, types.with(2, other ?? "integer"));
    expect([takes(), takes("bigint"), takes("mood")]).toEqual([true, false, false]);
    const now = await session.load();
    const transaction = await session.begin(now);
    const writer = await transaction.openLines?.(bound, true);
    let rows = 0;
    for await (const lines of linesOf(chunk)) {
      rows += lines.rows;
      await writer?.write(lines);
    }
    await writer?.close();
    await transaction.commit({ ...now, timeline: "t", position: { batch: 1, chunk: 1 } });
    expect(rows).toBe(3_002);
    const texts = "SELECT v::text FROM v ORDER BY id";
    expect((await to.sql.query(texts)).rows).toEqual((await from.sql.query(texts)).rows);
  });
});

describe.skipIf(!available("postgres"))("binary", () => {
  it.each([
    ["an enum", "mood", "'sad'"],
    ["an array of a domain", "positive[]", "'{1}'"],
    ["an interval, which may be infinite in later versions alone", "interval", "'1 day'"],
    ["money", "money", "1"],
    ["a text search vector", "tsvector", "'a'"],
  ])("is left to text where the table has %s", async (_, type, value) => {
    const { made, sql } = await database("postgres");
    await sql.query(
      "CREATE TYPE mood AS ENUM ('sad'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    );
    await sql.query(`CREATE TABLE v (id int PRIMARY KEY, x ${type})`);
    await sql.query(`INSERT INTO v SELECT n, ${value} FROM generate_series(1, 3000) n`);
    const { chunk } = await chunkOf(made);
    expect([chunk.content.kind, isBinary(chunk)]).toEqual(["lines", false]);
  });

  it("is left to text where a condition is asked, where nobody asks for it, and in a small table", async () => {
    const { made, sql } = await database("postgres");
    await sql.query("CREATE TABLE v (id int PRIMARY KEY, x text)");
    await sql.query("INSERT INTO v SELECT n, 'x' FROM generate_series(1, 3000) n");
    expect(isBinary((await chunkOf(made, {}, ["id > 7"])).chunk)).toBe(false);
    await open.pop()?.close();
    await open.pop()?.close();
    expect(isBinary((await chunkOf(made, { binary: undefined })).chunk)).toBe(false);
    await open.pop()?.close();
    await open.pop()?.close();
    await sql.query("DELETE FROM v WHERE id > 20");
    expect((await chunkOf(made)).chunk.content.kind).toBe("rows");
  });

  it("comes whole of a table without a key", async () => {
    const { made, sql } = await database("postgres");
    await sql.query("CREATE TABLE v (id int, x text)");
    await sql.query("INSERT INTO v SELECT n, 'x' FROM generate_series(1, 3000) n");
    const { chunk } = await chunkOf(made);
    expect(isBinary(chunk)).toBe(true);
    let rows = 0;
    for await (const lines of linesOf(chunk)) rows += lines.rows;
    expect(rows).toBe(3_000);
  });

  it("tells of a column that was given another type since the session looked", async () => {
    const [from, to] = [await database("postgres"), await database("postgres")];
    await from.sql.query("CREATE TABLE v (id int PRIMARY KEY, x int)");
    await from.sql.query("INSERT INTO v SELECT n, n FROM generate_series(1, 3000) n");
    const { chunk, table } = await chunkOf(from.made);
    const { session, bound } = await applierOf(to.made, table);
    await to.sql.query("ALTER TABLE v ALTER x TYPE bigint");
    const transaction = await session.begin(await session.load());
    const writer = await transaction.openLines?.(bound, true);
    for await (const lines of linesOf(chunk)) await writer?.write(lines);
    await expect(writer?.close()).rejects.toMatchObject({
      code: "TM-APPLY-RETRY",
      message: expect.stringContaining("was altered"),
    });
    await transaction.rollback();
  });
});
