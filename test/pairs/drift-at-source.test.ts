// Tables that are altered while the sync runs, at the source: it stops before the
// first change that does not fit, says what was altered, and goes on without a loss when that is
// mended (G1, G8).
import { describe, test } from "vitest";
import {
  addColumn,
  addKey,
  anotherKey,
  atTarget,
  cases,
  copyAnew,
  DRIFT,
  type Drift,
  ITEMS,
  KEYLESS,
  ownTrigger,
  play,
  RENAMED,
  RETYPE,
  renameColumn,
  SIX,
  WIDER,
  WRITE,
  WRITE_RENAMED,
} from "../support/drift.ts";
import { available } from "../support/pairs.ts";
import { resync } from "../support/resync.ts";

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

describe("at the source", () => {
  for (const [name, pair, drift] of cases(AT_SOURCE, "source")) {
    test.skipIf(!available(pair))(name, () => play(pair, drift, "source"));
  }
});
