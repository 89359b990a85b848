// Tables that are altered while the sync runs, at the source and at the target: it stops before the
// first change that does not fit, says what was altered, and goes on without a loss when that is
// mended (G1, G8).
import { describe, expect, test } from "vitest";
import type { PipelineDefinition, TableRule } from "../../src/core/definition.ts";
import type { ErrorCode } from "../../src/core/errors.ts";
import { isTidemarkError, type TidemarkError } from "../../src/core/errors.ts";
import { triggerName } from "../../src/databases/mysql/capture-sql.ts";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { uninstall } from "../../src/pipeline/uninstall.ts";
import type { DatabaseKind } from "../servers/index.ts";
import { available, FOUR_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { resync } from "../support/resync.ts";
import { type Dialect, dialectOf, type SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", a: "varchar", n: "integer" },
  key: ["id"],
  required: ["n"],
};
const KEYLESS: TestTable = { ...ITEMS, key: [], required: ["id", "n"] };
const OTHERS: TestTable = { name: "others", columns: { id: "integer", v: "varchar" }, key: ["id"] };

type Statements = (dialect: Dialect) => readonly string[];

interface Drift {
  readonly what: string;
  /** Else ITEMS. */
  readonly table?: TestTable;
  /** Run at the source before the start. */
  readonly prepare?: Statements;
  /** Else the table as it is. */
  readonly rule?: Omit<TableRule, "table">;
  readonly alter: Statements;
  /** Written after it. */
  readonly write: readonly string[];
  /** What the error says, when it stops the sync; null: it goes on. */
  readonly says: {
    readonly code: ErrorCode;
    /** Where the sync may have looked between two of the statements. */
    readonly or?: ErrorCode;
    readonly words: RegExp;
  } | null;
  /** What the message asks for. */
  readonly mend?: (mending: Mending) => Promise<readonly TableRule[] | undefined>;
  /** The table as it is to be compared in the end; null: not at all. */
  readonly ends?: TestTable | null;
  /** Where the database has no such statement, or does not let it happen. */
  readonly except?: readonly Dialect[];
}

interface Mending {
  readonly bed: TestBed;
  readonly source: SqlClient;
  readonly target: SqlClient;
  readonly definition: PipelineDefinition;
}

const DRIFT = "TM-SCHEMA-DRIFT";
const RETYPE: Readonly<Record<Dialect, (column: string, type: string) => string>> = {
  postgres: (column, type) => `ALTER TABLE items ALTER COLUMN ${column} TYPE ${type}`,
  mariadb: (column, type) => `ALTER TABLE items MODIFY ${column} ${type}`,
  sqlite: () => "",
};
const atTarget =
  (statements: Statements) =>
  async ({ target }: Mending): Promise<undefined> => {
    for (const statement of statements(target.dialect)) await target.run(statement);
  };
/** As the errors that ask for it say: uninstall, then a resync of all tables. */
const copyAnew =
  (more: Statements = () => []) =>
  async ({ bed, target, definition }: Mending): Promise<undefined> => {
    for (const statement of more(target.dialect)) await target.run(statement);
    await uninstall(definition, bed.logger);
    await resync(bed, definition, ["*"]);
  };
const WIDER: TestTable = {
  ...ITEMS,
  columns: { ...ITEMS.columns, b: "integer" },
};
const addColumn: Statements = () => ["ALTER TABLE items ADD COLUMN b bigint"];
const WRITE = [
  "INSERT INTO items (id, a, n) VALUES (5, 'five', 5)",
  "UPDATE items SET a = 'changed' WHERE id = 1",
  "DELETE FROM items WHERE id = 2",
];

const addKey = (dialect: Dialect) =>
  dialect === "sqlite"
    ? "CREATE UNIQUE INDEX items_key ON items (id)"
    : "ALTER TABLE items ADD PRIMARY KEY (id)";

const anotherKey = (dialect: Dialect) =>
  `ALTER TABLE items DROP ${dialect === "postgres" ? "CONSTRAINT items_pkey" : "PRIMARY KEY"}, ADD PRIMARY KEY (n)`;

/** Captured row by row in PostgreSQL, each as it stands. */
const ownTrigger: Statements = () => [
  "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
  "CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION keep()",
];
const renameColumn: Statements = () => ["ALTER TABLE items RENAME COLUMN a TO z"];
const WRITE_RENAMED = [
  "INSERT INTO items (id, z, n) VALUES (5, 'five', 5)",
  "UPDATE items SET z = 'one' WHERE id = 1",
  "UPDATE items SET id = 30 WHERE id = 3",
  "DELETE FROM items WHERE id = 2",
];
const RENAMED: TestTable = { ...ITEMS, columns: { id: "integer", z: "varchar", n: "integer" } };
const SIX = "INSERT INTO items (id, a, n) VALUES (6, 'six', 6)";

const AT_SOURCE: readonly Drift[] = [
  {
    what: "a column added",
    alter: addColumn,
    write: [...WRITE, "UPDATE items SET b = 7 WHERE id = 3"],
    says: { code: DRIFT, words: /column b \(.*int.*\) was added/i },
    mend: atTarget(addColumn),
    ends: WIDER,
  },
  {
    what: "a column added with a default, which no trigger sees in the rows that stand",
    alter: () => ["ALTER TABLE items ADD COLUMN b integer DEFAULT 9"],
    write: WRITE,
    says: { code: DRIFT, words: /column b \(.*int.*\) was added/i },
    mend: atTarget(addColumn),
    ends: WIDER,
  },
  {
    what: "a column dropped",
    alter: () => ["ALTER TABLE items DROP COLUMN a"],
    write: [
      "INSERT INTO items (id, n) VALUES (5, 5)",
      "UPDATE items SET n = 10 WHERE id = 1",
      "DELETE FROM items WHERE id = 2",
    ],
    says: { code: DRIFT, words: /column a \(.*\) was dropped/ },
    ends: { ...ITEMS, columns: { id: "integer", n: "integer" } },
    except: ["sqlite"],
  },
  {
    what: "a column dropped, and another one added in its place",
    alter: () => ["ALTER TABLE items DROP COLUMN a, ADD COLUMN b varchar(200)"],
    write: [
      "INSERT INTO items (id, n, b) VALUES (5, 5, 'five')",
      "UPDATE items SET b = 'one' WHERE id = 1",
      "DELETE FROM items WHERE id = 2",
    ],
    says: { code: DRIFT, words: /column a \(.*\) was dropped.*column b \(.*\) was added/ },
    mend: atTarget(() => ["ALTER TABLE items ADD COLUMN b varchar(200)"]),
    ends: { ...ITEMS, columns: { id: "integer", n: "integer", b: "varchar" } },
    except: ["sqlite"],
  },
  {
    what: "a column renamed",
    alter: renameColumn,
    write: WRITE_RENAMED,
    says: { code: DRIFT, words: /column a .*renamed/ },
    mend: atTarget(renameColumn),
    ends: RENAMED,
  },
  {
    what: "a column renamed, captured row by row",
    prepare: ownTrigger,
    alter: renameColumn,
    write: WRITE_RENAMED,
    says: { code: DRIFT, words: /column a .*renamed/ },
    mend: atTarget(renameColumn),
    ends: RENAMED,
    except: ["mariadb", "sqlite"],
  },
  {
    what: "a column renamed that `where` speaks of",
    rule: { where: "a <> 'none'" },
    alter: renameColumn,
    write: WRITE_RENAMED,
    says: { code: DRIFT, words: /column a .*renamed/ },
    mend: async (mending) => {
      await atTarget(renameColumn)(mending);
      return [{ table: "items", where: "z <> 'none'" }, { table: "others" }];
    },
    ends: RENAMED,
    except: ["mariadb", "sqlite"],
  },
  {
    what: "the key's column renamed",
    alter: () => ["ALTER TABLE items RENAME COLUMN id TO code"],
    write: [
      "INSERT INTO items (code, a, n) VALUES (5, 'five', 5)",
      "UPDATE items SET a = 'one' WHERE code = 1",
    ],
    says: { code: DRIFT, words: /column id .*renamed|its key was \(id\)/ },
    mend: copyAnew(() => ["ALTER TABLE items RENAME COLUMN id TO code"]),
    ends: {
      ...ITEMS,
      columns: { code: "integer", a: "varchar", n: "integer" },
      key: ["code"],
    },
  },
  {
    what: "NULL forbidden, and allowed",
    alter: () => [
      "ALTER TABLE items ALTER COLUMN a SET NOT NULL",
      "ALTER TABLE items ALTER COLUMN n DROP NOT NULL",
    ],
    write: [...WRITE, SIX],
    says: null,
    except: ["mariadb", "sqlite"],
  },
  {
    what: "NULL forbidden, which starts again",
    alter: () => [RETYPE.mariadb("a", "varchar(200) NOT NULL")],
    write: [...WRITE, SIX],
    says: { code: DRIFT, words: /definition of a column is another|column a / },
    except: ["postgres", "sqlite"],
  },
  {
    what: "a wider type",
    alter: (dialect) => [RETYPE[dialect]("n", "bigint")],
    write: [...WRITE, "UPDATE items SET n = 5000000000 WHERE id = 3"],
    says: { code: DRIFT, words: /column n was int.*, is bigint/ },
    mend: atTarget((dialect) => (dialect === "sqlite" ? [] : [RETYPE[dialect]("n", "bigint")])),
    ends: { ...ITEMS, columns: { ...ITEMS.columns, n: "bigint" } },
    except: ["sqlite"],
  },
  {
    what: "a narrower type, which changes values that no trigger sees",
    alter: (dialect) =>
      dialect === "postgres"
        ? ["ALTER TABLE items ALTER COLUMN a TYPE varchar(3) USING left(a, 3)"]
        : [
            "SET SESSION sql_mode = ''",
            RETYPE[dialect]("a", "varchar(3)"),
            "SET SESSION sql_mode = DEFAULT",
          ],
    write: ["INSERT INTO items (id, a, n) VALUES (5, 'fiv', 5)", "DELETE FROM items WHERE id = 2"],
    says: { code: DRIFT, words: /column a was .*200.*, is .*\(3\)/ },
    except: ["sqlite"],
  },
  {
    what: "a default",
    alter: () => ["ALTER TABLE items ALTER COLUMN n SET DEFAULT 4"],
    write: [...WRITE, "INSERT INTO items (id, a) VALUES (6, 'six')"],
    says: null,
    except: ["sqlite"],
  },
  {
    what: "another key",
    alter: (dialect) => [anotherKey(dialect)],
    write: ["INSERT INTO items (id, a, n) VALUES (1, 'twin', 5)", "DELETE FROM items WHERE n = 2"],
    says: { code: DRIFT, words: /its key was \(id\), is \(n\)/ },
    mend: copyAnew(() => ["DROP TABLE items"]),
    ends: { ...ITEMS, key: ["n"] },
    except: ["sqlite"],
  },
  {
    what: "another column by the name of the key's",
    rule: { columns: ["id", "a", "n"] },
    alter: () => [
      "ALTER TABLE items DROP CONSTRAINT items_pkey",
      "ALTER TABLE items RENAME COLUMN id TO was",
      "ALTER TABLE items ADD COLUMN id int GENERATED BY DEFAULT AS IDENTITY (START 3) PRIMARY KEY",
      "ALTER TABLE items ALTER COLUMN was DROP NOT NULL",
    ],
    write: ["INSERT INTO items (id, a, n) VALUES (1, 'one', 1)", "DELETE FROM items WHERE id = 4"],
    says: {
      code: "TM-CAPTURE-BROKEN",
      or: DRIFT,
      // One for each statement that a look may come after.
      words: /its key was \(id\), is gone|column id was renamed|column id of its key is another/,
    },
    mend: async ({ bed, definition }) => {
      await resync(bed, definition, ["public.items"]);
      return undefined;
    },
    except: ["mariadb", "sqlite"],
  },
  {
    what: "a table dropped",
    alter: () => ["DROP TABLE items"],
    write: [],
    says: { code: DRIFT, words: /items was dropped/ },
    mend: async () => [{ table: "others" }],
    ends: null,
  },
  {
    what: "a table renamed",
    alter: () => ["ALTER TABLE items RENAME TO things"],
    write: [
      "INSERT INTO things (id, a, n) VALUES (5, 'five', 5)",
      "DELETE FROM things WHERE id = 2",
    ],
    says: { code: DRIFT, words: /items was renamed to .*things/ },
    mend: async ({ source }) => {
      await source.run("ALTER TABLE things RENAME TO items");
      return undefined;
    },
  },
  {
    what: "a table renamed, captured row by row",
    prepare: ownTrigger,
    alter: () => ["ALTER TABLE items RENAME TO things"],
    write: [
      "INSERT INTO things (id, a, n) VALUES (5, 'five', 5)",
      "UPDATE things SET n = 7 WHERE id = 1",
      "UPDATE things SET id = 30 WHERE id = 3",
      "DELETE FROM things WHERE id = 2",
      "INSERT INTO things (id, a, n) VALUES (2, 'again', 2)",
    ],
    says: { code: DRIFT, words: /items was renamed to .*things/ },
    mend: async ({ source }) => {
      await source.run("ALTER TABLE things RENAME TO items");
      return undefined;
    },
    except: ["mariadb", "sqlite"],
  },
  {
    what: "a table dropped and made again",
    alter: (dialect) => [
      "DROP TABLE items",
      `CREATE TABLE items (id ${dialect === "sqlite" ? "INT" : "integer"} NOT NULL PRIMARY KEY, a varchar(200), n integer NOT NULL)`,
    ],
    write: ["INSERT INTO items (id, a, n) VALUES (5, 'five', 5)"],
    says: { code: "TM-CAPTURE-BROKEN", or: DRIFT, words: /items/ },
    mend: copyAnew(),
  },
  {
    what: "a table swapped for a copy of it, as tools that alter large tables do, and kept beside it",
    alter: (dialect) => [
      `CREATE TABLE made (id ${dialect === "sqlite" ? "INT" : "integer"} NOT NULL PRIMARY KEY, a varchar(200), n integer NOT NULL)`,
      "INSERT INTO made SELECT * FROM items",
      // At once, as they do: looked for in between, the table was renamed.
      ...(dialect === "mariadb"
        ? ["RENAME TABLE items TO was, made TO items"]
        : [
            "BEGIN",
            "ALTER TABLE items RENAME TO was",
            "ALTER TABLE made RENAME TO items",
            "COMMIT",
          ]),
    ],
    write: ["INSERT INTO items (id, a, n) VALUES (5, 'five', 5)", "DELETE FROM was WHERE id = 1"],
    says: { code: "TM-CAPTURE-BROKEN", or: "TM-TRUNCATE-UNSEEN", words: /items/ },
    mend: async ({ bed, source, definition }) => {
      await source.run("DELETE FROM was WHERE id = 2");
      await resync(bed, definition, ["items"]);
      return undefined;
    },
  },
  {
    what: "a table made unlogged",
    alter: () => ["ALTER TABLE items SET UNLOGGED"],
    write: [],
    says: { code: "TM-TABLE-UNSUPPORTED", words: /items.* made unlogged/ },
    mend: async ({ source }) => {
      await source.run("ALTER TABLE items SET LOGGED");
      return undefined;
    },
    except: ["mariadb", "sqlite"],
  },
  {
    what: "no key, and a column added",
    table: KEYLESS,
    alter: addColumn,
    write: [...WRITE, ...WRITE, "UPDATE items SET b = 7 WHERE id = 3"],
    says: { code: DRIFT, words: /column b \(.*int.*\) was added/i },
    mend: atTarget(addColumn),
    ends: { ...WIDER, key: [] },
  },
  {
    what: "no key, and a column dropped, one added in its place and one retyped",
    table: KEYLESS,
    alter: (dialect) => [
      `${RETYPE[dialect]("n", "bigint")}, DROP COLUMN a, ADD COLUMN b varchar(200)`,
    ],
    write: [
      "INSERT INTO items (id, n, b) VALUES (5, 5, 'five'), (5, 5, 'five')",
      "UPDATE items SET b = 'one' WHERE id = 1",
      "DELETE FROM items WHERE id = 2",
    ],
    says: {
      code: DRIFT,
      words: /column a \(.*\) was dropped.*n was int.*column b \(.*\) was added/,
    },
    mend: atTarget((dialect) => [
      "ALTER TABLE items ADD COLUMN b varchar(200)",
      ...(dialect === "sqlite" ? [] : [RETYPE[dialect]("n", "bigint")]),
    ]),
    ends: { ...KEYLESS, columns: { id: "integer", n: "bigint", b: "varchar" } },
    except: ["sqlite"],
  },
  {
    what: "no key, and one given: what waits is read by it",
    table: KEYLESS,
    alter: (dialect) => [addKey(dialect)],
    write: WRITE,
    says: { code: DRIFT, words: /its key was missing, is \(id\)/ },
    mend: atTarget((dialect) => [addKey(dialect)]),
    ends: ITEMS,
  },
];

const SWAP = [
  ["others", "meanwhile"],
  ["spares", "others"],
  ["meanwhile", "spares"],
];

const UNSEEN = "INSERT INTO items (id, a, n) VALUES (6, 'six', 123456)";

const AT_TARGET: readonly Drift[] = [
  {
    what: "a column and an index that were added",
    alter: () => ["ALTER TABLE items ADD COLUMN more integer", "CREATE INDEX by_a ON items (a)"],
    write: WRITE,
    says: null,
  },
  {
    what: "a unique index that was added",
    alter: () => ["CREATE UNIQUE INDEX by_n ON items (n)"],
    write: [
      "INSERT INTO items (id, a, n) VALUES (5, 'five', 5)",
      "UPDATE items SET n = n + 10 WHERE id = 1",
      "UPDATE items SET n = 1 WHERE id = 3",
    ],
    says: null,
  },
  {
    what: "a column dropped",
    alter: () => ["ALTER TABLE items DROP COLUMN a"],
    write: WRITE,
    says: { code: DRIFT, words: /items\.a was .*, is gone|items\.a was .* nothing/ },
    mend: atTarget((dialect) => [
      `ALTER TABLE items ADD COLUMN a ${dialect === "sqlite" ? "TEXT" : "varchar(200)"}`,
    ]),
  },
  {
    what: "a column renamed",
    alter: () => ["ALTER TABLE items RENAME COLUMN a TO z"],
    write: WRITE,
    says: { code: DRIFT, words: /items\.a was / },
    mend: atTarget(() => ["ALTER TABLE items RENAME COLUMN z TO a"]),
  },
  {
    what: "a narrower type",
    alter: (dialect) => [RETYPE[dialect]("n", "smallint")],
    write: [...WRITE, UNSEEN],
    says: { code: DRIFT, words: /items\.n was int.*, is smallint/ },
    mend: atTarget((dialect) => [RETYPE[dialect]("n", "integer")]),
    except: ["sqlite", "mariadb"],
  },
  {
    what: "a narrower type that fits as long as the values do",
    alter: (dialect) => [RETYPE[dialect]("n", "smallint")],
    write: [...WRITE, UNSEEN],
    says: { code: "TM-VALUE-REFUSED", words: /Table items\. Column n\./ },
    mend: atTarget((dialect) => [RETYPE[dialect]("n", "integer")]),
    except: ["sqlite", "postgres"],
  },
  {
    what: "a wider type",
    alter: (dialect) => [RETYPE[dialect]("n", "bigint")],
    write: [...WRITE, UNSEEN],
    says: null,
    except: ["sqlite"],
  },
  {
    what: "a key dropped",
    alter: (dialect) => [
      `ALTER TABLE items DROP ${dialect === "postgres" ? "CONSTRAINT items_pkey" : "PRIMARY KEY"}`,
    ],
    write: WRITE,
    says: { code: DRIFT, words: /items\.id was .* unique/ },
    mend: atTarget(() => ["ALTER TABLE items ADD PRIMARY KEY (id)"]),
    except: ["sqlite"],
  },
  {
    what: "a table dropped",
    alter: () => ["DROP TABLE items"],
    write: WRITE,
    says: { code: DRIFT, words: /gone at the target.*items/ },
  },
  {
    what: "a table renamed",
    alter: () => ["ALTER TABLE items RENAME TO things"],
    write: WRITE,
    says: { code: DRIFT, words: /gone at the target.*items/ },
    mend: atTarget(() => ["ALTER TABLE things RENAME TO items"]),
  },
  {
    what: "a table dropped and made again",
    alter: () => [
      "DROP TABLE items",
      "CREATE TABLE items (id integer NOT NULL PRIMARY KEY, a varchar(200), n integer NOT NULL)",
    ],
    write: WRITE,
    says: null,
  },
];

const KINDS: readonly DatabaseKind[] = ["sqlite", "postgres", "mariadb"];

/** Each case at each kind of database and MySQL, whose other end takes turns: together they are all nine pairs, and more. */
function cases(drifts: readonly Drift[], altered: "source" | "target") {
  return drifts.flatMap((drift, index) =>
    [...KINDS, "mysql" as const].flatMap((kind, turn): [string, TestPair, Drift][] => {
      if (drift.except?.includes(dialectOf(kind))) return [];
      const other = KINDS[(index + turn) % KINDS.length] as DatabaseKind;
      const pair: TestPair = {
        source:
          altered === "source" ? kind : other === "sqlite" && kind !== "sqlite" ? "mariadb" : other,
        target: altered === "target" ? kind : other,
        queue: "embedded",
      };
      return [[`${drift.what}: ${title(pair)}`, pair, drift]];
    }),
  );
}

describe("at the source", () => {
  for (const [name, pair, drift] of cases(AT_SOURCE, "source")) {
    test.skipIf(!available(pair))(name, () => play(pair, drift, "source"));
  }
});

describe.each(FOUR_PAIRS)("a column dropped at the target while nothing ran", (pair) => {
  test.skipIf(!available(pair))(`is refused, and copied anew: ${title(pair)}`, async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    const target = await bed.sql("target");
    await createTables(source, pair.source, [ITEMS]);
    await insertRow(source, ITEMS, { id: 1, a: "one", n: 1 });
    const definition = bed.define([{ from: "source", to: "target", tables: ["items"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    await target.run("ALTER TABLE items DROP COLUMN a");
    await expect(bed.start(definition)).rejects.toMatchObject({ code: "TM-COLUMN-UNFIT" });
    const type = target.dialect === "mariadb" ? "varchar(200)" : "text";
    await target.run(`ALTER TABLE items ADD COLUMN a ${type}`);
    const second = await bed.start(definition);
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  });
});

describe.each(FOUR_PAIRS.filter(({ source }) => source !== "sqlite"))("another key", (pair) => {
  test.skipIf(!available(pair))(`a resync passes by the old one: ${title(pair)}`, async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    const target = await bed.sql("target");
    await createTables(source, pair.source, [ITEMS, OTHERS]);
    const definition = bed.define([{ from: "source", to: "target", tables: ["items", "others"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    await insertRow(source, ITEMS, { id: 1, a: "waits", n: 1 });
    await insertRow(source, OTHERS, { id: 1, v: "waits" });
    await source.run(anotherKey(source.dialect));
    await insertRow(source, ITEMS, { id: 1, a: "later", n: 2 });
    await target.run("DROP TABLE items");
    await resync(bed, definition, ["items"]);
    const second = await bed.start(definition);
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame({ ...ITEMS, key: ["n"] });
    await bed.expectSame(OTHERS);
  });
});

describe.each(FOUR_PAIRS)("two tables of one shape that exchanged their names", (pair) => {
  test.skipIf(!available(pair))(title(pair), async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    const twins = ["others", "spares"].map((name): TestTable => ({ ...OTHERS, name }));
    await createTables(source, pair.source, twins);
    for (const table of twins) await insertRow(source, table, { id: 1, v: table.name });
    const names = twins.map(({ name }) => name);
    const definition = bed.define([{ from: "source", to: "target", tables: names }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    for (const [from, to] of SWAP) await source.run(`ALTER TABLE ${from} RENAME TO ${to}`);
    for (const table of twins) await insertRow(source, table, { id: 2, v: `now ${table.name}` });
    const { code, message } = await stopOf(first);
    expect([DRIFT, "TM-CAPTURE-BROKEN"]).toContain(code);
    expect(message).toMatch(/others|spares/);
    await bed.stop(first);
    await resync(bed, definition, names);
    const second = await bed.start(definition);
    for (const table of twins) await insertRow(source, table, { id: 3, v: `then ${table.name}` });
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of twins) await bed.expectSame(table);
  });
});

describe("at the target", () => {
  for (const [name, pair, drift] of cases(AT_TARGET, "target")) {
    test.skipIf(!available(pair))(name, () => play(pair, drift, "target"));
  }
});

describe.skipIf(!available({ source: "postgres", target: "sqlite", queue: "embedded" }))(
  "PostgreSQL, captured by the names of the columns",
  () => {
    const create = "CREATE TABLE items (id int PRIMARY KEY, a varchar(200), n int NOT NULL, x int)";
    const PARTITIONED = [
      `${create} PARTITION BY RANGE (id)`,
      "CREATE TABLE part PARTITION OF items DEFAULT",
    ];
    const [rename, renameBack] = [
      "ALTER TABLE items RENAME COLUMN a TO z",
      "ALTER TABLE items RENAME COLUMN z TO a",
    ];
    const renameKey = "ALTER TABLE items RENAME COLUMN id TO code";

    async function started(ddl: readonly string[], except: readonly string[] = []) {
      const bed = await TestBed.make({ source: "postgres", target: "sqlite" });
      const source = await bed.sql("source");
      for (const statement of ddl) await source.run(statement);
      for (let id = 1; id <= 3; id++) await insertRow(source, ITEMS, { id, a: `row ${id}`, n: id });
      const tables = [{ table: "items", except }];
      const definition = bed.define([{ from: "source", to: "target", tables }]);
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      return { bed, source, target: await bed.sql("target"), definition, pipeline };
    }

    /** Resolves when it can be written; until then each write says what is missing. */
    async function succeeds(source: SqlClient, statement: string): Promise<void> {
      const attempt = () =>
        source.run(statement).then(
          () => null,
          (error: Error) => error.message,
        );
      const first = await attempt();
      if (first === null) return;
      expect(first).toMatch(
        /has no field "\w+"|\.\w+ does not exist|does not match that when preparing the plan/,
      );
      await expect.poll(attempt, { timeout: PATIENCE_MS }).toBe(null);
    }

    describe.each<[string, readonly string[], readonly string[]]>([
      ["partitioned", PARTITIONED, []],
      ["with a column left out", [create], ["x"]],
      [
        "partitioned, without a key",
        PARTITIONED.map((each) => each.replace(" PRIMARY KEY", "")),
        [],
      ],
    ])("%s", (_, ddl, except) => {
      test("a column renamed: what writes it goes on within seconds, and is copied", async () => {
        const { bed, source, target, definition, pipeline } = await started(ddl, except);
        await using _bed = bed;
        await source.run(rename);
        for (const statement of WRITE_RENAMED) await succeeds(source, statement);
        expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
        await bed.stop(pipeline);
        // Nor does another change of names stop it, while nobody looks.
        await source.run("ALTER TABLE items RENAME COLUMN n TO m");
        await source.run("DELETE FROM items WHERE id = 1");
        await source.run("INSERT INTO items (id, z, m) VALUES (7, 'seven', 7)");
        await source.run("ALTER TABLE items RENAME COLUMN m TO n");
        for (const statement of renameColumn("sqlite")) await target.run(statement);
        const second = await bed.start(definition);
        await source.run("UPDATE items SET z = 'again' WHERE id = 7");
        await second.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame(RENAMED);
      });

      test("a column given another type: a session that has written it goes on within seconds", async () => {
        const { bed, source, definition, pipeline } = await started(ddl, except);
        await using _bed = bed;
        await source.run(SIX);
        await source.run(RETYPE.postgres("n", "bigint"));
        for (const statement of WRITE) await succeeds(source, statement);
        expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
        await bed.stop(pipeline);
        const second = await bed.start(definition);
        await second.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame({ ...ITEMS, columns: { ...ITEMS.columns, n: "bigint" } });
      });

      test("a column renamed and named back: goes on by itself", async () => {
        const { bed, source, definition, pipeline } = await started(ddl, except);
        await using _bed = bed;
        await source.run(rename);
        for (const statement of WRITE_RENAMED) await succeeds(source, statement);
        expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
        await bed.stop(pipeline);
        await source.run(renameBack);
        await source.run(SIX);
        const second = await bed.start(definition);
        await source.run("UPDATE items SET a = 'again' WHERE id = 6");
        await second.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame(ITEMS);
      });

      test("a column dropped: what writes it goes on within seconds, and is copied", async () => {
        const { bed, source, target, definition, pipeline } = await started(ddl, except);
        await using _bed = bed;
        await source.run("ALTER TABLE items DROP COLUMN a");
        await succeeds(source, "INSERT INTO items (id, n) VALUES (5, 5)");
        await source.run("DELETE FROM items WHERE id = 2");
        await source.run("UPDATE items SET id = 30 WHERE id = 3");
        expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
        await bed.stop(pipeline);
        await target.run("ALTER TABLE items DROP COLUMN a");
        const second = await bed.start(definition);
        await second.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame({ ...ITEMS, columns: { id: "integer", n: "integer" } });
      });
    });

    test("a column dropped, and another by its name: the rows that stand are copied, though none was written since", async () => {
      const { bed, source, definition, pipeline } = await started([create]);
      await using _bed = bed;
      await source.run("ALTER TABLE items DROP COLUMN x");
      await source.run("ALTER TABLE items ADD COLUMN x int DEFAULT 7");
      expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
      await bed.stop(pipeline);
      const second = await bed.start(definition);
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame({ ...ITEMS, columns: { ...ITEMS.columns, x: "integer" } });
    });

    test("a partition truncated that has no key, while a column is renamed: the others keep their rows", async () => {
      const { bed, source, definition, pipeline } = await started([
        `${create.replace(" PRIMARY KEY", "")} PARTITION BY RANGE (id)`,
        "CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (2)",
        "CREATE TABLE rest PARTITION OF items DEFAULT",
      ]);
      await using _bed = bed;
      await source.run(rename);
      await succeeds(source, "TRUNCATE low");
      expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
      await bed.stop(pipeline);
      await source.run(renameBack);
      const second = await bed.start(definition);
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(KEYLESS);
    });

    test.each<[string, readonly string[]]>([
      ["captured by statements", [create]],
      ["with a trigger of its own", [create, ...ownTrigger("postgres")]],
      ["partitioned", PARTITIONED],
    ])("the key's column renamed, %s: what writes it goes on within seconds", async (_, ddl) => {
      const { bed, source, pipeline } = await started(ddl);
      await using _bed = bed;
      await source.run(renameKey);
      await succeeds(source, "DELETE FROM items WHERE code = 1");
      await source.run("UPDATE items SET code = 30 WHERE code = 3");
      await source.run("INSERT INTO items (code, a, n) VALUES (5, 'five', 5)");
      await source.run("UPDATE items SET a = 'two' WHERE code = 2");
      expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
    });
  },
);

describe("where nothing was written since", () => {
  const ADDED: readonly string[] = ["ALTER TABLE items ADD COLUMN b integer DEFAULT 9"];
  const MADE_AGAIN: readonly string[] = [
    "CREATE TABLE made (LIKE items INCLUDING ALL)",
    "DROP TABLE items",
    "ALTER TABLE made RENAME TO items",
  ];
  const PARTS = [
    "CREATE TABLE parted (id int PRIMARY KEY, a varchar(200), n int NOT NULL) PARTITION BY RANGE (id)",
    "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (9)",
    "INSERT INTO parted VALUES (1, 'one', 1)",
  ];
  const IN_POSTGRES: Readonly<Record<string, readonly string[]>> = {
    "a column added with a default": ADDED,
    "a table dropped and made again": MADE_AGAIN,
    "a partition detached": ["ALTER TABLE parted DETACH PARTITION low"],
    "a trigger disabled for a while": [
      "ALTER TABLE items DISABLE TRIGGER USER",
      "DELETE FROM items",
      "ALTER TABLE items ENABLE TRIGGER USER",
    ],
  };
  const IN_MYSQL: Readonly<Record<string, readonly string[]>> = {
    "a column added with a default": ADDED,
    "a table dropped and made again": MADE_AGAIN.map((each) => each.replace(" INCLUDING ALL", "")),
    TRUNCATE: ["TRUNCATE items"],
    "a trigger dropped for a while": [
      `DROP TRIGGER ${triggerName("items", "DELETE")}`,
      "DELETE FROM items",
    ],
  };
  const kinds = [
    { source: "postgres", statements: IN_POSTGRES, prepare: PARTS, tables: ["items", "parted"] },
    { source: "mariadb", statements: IN_MYSQL, prepare: [], tables: ["items"] },
    { source: "mysql", statements: IN_MYSQL, prepare: [], tables: ["items"] },
  ] as const;
  for (const { source: kind, statements, prepare, tables } of kinds) {
    const pair = { source: kind, target: "sqlite", queue: "embedded" } as const;
    test.skipIf(!available(pair)).each(Object.entries(statements))(
      `${kind}, %s: whoever waits is not told that the target is in step`,
      async (_, alter) => {
        await using bed = await TestBed.make({ source: kind, target: "sqlite" });
        const source = await bed.sql("source");
        await createTables(source, kind, [ITEMS]);
        for (const statement of prepare) await source.run(statement);
        await insertRow(source, ITEMS, { id: 1, a: "one", n: 1 });
        const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables }]));
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        for (const statement of alter) await source.run(statement);
        await expect(pipeline.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toMatchObject({
          code: "TM-SYNC-STOPPED",
        });
      },
    );
  }
});

describe("two tables that exchanged their names while nobody looked", () => {
  const MORE: TestTable = { ...ITEMS, name: "more" };
  const pairs: readonly TestPair[] = [
    { source: "postgres", target: "sqlite", queue: "embedded" },
    { source: "sqlite", target: "postgres", queue: "embedded" },
  ];
  for (const pair of pairs) {
    test.skipIf(!available(pair))(`both are to be copied anew: ${title(pair)}`, async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await createTables(source, pair.source, [ITEMS, MORE]);
      for (const id of [1, 2]) await insertRow(source, ITEMS, { id, a: "item", n: id });
      for (const id of [3, 4]) await insertRow(source, MORE, { id, a: "more", n: id });
      const definition = bed.define([{ from: "source", to: "target", tables: ["items", "more"] }]);
      const first = await bed.start(definition);
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(first);
      await source.run("ALTER TABLE items RENAME TO between_names");
      await source.run("ALTER TABLE more RENAME TO items");
      await source.run("ALTER TABLE between_names RENAME TO more");
      await insertRow(source, ITEMS, { id: 5, a: "new", n: 5 });
      await source.run("DELETE FROM more WHERE id = 1");
      for (const _ of [ITEMS, MORE]) {
        const error = await bed.start(definition).then(() => null, toTidemark);
        expect(error).toMatchObject({ code: "TM-CAPTURE-BROKEN" });
        await resync(bed, definition, [String(error?.details.table)]);
      }
      const last = await bed.start(definition);
      await last.waitFor({ timeoutMs: PATIENCE_MS });
      for (const table of [ITEMS, MORE]) await bed.expectSame(table);
    });
  }
});

async function play(pair: TestPair, drift: Drift, where: "source" | "target"): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  const target = await bed.sql("target");
  const table = drift.table ?? ITEMS;
  // Of a file in another mode a table without a key is refused.
  if (source.dialect === "sqlite") await source.rows("PRAGMA journal_mode = WAL");
  await createTables(source, pair.source, [table, OTHERS]);
  for (const statement of drift.prepare?.(source.dialect) ?? []) await source.run(statement);
  for (let id = 1; id <= 3; id++) await insertRow(source, table, { id, a: `row ${id}`, n: id });
  const define = (tables: readonly TableRule[]) =>
    bed.define([{ from: "source", to: "target", tables }]);
  const definition = define([{ ...drift.rule, table: "items" }, { table: "others" }]);
  const first = await bed.start(definition);
  await first.waitFor({ timeoutMs: PATIENCE_MS });

  const altered = where === "source" ? source : target;
  // Captured, and perhaps not cut yet.
  await insertRow(source, table, { id: 4, a: "just before", n: 4 });
  const seen = await contents(source, table);
  if (where === "target") await first.waitFor({ timeoutMs: PATIENCE_MS });
  for (const statement of drift.alter(altered.dialect)) await altered.run(statement);
  for (const statement of drift.write) await source.run(statement);
  await insertRow(source, OTHERS, { id: 1, v: "beside" });

  let last = first;
  if (drift.says !== null) {
    const error = await stopOf(first);
    expect([drift.says.code, drift.says.or]).toContain(error.code);
    expect(error.message).toMatch(drift.says.words);
    if (error.code === DRIFT) expect(error.fix).toBeTruthy();
    else if (where === "source") {
      const found = (await diagnose(definition, bed.logger)).flatMap(({ findings }) => findings);
      expect(found).toContainEqual(expect.objectContaining({ severity: "error" }));
    }
    // Nothing stands there that never stood at the source.
    if (where === "source") {
      for (const row of await contents(target, table)) expect(seen).toContainEqual(row);
    }
    await bed.stop(first);
    const rules = await drift.mend?.({ bed, source, target, definition });
    last = await bed.start(rules === undefined ? definition : define(rules));
  }
  await last.waitFor({ timeoutMs: PATIENCE_MS });
  if (drift.ends !== null) await bed.expectSame(drift.ends ?? table);
  await bed.expectSame(OTHERS);
}

async function stopOf(pipeline: Pipeline): Promise<TidemarkError> {
  const error = await pipeline.finished.then(
    () => new Error("The sync has not stopped."),
    (thrown: unknown) => thrown,
  );
  return toTidemark(error);
}

function toTidemark(error: unknown): TidemarkError {
  if (!isTidemarkError(error)) throw error;
  return error;
}
