// A value read from the target equals that of the source, whatever session wrote it (G6).
import { describe, expect, it } from "vitest";
import type { Row } from "../../src/core/value.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { takeChunk } from "../../src/testing/replica.ts";
import { available } from "../servers/index.ts";
import { asTarget, cutOnce, only, openBed, openLog, SERVERS } from "./bed.ts";

/** As many as a SET may have. */
const MEMBERS = Array.from({ length: 64 }, (_, i) => `m${i}`);
const WIDEST_SET = `SET(${MEMBERS.map((member) => `'${member}'`).join()})`;

/** Column, type, a value as SQL, and its canonical text. */
const VALUES: readonly (readonly [string, string, string])[] = [
  ["TINYINT(1)", "127", "127"],
  ["BIGINT UNSIGNED", "18446744073709551615", "18446744073709551615"],
  ["INT(7) UNSIGNED ZEROFILL", "42", "42"],
  [
    "DECIMAL(65,30)",
    "12345678901234567890123456789012345.123456789012345678901234567890",
    "12345678901234567890123456789012345.123456789012345678901234567890",
  ],
  ["DECIMAL(8,2) UNSIGNED ZEROFILL", "0.5", "0.50"],
  ["FLOAT", "16777216", "16777216"],
  ["FLOAT", "0.1", "0.1"],
  ["DOUBLE", "1.7976931348623157e308", "1.7976931348623157e308"],
  ["DOUBLE", "5e-324", "5e-324"],
  ["CHAR(5)", "'ab'", "ab"],
  ["VARCHAR(20)", "'q\"\\\\\\n\\0\\Z é😀 '", 'q"\\\n\0\x1a é😀 '],
  ["VARCHAR(20) CHARACTER SET latin1", "'Ä€'", "Ä€"],
  ["LONGTEXT", "''", ""],
  ["BINARY(3)", "X'0100'", "010000"],
  ["VARBINARY(20)", "X'00FF7F'", "00ff7f"],
  ["LONGBLOB", "X''", ""],
  ["BIT(9)", "b'101'", "000000101"],
  [
    "BIT(64)",
    "b'1000000000000000000000000000000000000000000000000000000000000001'",
    "1000000000000000000000000000000000000000000000000000000000000001",
  ],
  ["DATE", "'0001-01-01'", "0001-01-01"],
  ["DATE", "'0000-00-00'", "0000-00-00"],
  ["TIME(6)", "'-838:59:59'", "-838:59:59"],
  ["TIME(3)", "'10:00:00.120'", "10:00:00.12"],
  ["DATETIME(6)", "'9999-12-31 23:59:59.999999'", "9999-12-31 23:59:59.999999"],
  ["DATETIME", "'2024-02-29 10:00:00'", "2024-02-29 10:00:00"],
  // Written under +05:30: the instant is what counts.
  ["TIMESTAMP(6) NULL", "'2024-01-01 05:30:00.000001'", "2024-01-01 00:00:00.000001+00"],
  ["TIMESTAMP NULL", "'0000-00-00 00:00:00'", "0000-00-00 00:00:00+00"],
  ["YEAR", "'0000'", "0"],
  ["YEAR", "2024", "2024"],
  ["ENUM('z','it''s','')", "'it''s'", "it's"],
  ["SET('x','y')", "'y,x'", "x,y"],
  [WIDEST_SET, `'${MEMBERS.join()}'`, MEMBERS.join()],
  [WIDEST_SET, "'m63'", "m63"],
  ["POINT", "POINT(1, -2)", "000000000101000000000000000000f03f00000000000000c0"],
];

const MARIADB_ONLY: typeof VALUES = [
  ["JSON", '\'{"b": 1.10, "a": [1, 1], "b": 2}\'', '{"b": 1.10, "a": [1, 1], "b": 2}'],
  ["UUID", "'AAAAAAAA-0000-1000-8000-00000000000F'", "aaaaaaaa-0000-1000-8000-00000000000f"],
  ["INET6", "'::ffff:1.2.3.4'", "::ffff:1.2.3.4"],
];

describe.each(SERVERS)("values of %s", (kind) => {
  const values = kind === "mariadb" ? [...VALUES, ...MARIADB_ONLY] : VALUES;

  it.skipIf(!available(kind))("are logged, copied and applied to the last digit", async () => {
    await using bed = await openBed(kind);
    const columns = values.map(([type], i) => `c${i} ${type}`);
    await bed.admin.query(
      `CREATE TABLE v (id INT PRIMARY KEY, ${columns.join(", ")}, g INT AS (id + 1) VIRTUAL)`,
    );
    const tables = await bed.capture("v");
    const [table] = tables;
    if (table === undefined) throw new Error("no table");
    await using opened = await openLog(bed, tables);
    await bed.admin.query("SET sql_mode = '', time_zone = '+05:30'");
    await bed.admin.query(
      `INSERT INTO v VALUES (1, ${values.map(([, sql]) => sql).join(", ")}, DEFAULT)`,
    );
    await bed.admin.query("INSERT INTO v (id) VALUES (2)");
    const expected = ["1", ...values.map(([, , text]) => text), "2"];
    const batch = await cutOnce(opened.log);
    expect(batch?.changes.map(({ row }) => row)).toEqual([
      expected,
      ["2", ...values.map(() => null), "3"],
    ]);
    const request = { table: table.schema.name, after: null, maxRows: 10, maxBytes: 1_000_000 };
    const { chunk } = await takeChunk(opened.log.batches, request);
    expect(chunk.rows[0]).toEqual(expected);

    const target = await mysql.openTarget(bed.options);
    const plan = await target.plan([asTarget(table, "w")]);
    expect(plan.mappings.filter(({ fidelity }) => fidelity === "refused")).toEqual([]);
    await target.prepare(plan);
    // What was created is fit for what it was created for.
    expect(
      (await target.plan([asTarget(table, "w")])).mappings.filter(
        ({ fidelity }) => fidelity !== "exact",
      ),
    ).toEqual([]);
    const session = await target.openApplier("s", plan.tables);
    if (session === null) throw new Error("the lease is taken");
    const progress = await session.load();
    const transaction = await session.begin(progress);
    const rows = (batch?.changes ?? []).map(({ row }): Row => (row ?? []).slice(0, -1));
    await transaction.put(only(plan.tables), rows);
    await transaction.commit({ ...progress, timeline: "t" });
    await session.close();
    await target.close();

    const copies = await bed.capture("v", "w");
    await opened.log.capture(copies);
    const read = async (name: string) => {
      const of = { ...request, table: { schema: null, name } };
      return (await takeChunk(opened.log.batches, of)).chunk.rows;
    };
    expect(await read("w")).toEqual((await read("v")).map((row) => row.slice(0, -1)));
  });
});

/** A column of a character set, and two of its values that have no Unicode, each in bytes. */
const WITHOUT_UNICODE: readonly (readonly [string, string, string])[] = [
  ["VARCHAR(20) CHARACTER SET sjis", "8740", "618741"],
  ["VARCHAR(20) CHARACTER SET gbk", "FEFE", "AAA1"],
  ["VARCHAR(20) CHARACTER SET cp1251", "98", "983F98"],
  ["CHAR(20) CHARACTER SET greek COLLATE greek_bin", "D2", "FF"],
];

describe.each(SERVERS)("texts of %s that have no Unicode", (kind) => {
  it.skipIf(!available(kind)).each(WITHOUT_UNICODE)(
    "keep their bytes, in %s",
    async (type, ...hex) => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        `CREATE TABLE v (k ${type} PRIMARY KEY, c ${type}) COLLATE utf8mb4_bin`,
      );
      const tables = await bed.capture("v");
      await using opened = await openLog(bed, tables);
      const charset = /SET (\w+)/.exec(type)?.[1];
      const texts = ["3F", "61", ...hex];
      for (const text of texts) {
        const value = `_${charset} X'${text}'`;
        await bed.admin.query(`INSERT INTO v VALUES (${value}, ${value})`);
      }
      const values: readonly Row[] = [
        ["?", "?"],
        ["a", "a"],
        ...hex.map((each) => [each, each].map((text) => ["blob", text.toLowerCase()] as const)),
      ];
      const batch = await cutOnce(opened.log);
      expect(batch?.changes.map(({ row }) => row)).toEqual(values);
      // One by one, so that each of them is where the copy goes on.
      const rows: Row[] = [];
      let after: string | null = null;
      for (const _ of values) {
        const request = {
          table: { schema: null, name: "v" },
          after,
          maxRows: 1,
          maxBytes: 1_000_000,
        };
        const { chunk } = await takeChunk(opened.log.batches, request);
        rows.push(...chunk.rows);
        after = chunk.cursor;
      }
      expect(rows).toHaveLength(values.length);
      expect(rows).toEqual(expect.arrayContaining([...values]));
      await bed.admin.query("DELETE FROM v");
      const gone = await cutOnce(opened.log);
      expect(gone?.changes.map(({ keyBefore }) => keyBefore)).toEqual(
        expect.arrayContaining(values.map(([key]) => [key])),
      );
    },
  );
});
