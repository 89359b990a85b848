// Transactions that end in unusual ways: in parts, in two phases, not at all (G1, G3).
import { describe, expect, test } from "vitest";
import { available, type TestPair, title } from "../support/pairs.ts";
import {
  type Dialect,
  dialectOf,
  openSql,
  type SqlClient,
  transaction,
  withSql,
} from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ROWS: TestTable = {
  name: "rows_",
  columns: { id: "integer", note: "varchar" },
  key: ["id"],
};

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "postgres", queue: "embedded" },
  { source: "postgres", target: "mariadb", queue: "embedded" },
  { source: "mariadb", target: "sqlite", queue: "embedded" },
  { source: "mysql", target: "sqlite", queue: "embedded" },
];

interface TwoPhases {
  readonly begin: (id: string) => string;
  readonly prepare: (id: string) => readonly string[];
  readonly commit: (id: string) => string;
  readonly rollback: (id: string) => string;
}

const TWO_PHASES: Partial<Record<Dialect, TwoPhases>> = {
  postgres: {
    begin: () => "BEGIN",
    prepare: (id) => [`PREPARE TRANSACTION '${id}'`],
    commit: (id) => `COMMIT PREPARED '${id}'`,
    rollback: (id) => `ROLLBACK PREPARED '${id}'`,
  },
  mariadb: {
    begin: (id) => `XA START '${id}'`,
    prepare: (id) => [`XA END '${id}'`, `XA PREPARE '${id}'`],
    commit: (id) => `XA COMMIT '${id}'`,
    rollback: (id) => `XA ROLLBACK '${id}'`,
  },
};

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerTransactionTests(pair));
});

function registerTransactionTests(pair: TestPair): void {
  async function running() {
    const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await createTables(source, pair.source, [ROWS]);
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: [ROWS.name] }]),
    );
    const notes = async () => {
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      return (await contents(await bed.sql("target"), ROWS)).map(({ note }) => note);
    };
    return { bed, source, notes };
  }
  const insert = (sql: SqlClient, id: number, note: string) => insertRow(sql, ROWS, { id, note });

  test("what is rolled back never arrives, whole transactions and parts", async () => {
    const { bed, source, notes } = await running();
    await using _ = bed;
    await source.begin();
    await insert(source, 1, "never");
    await source.rollback();
    await transaction(source, async () => {
      await insert(source, 1, "one");
      await source.run("SAVEPOINT outer_");
      await insert(source, 2, "never");
      await source.run("SAVEPOINT inner_");
      await source.run("UPDATE rows_ SET note = 'never', id = 7 WHERE id = 1");
      await source.run("RELEASE SAVEPOINT inner_");
      await source.run("ROLLBACK TO SAVEPOINT outer_");
      await insert(source, 2, "two");
      await source.run("SAVEPOINT kept");
      await insert(source, 3, "three");
      await source.run("RELEASE SAVEPOINT kept");
    });
    expect(await notes()).toEqual(["one", "two", "three"]);
  });

  if (pair.source === "postgres") {
    test("one that has a partition for itself holds up no other table", async () => {
      const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      await using _ = bed;
      const source = await bed.sql("source");
      await createTables(source, pair.source, [ROWS]);
      await source.run(
        `CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts DEFAULT`,
      );
      const tables = [ROWS.name, "parts"];
      const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables }]));
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await using other = await openSql(bed.database("source"));
      await other.run("BEGIN");
      await other.run("TRUNCATE parts_1");
      await insert(source, 1, "beside");
      // All there is to ask of the tables is asked once more.
      await source.run(`CREATE UNIQUE INDEX ON ${ROWS.name} (id)`);
      await insert(source, 2, "after");
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await other.run("ROLLBACK");
    });
  }

  const phases = TWO_PHASES[dialectOf(pair.source)];
  if (phases === undefined) return;
  test("a prepared transaction holds up nobody, survives its session, and arrives when it is committed", async () => {
    const { bed, source, notes } = await running();
    await using _ = bed;
    const prepare = async (id: string, work: (sql: SqlClient) => Promise<void>) => {
      const sql = await openSql(bed.database("source"));
      await sql.run(phases.begin(id));
      await work(sql);
      for (const statement of phases.prepare(id)) await sql.run(statement);
      await sql[Symbol.asyncDispose]();
    };
    await prepare("kept", (sql) => insert(sql, 1, "prepared"));
    await prepare("dropped", (sql) => insert(sql, 2, "never"));
    await insert(source, 3, "later");
    expect(await notes()).toEqual(["later"]);
    await withSql(bed.database("source"), (sql) => sql.run(phases.commit("kept")));
    await withSql(bed.database("source"), (sql) => sql.run(phases.rollback("dropped")));
    await insert(source, 4, "last");
    expect(await notes()).toEqual(["prepared", "later", "last"]);
  });
}
