// Tables that are altered while the sync runs, at the target: it stops before the
// first change that does not fit, says what was altered, and goes on without a loss when that is
// mended (G1, G8).
import { describe, test } from "vitest";
import { atTarget, cases, DRIFT, type Drift, play, RETYPE, WRITE } from "../support/drift.ts";
import { available } from "../support/pairs.ts";

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
    what: "a rule that leaves deletions out",
    alter: () => ["CREATE RULE kept AS ON DELETE TO items DO INSTEAD NOTHING"],
    write: WRITE,
    says: { code: DRIFT, words: /the rule kept .* DISABLE RULE "kept"/ },
    mend: atTarget(() => ["ALTER TABLE items DISABLE RULE kept"]),
    except: ["sqlite", "mariadb"],
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

describe("at the target", () => {
  for (const [name, pair, drift] of cases(AT_TARGET, "target")) {
    test.skipIf(!available(pair))(name, () => play(pair, drift, "target"));
  }
});
