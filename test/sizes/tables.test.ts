// Thousands of tables in one source: set up, followed, idle and removed in bearable time.
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { uninstall } from "../../src/pipeline/uninstall.ts";
import { canStart, type Server, startMariadb } from "../servers/index.ts";
import { LARGE, measured, report, sized } from "../support/large.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { TestBed } from "../support/test-bed.ts";
import { inventory } from "../support/test-tables.ts";

const TABLES = sized(40, 5_000);
const PATIENCE_MS = sized(120_000, 600_000);
const IDLE_MS = sized(1_000, 3_000);
const IDLE_TURNS = 10;
/** Statements of an idle pipeline in that time, however many tables there are. */
const IDLE_STATEMENTS = sized(100, 200);

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "postgres", queue: "nats" },
  { source: "mariadb", target: "mariadb", queue: "embedded" },
];

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))(
  "%s",
  (name, pair) => {
    const skip = !available(pair) || (pair.source === "mariadb" && !canStart("mariadb"));
    test.skipIf(skip)(`${TABLES} tables`, async () => {
      await using own = await ownServer(pair);
      await using bed = await TestBed.make(
        { source: pair.source, target: pair.target },
        own === null ? pair : { ...pair, servers: { source: own.url, target: own.url } },
      );
      const source = await bed.sql("source");
      using sqlite = new SqliteCalls(["source", "target"].map((side) => bed.database(side).url));
      for (let i = 0; i < TABLES; i++) {
        await source.run(`CREATE TABLE t${i} (id int NOT NULL PRIMARY KEY, note varchar(50))`);
      }
      await source.run("INSERT INTO t7 VALUES (1, 'before')");
      const things = async () =>
        (await inventory(source)).filter((thing) => thing !== "table sqlite_sequence");
      const before = await things();
      const definition = bed.define([{ from: "source", to: "target", tables: ["*"] }]);
      const plan = await measured(`${name}: plan`, () => makePlan(definition, silentLogger));
      expect(plan.mappings).toHaveLength(TABLES * 2);
      const pipeline = await measured(`${name}: set up`, () => bed.start(definition));
      await measured(`${name}: copy`, () => pipeline.waitFor({ timeoutMs: PATIENCE_MS }));
      const target = await bed.sql("target");
      for (const i of [3, 7, TABLES - 1]) {
        await source.run(`INSERT INTO t${i} VALUES (2, 'after')`);
      }
      await measured(`${name}: changes`, () => pipeline.waitFor({ timeoutMs: PATIENCE_MS }));
      expect(await target.rows("SELECT id, note FROM t7 ORDER BY id")).toEqual([
        { id: "1", note: "before" },
        { id: "2", note: "after" },
      ]);
      expect(await target.rows(`SELECT id FROM t${TABLES - 1}`)).toEqual([{ id: "2" }]);

      const statements = counterOf(source, sqlite);
      let made = Number.POSITIVE_INFINITY;
      // A server may count late what was done before.
      for (let turn = 0; turn < IDLE_TURNS && made >= IDLE_STATEMENTS; turn++) {
        const from = [await statements(), process.cpuUsage()] as const;
        await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
        const { user, system } = process.cpuUsage(from[1]);
        made = (await statements()) - from[0];
        report(
          `${name}: idle: ${made} statements, ${(user + system) / 1000} ms of CPU in ${IDLE_MS} ms`,
        );
      }
      expect(made).toBeLessThan(IDLE_STATEMENTS);

      await bed.stop(pipeline);
      const again = await measured(`${name}: started again`, () => bed.start(definition));
      await source.run("INSERT INTO t5 VALUES (1, 'again')");
      await again.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(again);
      await measured(`${name}: uninstall`, () => uninstall(definition, silentLogger));
      expect(await things()).toEqual(before);
    });
  },
  LARGE ? 900_000 : undefined,
);

/** Where statements can be counted of a whole server only, it must be this test's alone. */
async function ownServer({ source }: TestPair): Promise<Server | null> {
  return source === "mariadb" ? startMariadb() : null;
}

/** How many statements the database, or the test's own server, has been given; of SQLite both files. */
function counterOf(sql: SqlClient, sqlite: SqliteCalls): () => Promise<number> {
  if (sql.dialect === "sqlite") return async () => sqlite.count;
  const query =
    sql.dialect === "postgres"
      ? "SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()"
      : "SELECT variable_value AS n FROM information_schema.global_status WHERE variable_name = 'QUESTIONS'";
  return async () => Number((await sql.rows(query))[0]?.n);
}

/** Counts what this process has files of SQLite do: they have no server that could tell. */
class SqliteCalls implements Disposable {
  count = 0;
  readonly #restore: () => void;

  constructor(urls: readonly string[]) {
    const { prepare, exec } = DatabaseSync.prototype;
    const files = new Set(urls.map((url) => url.replace(/^sqlite:/, "")));
    const add = (): void => {
      this.count++;
    };
    DatabaseSync.prototype.prepare = function (...given) {
      const statement = prepare.apply(this, given);
      return files.has(this.location() ?? "") ? counting(statement, add) : statement;
    };
    DatabaseSync.prototype.exec = function (sql) {
      if (files.has(this.location() ?? "")) add();
      exec.call(this, sql);
    };
    this.#restore = () => Object.assign(DatabaseSync.prototype, { prepare, exec });
  }

  [Symbol.dispose](): void {
    this.#restore();
  }
}

function counting(statement: StatementSync, add: () => void): StatementSync {
  for (const method of ["run", "get", "all", "iterate"] as const) {
    const call = statement[method].bind(statement) as (...given: unknown[]) => unknown;
    Object.assign(statement, {
      [method]: (...given: unknown[]) => {
        add();
        return call(...given);
      },
    });
  }
  return statement;
}
