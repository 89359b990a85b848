// What a server keeps that was once not strict: the empty value of an ENUM (index 0), zero dates, days that no month has. They reach
// another server of this kind as they are, in keys too, although the target is written strictly (G6).
import { expect, test } from "vitest";
import type { DatabaseKind } from "../servers/index.ts";
import { available, title } from "../support/pairs.ts";
import { type SqlClient, transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

const COLUMNS =
  "e ENUM('a','b'), both_kinds ENUM('a',''), d DATE, dt DATETIME(3), ts TIMESTAMP NULL, t VARCHAR(3)";
const TABLES: readonly (readonly [name: string, ddl: string])[] = [
  ["plain", `id INT PRIMARY KEY, ${COLUMNS}`],
  ["by_label", `id INT, k ENUM('x','y'), ${COLUMNS}, PRIMARY KEY (k, id)`],
  ["by_date", `id INT, k DATE, ${COLUMNS}, PRIMARY KEY (id, k)`],
  ["beside_unique", `id INT PRIMARY KEY, u VARCHAR(20) NOT NULL UNIQUE, ${COLUMNS}`],
  ["bag", `id INT, ${COLUMNS}`],
];
const LAX = "'none', '', '0000-00-00', '0000-00-00', '0000-00-00'";
const PARTIAL = "'b', '', '2024-00-00', '2024-01-00 00:00:00', '2024-01-01'";

/** With ALLOW_INVALID_DATES. */
const INVALID = "'a', 'a', '2024-02-31', '2023-04-31 00:00:00', NULL";

const PAIRS: readonly (readonly [DatabaseKind, DatabaseKind])[] = [
  ["mariadb", "mariadb"],
  ["mysql", "mysql"],
  ["mysql", "mariadb"],
  ["mariadb", "mysql"],
];

for (const [source, target] of PAIRS) {
  const pair = { source, target, queue: "embedded" } as const;
  test.skipIf(!available(pair))(title(pair), () => play(source, target));
}

async function play(from: DatabaseKind, to: DatabaseKind): Promise<void> {
  await using bed = await TestBed.make({ source: from, target: to });
  const source = await bed.sql("source");
  await source.run("SET sql_mode = 'ALLOW_INVALID_DATES'");
  for (const [name, columns] of TABLES) await source.run(`CREATE TABLE ${name} (${columns})`);
  await fill(source, 1, 30);
  const tables = TABLES.map(([name]) => name);
  const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables }]));
  const target = await bed.sql("target");
  const same = async () => {
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const name of tables) expect(await rows(target, name)).toEqual(await rows(source, name));
  };
  await same();
  expect(await rows(target, "plain")).toContainEqual(
    expect.objectContaining({ e: "", number: "0", d: "0000-00-00", dt: "0000-00-00 00:00:00.000" }),
  );

  // One row, a few, and so many that they are staged.
  for (const [first, last] of [
    [31, 31],
    [32, 36],
    [37, 60],
  ] as const) {
    await fill(source, first, last);
    await same();
    const range = `id BETWEEN ${first - 5} AND ${last}`;
    await each(
      source,
      (name) => `UPDATE ${name} SET t = 'new', e = IF(id % 2, '', 'b') WHERE ${range}`,
    );
    await same();
    await each(source, (name) => `UPDATE ${name} SET e = '?', d = 0 WHERE ${range}`);
    await same();
  }
  await source.run("UPDATE by_label SET k = '' WHERE id % 3 = 0");
  await source.run("UPDATE by_date SET k = 0 WHERE id % 3 = 0");
  await same();
  await each(source, (name) => `DELETE FROM ${name} WHERE id % 4 = 0`);
  await same();
  expect(await rows(target, "by_label")).toContainEqual(expect.objectContaining({ k: "" }));

  // An empty text is one of its labels, and the empty value is taken for that.
  for (const value of ["'a'", "0"]) {
    await source.run(`UPDATE plain SET both_kinds = ${value} WHERE id = 1`);
    await same();
  }
  const index = "SELECT both_kinds + 0 AS n FROM plain WHERE id = 1";
  expect([await source.rows(index), await target.rows(index)]).toEqual([
    [{ n: "0" }],
    [{ n: "2" }],
  ]);
}

async function fill(source: SqlClient, first: number, last: number): Promise<void> {
  await transaction(source, async () => {
    for (let id = first; id <= last; id++) {
      const values = `${[LAX, PARTIAL, LAX, PARTIAL, LAX, INVALID][id % 6]}, 't'`;
      await source.run(`INSERT INTO plain VALUES (${id}, ${values})`);
      await source.run(
        `INSERT INTO by_label VALUES (${id}, '${["x", "?", "y"][id % 3]}', ${values})`,
      );
      await source.run(
        `INSERT INTO by_date VALUES (${id}, '${[0, "2024-00-01", 0, "2024-02-30"][id % 4]}', ${values})`,
      );
      await source.run(`INSERT INTO beside_unique VALUES (${id}, 'u${id}', ${values})`);
      await source.run(`INSERT INTO bag VALUES (${id}, ${values})`);
    }
  });
}

async function each(source: SqlClient, statement: (table: string) => string): Promise<void> {
  await transaction(source, async () => {
    for (const [name] of TABLES) await source.run(statement(name));
  });
}

const rows = (sql: SqlClient, table: string) =>
  sql.rows(`SELECT *, e + 0 AS number FROM ${table} ORDER BY id`);
