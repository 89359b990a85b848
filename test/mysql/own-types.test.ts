// Tables that Tidemark makes in MariaDB and MySQL: what the plan says of their columns is what they are once they stand (G6).
import { describe, expect, it } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

const KINDS = ["mariadb", "mysql"] as const;
const CROSSINGS = KINDS.flatMap((source) => KINDS.map((target) => [source, target] as const));

describe.each(CROSSINGS)("from %s to %s", (source, target) => {
  it.skipIf(!available(source) || !available(target))(
    "a YEAR stays one, though MariaDB says YEAR(4) of it",
    async () => {
      const rows = await crossed([source, target], {
        make: ["CREATE TABLE t (id INT PRIMARY KEY, made YEAR, born YEAR NOT NULL)"],
        write: ["INSERT INTO t VALUES (1, 2006, 1901), (2, NULL, 2155)"],
        change: ["UPDATE t SET made = 1999"],
        read: "SELECT id, made, born FROM t ORDER BY id",
      });
      expect(rows).toEqual([
        { id: "1", made: "1999", born: "1901" },
        { id: "2", made: "1999", born: "2155" },
      ]);
    },
  );

  it.skipIf(!available(source) || !available(target))(
    "a key is given no more room than an index has",
    async () => {
      // One byte for a character there, four here; a key by the beginning of its texts.
      const rows = await crossed([source, target], {
        make: [
          "CREATE TABLE t (a VARCHAR(255), b VARCHAR(255), c VARCHAR(255), d VARCHAR(255), v INT, PRIMARY KEY (a, b, c, d)) CHARACTER SET latin1",
          "CREATE TABLE beginnings (k VARCHAR(500) NOT NULL, b BLOB NOT NULL, PRIMARY KEY (k(100), b(50)))",
        ],
        write: [
          "INSERT INTO t VALUES ('a', 'b', 'c', 'd', 1)",
          "INSERT INTO beginnings VALUES (REPEAT('k', 200), 'b')",
        ],
        change: ["UPDATE t SET a = 'ä', v = 2", "UPDATE beginnings SET b = 'c'"],
        read: "SELECT a, v, LENGTH(k) AS k, CAST(beginnings.b AS CHAR) AS b FROM t, beginnings",
      });
      expect(rows).toEqual([{ a: "ä", v: "2", k: "200", b: "c" }]);
    },
  );

  it.skipIf(!available(source) || !available(target))(
    "a key that an index has just room for stays as it is",
    async () => {
      await using bed = await TestBed.make({ source, target });
      const sql = await bed.sql("source");
      await sql.run(
        "CREATE TABLE t (i INT, d DECIMAL(10, 2), t DATETIME(6), s SET('x', 'y'), e ENUM('x'), a VARCHAR(761), PRIMARY KEY (i, d, t, s, e, a))",
      );
      const { mappings } = await makePlan(everything(bed), silentLogger);
      expect(mappings.filter(({ fidelity }) => fidelity !== "exact")).toEqual([]);
      const pipeline = await bed.start(everything(bed));
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    },
  );
});

it.skipIf(!KINDS.every(available))("addresses of MariaDB are a key in MySQL, too", async () => {
  const rows = await crossed(["mariadb", "mysql"], {
    make: ["CREATE TABLE t (i INET6, u UUID, v INT, PRIMARY KEY (i, u))"],
    write: [
      "INSERT INTO t VALUES ('2001:db8::ff00:42:8329', '123e4567-e89b-12d3-a456-426655440000', 1)",
    ],
    change: ["UPDATE t SET v = 2"],
    read: "SELECT i, v FROM t",
  });
  expect(rows).toEqual([{ i: "2001:db8::ff00:42:8329", v: "2" }]);
});

it.skipIf(!available("postgres-newest") || !available("mariadb"))(
  "labels and intervals of PostgreSQL share the room of a key",
  async () => {
    const rows = await crossed(["postgres-newest", "mariadb"], {
      make: [
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE TABLE t (a mood, b mood, c mood, d mood, e interval, v int, PRIMARY KEY (a, b, c, d, e))",
      ],
      write: ["INSERT INTO t VALUES ('sad', 'ok', 'ok', 'sad', '1 day', 1)"],
      change: ["UPDATE t SET a = 'ok', v = 2"],
      read: "SELECT a, b, c, d, e, v FROM t",
    });
    expect(rows).toEqual([{ a: "ok", b: "ok", c: "ok", d: "sad", e: "P1D", v: "2" }]);
  },
);

interface Crossing {
  readonly make: readonly string[];
  readonly write: readonly string[];
  readonly change: readonly string[];
  readonly read: string;
}

/** What is read at the target, of a table that was copied and then changed. */
async function crossed(
  [from, to]: readonly ["mariadb" | "mysql" | "postgres-newest", "mariadb" | "mysql"],
  { make, write, change, read }: Crossing,
) {
  await using bed = await TestBed.make({ source: from, target: to });
  const source = await bed.sql("source");
  for (const statement of [...make, ...write]) await source.run(statement);
  const { mappings } = await makePlan(everything(bed), silentLogger);
  expect(mappings.filter(({ fidelity }) => fidelity === "refused")).toEqual([]);
  const pipeline = await bed.start(everything(bed));
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  for (const statement of change) await source.run(statement);
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  return (await bed.sql("target")).rows(read);
}

function everything(bed: TestBed) {
  return bed.define([{ from: "source", to: "target", tables: ["*"] }]);
}
