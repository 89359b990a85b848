// Unique indexes of a target whose collation takes for one what the source keeps as two: told before the
// start. Tables that are made at the target tell every text apart (G8).
import { describe, expect, test } from "vitest";
import type { DatabaseKind } from "../servers/index.ts";
import { available, ELEVEN_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { type Dialect, dialectOf, type SqlClient, transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { exact, insertRow, type TestTable } from "../support/test-tables.ts";

const NAMES: TestTable = {
  name: "names",
  columns: { name: "varchar", id: "integer" },
  key: ["name"],
};

/** A column type under which every text is its own. */
const exactType = (kind: DatabaseKind): string =>
  dialectOf(kind) === "mariadb" ? `varchar(50) ${exact(kind)}` : "text";
/** Types under which some are equal: by the collation that the message names. */
const LOOSE: Readonly<Record<Dialect, Readonly<Record<string, string>>>> = {
  postgres: { folded: 'text COLLATE "folded"', citext: "citext" },
  mariadb: {
    utf8mb4_general_ci: "varchar(50) COLLATE utf8mb4_general_ci",
    utf8mb4_bin: "varchar(50) COLLATE utf8mb4_bin",
  },
  sqlite: { NOCASE: "TEXT COLLATE NOCASE", RTRIM: "TEXT COLLATE RTRIM" },
};
const PREPARED: Readonly<Record<Dialect, readonly string[]>> = {
  postgres: [
    "CREATE EXTENSION citext",
    "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
  ],
  mariadb: [],
  sqlite: [],
};

describe.each(ELEVEN_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerTests(pair));
});

function registerTests(pair: TestPair): void {
  test("texts that only look alike are different keys in a table made at the target", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await create(source, "names", `name ${exactType(pair.source)} PRIMARY KEY, id int`);
    const pipeline = await bed.start(define(bed));
    const texts = ["a", "A", "a ", "á", "ss", "ß", ""];
    for (const [id, name] of texts.entries()) await insertRow(source, NAMES, { name, id });
    await source.run("UPDATE names SET name = 'B' WHERE name = 'A'");
    await transaction(source, async () => {
      await source.run("UPDATE names SET name = 'b' WHERE name = 'B'");
      await source.run("UPDATE names SET name = 'A' WHERE name = 'a'");
    });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(NAMES);
  });

  test("a looser key or unique index at the target is told before the start", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await create(source, "names", `name ${exactType(pair.source)} PRIMARY KEY, id bigint NOT NULL`);
    await create(source, "others", `id bigint PRIMARY KEY, name ${exactType(pair.source)}`);
    for (const statement of PREPARED[target.dialect]) await target.run(statement);
    for (const [collation, type] of Object.entries(LOOSE[target.dialect])) {
      await create(target, "names", `name ${type} PRIMARY KEY, id bigint NOT NULL`);
      await create(target, "others", `id bigint PRIMARY KEY, name ${type} UNIQUE`);
      for (const table of ["names", "others"]) {
        await expect(bed.open(define(bed, table))).rejects.toMatchObject({
          code: "TM-COLUMN-UNFIT",
          message: expect.stringMatching(
            new RegExp(`${table}\\.name: .*compares texts by the collation ${collation}`),
          ),
        });
      }
      await target.run("DROP TABLE names");
      await target.run("DROP TABLE others");
    }
    // One that is not unique harms nobody.
    const [loose] = Object.values(LOOSE[target.dialect]);
    await create(target, "others", `id bigint PRIMARY KEY, name ${loose}`);
    await bed.open(define(bed, "others"));
  });

  test.skipIf(pair.source !== pair.target)("the same looseness on both sides", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const sides = [await bed.sql("source"), await bed.sql("target")] as const;
    for (const sql of sides) {
      for (const statement of PREPARED[sql.dialect]) await sql.run(statement);
    }
    const [source] = sides;
    const [type] = Object.values(LOOSE[source.dialect]);
    for (const sql of sides) {
      await create(sql, "names", `name ${type} PRIMARY KEY, id bigint UNIQUE`);
    }
    await insertRow(source, NAMES, { name: "a", id: 1 });
    const pipeline = await bed.start(define(bed));
    const same = async () => {
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(NAMES);
    };
    await same();
    await source.run("UPDATE names SET name = 'A' WHERE id = 1");
    await insertRow(source, NAMES, { name: "b", id: 2 });
    await same();
    await source.run("DELETE FROM names WHERE id = 1");
    await insertRow(source, NAMES, { name: "a", id: 3 });
    await same();
  });
}

function define(bed: TestBed, table = "names"): ReturnType<TestBed["define"]> {
  return bed.define([{ from: "source", to: "target", tables: [table] }]);
}

function create(sql: SqlClient, table: string, columns: string): Promise<number> {
  return sql.run(`CREATE TABLE ${table} (${columns})`);
}
