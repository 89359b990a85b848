// Names that a careless quote would break, that every object of JavaScript has, and that we use ourselves, for tables and
// columns.
import { describe, expect, test } from "vitest";
import type { TableRule } from "../../src/core/definition.ts";
import { type ErrorCode, isTidemarkError } from "../../src/core/errors.ts";
import { available, ELEVEN_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, quote, type TestTable } from "../support/test-tables.ts";

/** 63 bytes: the longest that PostgreSQL takes. */
const LONGEST = `${"ä".repeat(31)}x`;
const NAMES = [
  "with space",
  'double "quoted"',
  "single 'quoted'",
  "back`tick`",
  "dot.ted",
  "back\\slash\\",
  "per%cent %s %1$s",
  "dollar$ $1 $tidemark$",
  "new\nline",
  "select",
  "order",
  "MixedCase",
  "таблица",
  "表",
  LONGEST,
  "constructor",
  "__proto__",
  // What our own statements call things.
  "tidemark_row",
  "tidemark_new",
  "new",
  "old",
  "layout",
];
/** Such are not ours to use where our tables stand beside the application's. */
const OURS = /^tidemark_/;
/** More of those, for columns. */
const COLUMNS = [
  ...["tidemark_slot", "tidemark_old", "tidemark_key", "tidemark_found", "tidemark_filters"],
  ...["op", "key", "row", "filters", "at", "origin", "u", "t", "c0", "tg_op", "rowid", "oid"],
];

const tablesFor = ({ source, target }: TestPair): TestTable[] => {
  const names = NAMES.filter(
    (name) => !OURS.test(name) || (source === "postgres" && target === "postgres"),
  );
  return names.map((name, i) => {
    const others = [...NAMES, ...COLUMNS].filter((_, n) => n % 4 === i % 4);
    const columns = [`id of ${i}`, name, ...others.filter((each) => each !== name)];
    return {
      name,
      columns: Object.fromEntries(columns.map((column) => [column, "varchar"] as const)),
      key: [`id of ${i}`, name],
    };
  });
};

describe.each(ELEVEN_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("every name arrives as it is", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    const tables = tablesFor(pair);
    await createTables(source, pair.source, tables);
    const row = (table: TestTable, value: string) =>
      Object.fromEntries(Object.keys(table.columns).map((name) => [name, value]));
    for (const table of tables) await insertRow(source, table, row(table, "copied"));
    const q = (name: string) => quote(source.dialect, name);
    const rules = tables.map(({ name }, i): TableRule => {
      const table = pair.source === "postgres" ? `public.${name}` : name;
      // A filter makes the triggers name every column.
      return i % 2 === 0 ? { table } : { table, where: `${q(name)} = ${q(name)}` };
    });
    const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables: rules }]));
    // Else nothing would have to be taken away at the target.
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of tables) {
      const [id = "", name = ""] = table.key;
      await insertRow(source, table, row(table, "logged"));
      await insertRow(source, table, row(table, "gone"));
      await source.run(
        `UPDATE ${q(table.name)} SET ${q(id)} = 'moved' WHERE ${q(name)} = 'copied'`,
      );
      await source.run(`DELETE FROM ${q(table.name)} WHERE ${q(name)} = 'gone'`);
    }
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of tables) await bed.expectSame(table);
  });
});

interface Refusal {
  readonly pair: TestPair;
  readonly create: readonly string[];
  readonly rules: readonly TableRule[];
  readonly code: ErrorCode;
  readonly words: RegExp;
  /** What the message asks for; then it goes on. */
  readonly instead?: readonly TableRule[];
}

const to = (source: TestPair["source"], target: TestPair["target"]): TestPair => ({
  source,
  target,
  queue: "embedded",
});
const table = (name: string, columns = "v varchar(20)") =>
  `CREATE TABLE ${name} (id integer PRIMARY KEY, ${columns})`;

/** A table's file has @ and four digits for each of its letters: 50 fit. */
const longFile = (target: TestPair["target"]): Refusal => ({
  pair: to("sqlite", target),
  create: [table("日".repeat(50)), table("日".repeat(51))],
  rules: [{ table: "日".repeat(50) }, { table: "日".repeat(51) }],
  code: "TM-COLUMN-UNFIT",
  words: /would have 255 bytes of at most 251/,
  instead: [{ table: "日".repeat(50) }, { table: "日".repeat(51), as: "shorter" }],
});

const REFUSED: Readonly<Record<string, Refusal>> = {
  "two tables that differ in case, at SQLite": {
    pair: to("postgres", "sqlite"),
    create: [table("mixed"), table('"Mixed"')],
    rules: [{ table: "mixed" }, { table: "Mixed" }],
    code: "TM-COLUMN-UNFIT",
    words: /SQLite takes .* for one/,
    instead: [{ table: "mixed" }, { table: "Mixed", as: "other" }],
  },
  "two columns that differ in case, at MariaDB": {
    pair: to("postgres", "mariadb"),
    create: [table("items", 'a int, "A" int')],
    rules: [{ table: "items" }],
    code: "TM-COLUMN-UNFIT",
    words: /in other letters/,
    instead: [{ table: "items", rename: { A: "b" } }],
  },
  "a name that PostgreSQL would cut short": {
    pair: to("sqlite", "postgres"),
    create: [table(`"${"ä".repeat(32)}"`)],
    rules: [{ table: "ä".repeat(32) }],
    code: "TM-COLUMN-UNFIT",
    words: /has 64 bytes/,
    instead: [{ table: "ä".repeat(32), as: "short" }],
  },
  "the longest name of MariaDB, for a table": {
    pair: to("mariadb", "postgres"),
    create: [table("l".repeat(64))],
    rules: [{ table: "l".repeat(64) }],
    code: "TM-COLUMN-UNFIT",
    words: /has 64 bytes/,
    instead: [{ table: "l".repeat(64), as: "short" }],
  },
  "the longest name of MySQL, for a column": {
    pair: to("mysql", "postgres"),
    create: [table("items", `${"l".repeat(64)} int`)],
    rules: [{ table: "items" }],
    code: "TM-COLUMN-UNFIT",
    words: /has 64 bytes/,
    instead: [{ table: "items", rename: { ["l".repeat(64)]: "short" } }],
  },
  "a name beyond what MariaDB takes": {
    pair: to("postgres", "mariadb"),
    create: [table('"smile 😀"')],
    rules: [{ table: "smile 😀" }],
    code: "TM-COLUMN-UNFIT",
    words: /does not take the name/,
    instead: [{ table: "smile 😀", as: "smile" }],
  },
  "a name that is too long for the file of a table in MariaDB": longFile("mariadb"),
  "a name that is too long for the file of a table in MySQL": longFile("mysql"),
  "the same name in two schemas, where the target has none": {
    pair: to("postgres", "sqlite"),
    create: [table("items"), "CREATE SCHEMA other", table("other.items")],
    rules: [{ table: "public.items" }, { table: "other.items" }],
    code: "TM-CONFIG-OVERLAP",
    words: /public\.items and other\.items/,
    instead: [{ table: "public.items" }, { table: "other.items", as: "other_items" }],
  },
  "the same name in two schemas, where the target is MariaDB": {
    pair: to("postgres", "mariadb"),
    create: [table("items"), "CREATE SCHEMA other", table("other.items")],
    rules: [{ table: "public.items" }, { table: "other.items" }],
    code: "TM-CONFIG-OVERLAP",
    words: /public\.items and other\.items/,
    instead: [{ table: "public.items" }, { table: "other.items", as: "other_items" }],
  },
  ...Object.fromEntries(
    (["sqlite", "mariadb", "postgres"] as const).map((target): [string, Refusal] => [
      `a name of ours at the target, in ${target}`,
      {
        pair: to("sqlite", target),
        create: [table("items")],
        rules: [
          { table: "items", as: target === "postgres" ? "tidemark.items" : "tidemark_items" },
        ],
        code: "TM-COLUMN-UNFIT",
        words: /Tidemark's own/,
        instead: [{ table: "items" }],
      },
    ]),
  ),
  "a table of the application under a name of ours, in MariaDB": {
    pair: to("mariadb", "sqlite"),
    create: [table("tidemark_notes"), table("items")],
    rules: [{ table: "*" }],
    code: "TM-TABLE-UNSUPPORTED",
    words: /tidemark_notes has a name that begins with tidemark_/,
    instead: [{ table: "items" }],
  },
  "a table of the application under a name of ours, in SQLite": {
    pair: to("sqlite", "sqlite"),
    create: [table("tidemark_notes"), table("items")],
    rules: [{ table: "*" }],
    code: "TM-TABLE-UNSUPPORTED",
    words: /tidemark_notes has a name that begins with tidemark_/,
    instead: [{ table: "items" }],
  },
  ...Object.fromEntries(
    Object.entries({
      ctid: "postgres",
      "": "postgres",
      db_row_id: "mariadb",
      FTS_DOC_ID: "mysql",
    } as const).map(([name, target]): [string, Refusal] => [
      `a column "${name}", which ${target} cannot have`,
      {
        pair: to("sqlite", target),
        create: [table("items"), table("odd", `"${name}" text`)],
        rules: [{ table: "*" }],
        code: "TM-COLUMN-UNFIT",
        // Of that column alone.
        words: /^(?!.*odd\.id:).*(use `rename`|with `rename`)/s,
        instead: [{ table: "items" }, { table: "odd", rename: { [name]: "other" } }],
      },
    ]),
  ),
  "a key without a type, which PostgreSQL cannot have": {
    pair: to("sqlite", "postgres"),
    create: ["CREATE TABLE items (a, v int, PRIMARY KEY (a))"],
    rules: [{ table: "items" }],
    code: "TM-COLUMN-UNFIT",
    words: /items\.a: what has no type does not fit/,
  },
  "a table under a name of SQLite's": {
    pair: to("postgres", "sqlite"),
    create: [table("items"), table("sqlite_notes")],
    rules: [{ table: "*" }],
    code: "TM-COLUMN-UNFIT",
    words: /sqlite_ are SQLite's own/,
    instead: [{ table: "items" }, { table: "sqlite_notes", as: "notes" }],
  },
  "two tables that are spelled alike with their schemas": {
    pair: to("postgres", "postgres"),
    create: [
      ...['"a.b"', "a"].map((schema) => `CREATE SCHEMA ${schema}`),
      ...['"a.b".c', 'a."b.c"', "items"].map((name) => table(name)),
    ],
    rules: [{ table: "*" }],
    code: "TM-TABLE-UNSUPPORTED",
    words: /are both spelled a\.b\.c/,
    instead: [{ table: "items" }],
  },
  "a schema of the application under our name": {
    pair: to("postgres", "sqlite"),
    create: ["CREATE SCHEMA tidemark", table("tidemark.notes"), table("items")],
    rules: [{ table: "items" }],
    code: "TM-TABLE-UNSUPPORTED",
    words: /holds tidemark\.notes, which is not/,
  },
};

describe("refused before the start, and works as the message says:", () => {
  for (const [name, { pair, create, rules, code, words, instead }] of Object.entries(REFUSED)) {
    test.skipIf(!available(pair))(name, async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      for (const statement of create) await source.run(statement);
      const define = (tables: readonly TableRule[]) =>
        bed.define([{ from: "source", to: "target", tables }]);
      await expect(bed.open(define(rules))).rejects.toSatisfy(
        (error) => isTidemarkError(error, code) && words.test(error.message),
      );
      if (instead === undefined) return;
      const pipeline = await bed.start(define(instead));
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    });
  }
});

test("tables of two sources whose names differ in case are refused where the target takes them for one", async () => {
  const kinds = { one: "sqlite", other: "sqlite", target: "sqlite" } as const;
  await using bed = await TestBed.make(kinds);
  await (await bed.sql("one")).run(table("items"));
  await (await bed.sql("other")).run(table("Items"));
  const define = (as: string) =>
    bed.define([
      { from: "one", to: "target", tables: ["items"] },
      { from: "other", to: "target", tables: [{ table: "Items", as }] },
    ]);
  await expect(bed.start(define("Items"))).rejects.toSatisfy(
    (error) =>
      isTidemarkError(error, "TM-COLUMN-UNFIT") && /items and Items for one/.test(error.message),
  );
  const target = await bed.sql("target");
  expect(await target.rows("SELECT name FROM sqlite_schema")).toEqual([]);
  const pipeline = await bed.start(define("others"));
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
});

test.skipIf(!available(to("sqlite", "mariadb")))(
  "a column that stands in MariaDB in other letters is named as it stands",
  async () => {
    await using bed = await TestBed.make({ source: "sqlite", target: "mariadb" });
    await (await bed.sql("source")).run(table("items", "Name int"));
    await (await bed.sql("target")).run("CREATE TABLE items (id bigint PRIMARY KEY, name bigint)");
    const define = (rule: TableRule) =>
      bed.define([{ from: "source", to: "target", tables: [rule] }]);
    await expect(bed.start(define({ table: "items" }))).rejects.toMatchObject({
      code: "TM-COLUMN-UNFIT",
      message: expect.stringContaining("rename: { Name: name }"),
    });
    const pipeline = await bed.start(define({ table: "items", rename: { Name: "name" } }));
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  },
);

test.skipIf(!available(to("mariadb", "mysql")))(
  "the longest names arrive from MariaDB in MySQL, and what ends in a space is no name there",
  async () => {
    await using bed = await TestBed.make({ source: "mariadb", target: "mysql" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    const long: TestTable = {
      name: "ä".repeat(64),
      columns: { ["ü".repeat(64)]: "varchar", v: "integer" },
      key: ["ü".repeat(64)],
    };
    for (const sql of [source, target]) {
      for (const name of ["l".repeat(65), "space "]) {
        await expect(sql.run(table(`\`${name}\``))).rejects.toThrow();
        await expect(sql.run(table("items", `\`${name}\` int`))).rejects.toThrow();
      }
    }
    await createTables(source, "mariadb", [long]);
    await insertRow(source, long, { ["ü".repeat(64)]: "copied", v: 1 });
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: [long.name] }]),
    );
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run(`UPDATE \`${long.name}\` SET v = 2`);
    await insertRow(source, long, { ["ü".repeat(64)]: "logged", v: 3 });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(long);
  },
);

test.skipIf(!available(to("postgres", "postgres")))(
  "tables that differ in case, emoji, and one name in two schemas arrive where both ends have them",
  async () => {
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
    const source = await bed.sql("source");
    const names = ["mixed", "Mixed", "smile 😀", "other.mixed"];
    await source.run("CREATE SCHEMA other");
    for (const name of names) {
      const spelled = name.startsWith("other.") ? name : `"${name}"`;
      await source.run(`CREATE TABLE ${spelled} (id int PRIMARY KEY, "Id" text)`);
      await source.run(`INSERT INTO ${spelled} VALUES (1, '${name}')`);
    }
    const rules = ["public.mixed", "public.Mixed", "public.smile 😀", "other.*"];
    const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables: rules }]));
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const target = await bed.sql("target");
    const rows = await target.rows(
      `SELECT "Id" FROM mixed UNION ALL SELECT "Id" FROM "Mixed"
       UNION ALL SELECT "Id" FROM "smile 😀" UNION ALL SELECT "Id" FROM other.mixed`,
    );
    expect(rows.map(({ Id }) => Id)).toEqual(names);
  },
);
