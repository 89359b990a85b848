// Values of PostgreSQL's own types from one database to another, by the log and by a chunk (G6).
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import type { BoundTable, TargetTable } from "../../src/core/target.ts";
import type { Row } from "../../src/core/value.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { takeChunk } from "../../src/testing/replica.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, connect, optionsOf, SERVERS } from "./support.ts";

const TYPES = `
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0)`;

const TABLE = `
CREATE TABLE v (
  id bigint PRIMARY KEY, i2 smallint, o oid, n numeric, n102 numeric(10,2), f4 real, f8 double precision,
  t text, vc varchar(10), c char(5), nm name, ch "char", by bytea, d date, ti time, ttz timetz,
  ts timestamp, tstz timestamptz(3), iv interval, j json, jb jsonb, u uuid, b3 bit(3), vb bit varying(9),
  bo boolean, m mood, p pair, dom positive, ia int[], ta text[][], r int4range, ip inet, ci cidr,
  ma macaddr, mo money, x xml, tv tsvector, pt point, pa positive[], "odd ""name" text,
  twice int GENERATED ALWAYS AS (i2 * 2) STORED)`;

const ROWS = `
INSERT INTO v VALUES
 (9223372036854775807, -32768, 4294967295, 'NaN', -12345678.90, 'Infinity', 0.1, E'tab\\t nl\\n "q" \\\\ ''', 'é€😀', 'ab ',
  'n', 'x', '\\x00ff5c22', '0044-03-15 BC', '24:00', '23:59:59.999999+05:30', 'infinity', '2026-01-01 00:00:00.123+14',
  '-1 year 2 mons 3 days -04:05:06.789', '{"b": 1,  "a": [null, "\\u00e9"]}', '{"b":1,"a":[1.0]}',
  'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', B'101', B'1', true, 'it''s "ok"', ROW(1, 'x,"y"'), 0.01,
  '{1,NULL,-3}', '{{"a,b",NULL},{"","q\\"\\\\"}}', '[1,5)', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03',
  '$1,234.50', '<a b="c">t</a>', 'fat:1A cat', '(1.5,-2)', '{1.50,2.25}', ''),
 (-1, 0, 0, 123456789012345678901234567890.123456789, 0, '-0', 1e-300, '', '', '', '', '', '', '4713-01-01 BC', '00:00',
  '00:00-12', '0001-01-01 00:00:00.000001', '-infinity', 'PT0S', 'null', 'null', NULL, B'000', B'', false, 'sad',
  ROW(NULL, ''), 1, '{}', '{}', 'empty', '::1', '::/0', NULL, '-$0.01', NULL, '', NULL, '{}', NULL)`;

describe.each(SERVERS)("%s to itself", (kind) => {
  const open: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  it.skipIf(!available(kind))("keeps every value to the last digit", async () => {
    const [from, to] = [await freshDatabase(kind), await freshDatabase(kind)];
    open.push(...[from, to].map((each) => ({ close: async () => each[Symbol.asyncDispose]() })));
    const [a, b] = [await connect(from.url), await connect(to.url)];
    open.push({ close: () => a.end() }, { close: () => b.end() });
    // Of 13 and 14 it is refused (docs/reference/types.md).
    const definition =
      kind === "postgres-oldest" ? TABLE.replace('ch "char"', "ch varchar(4)") : TABLE;
    await a.query(`${TYPES};${definition}`);
    await b.query(TYPES);
    const source = await postgres.openSource(optionsOf(from.url));
    const log = (await source.openChangeLog()) as ChangeLog;
    const target = await postgres.openTarget(optionsOf(to.url));
    open.push(source, log, target);
    const tables = await captureTables(from.url, ["v"]);
    await log.capture(tables);
    const schema = tables[0]?.schema;
    if (!schema) throw new TypeError("The table was not described.");
    const written = schema.columns.filter((column) => !column.generated);
    const asked: TargetTable = {
      name: schema.name,
      key: schema.key,
      columns: written.map(({ name, type, nativeType, nullable }) => ({
        name,
        type,
        nativeType,
        nullable,
        sourceKind: "postgres",
      })),
    };
    const plan = await target.plan([asked]);
    expect(plan.mappings.filter((each) => each.fidelity !== "exact")).toEqual([]);
    await target.prepare(plan);
    const session = await target.openApplier("v", plan.tables);
    if (!session) throw new TypeError("The lease is taken.");
    open.push(session);

    await a.query(ROWS);
    const { changes, chunk } = await takeChunk(log.batches, {
      table: schema.name,
      after: null,
      maxRows: 10,
      maxBytes: 1e6,
    });
    const logged = changes.map((change) => change.row as Row);
    expect([...logged].reverse()).toEqual(chunk.rows);
    const rows = logged.map((row) => row.slice(0, -1));
    const table = plan.tables[0] as BoundTable;
    const texts = async (client: typeof a) => {
      const list = written.map(({ name }) => `"${name.replaceAll('"', '""')}"::text`).join(", ");
      const { rows: found } = await client.query({
        text: `SELECT ${list} FROM v ORDER BY id`,
        rowMode: "array",
      });
      return found as unknown[][];
    };
    let progress = await session.load();
    // By upsert, then by COPY: enough copies of no other key make the set large.
    for (const fresh of [false, true]) {
      const transaction = await session.begin(progress);
      await transaction.clear(table);
      const filler = Array.from({ length: fresh ? 300 : 0 }, (_, i) => [
        String(1000 + i),
        ...(rows[1] as Row).slice(1),
      ]);
      await transaction.attempt(() => transaction.put(table, [...rows, ...filler], { fresh }));
      progress = { ...progress, timeline: "t", position: { batch: fresh ? 2 : 1, chunk: 0 } };
      await transaction.commit(progress);
      await b.query("DELETE FROM v WHERE id BETWEEN 1000 AND 9999");
      expect(await texts(b)).toEqual(await texts(a));
    }
  });
});
