import { setTimeout as sleep } from "node:timers/promises";
import { loadSqlite } from "../../src/core/sqlite-warning.ts";
import { sqlite } from "../../src/databases/sqlite/index.ts";
import type { DatabaseBed, Dialect, SqlSession } from "../../src/testing/index.ts";
import { freshDatabase } from "../servers/index.ts";

const SQLITE_BUSY = 5;

export async function sqliteBed(): Promise<DatabaseBed> {
  const database = await freshDatabase("sqlite");
  const first = await connect(database.url);
  await first.run("PRAGMA journal_mode = WAL");
  await first.close();
  return {
    adapter: sqlite,
    url: database.url,
    dialect,
    connect: () => connect(database.url),
    dispose: async () => database[Symbol.asyncDispose](),
  };
}

/** An application's connection: our own SQLite, but none of the adapter's code. */
async function connect(url: string): Promise<SqlSession> {
  const { DatabaseSync } = loadSqlite();
  const db = new DatabaseSync(url.slice("sqlite:".length));
  db.exec("PRAGMA foreign_keys = ON");
  let open = true;
  return {
    run: (sql) => patiently((): void => db.exec(sql)),
    rows: (sql) =>
      patiently(() => {
        const statement = db.prepare(sql);
        statement.setReadBigInts(true);
        return statement
          .all()
          .map((row) => Object.values(row).map((value) => (value === null ? null : String(value))));
      }),
    async close() {
      if (open) db.close();
      open = false;
    },
  };
}

/** The engine's own wait would stop the whole process, the holder of the lock included. */
async function patiently<T>(work: () => T): Promise<T> {
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (((error as { errcode?: number }).errcode ?? 0) % 256 !== SQLITE_BUSY) throw error;
    }
    await sleep(1);
  }
}

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

const dialect: Dialect = {
  schema: null,
  concurrentWriters: false,
  relaxes: true,
  integer: "INTEGER",
  text: "TEXT",
  begin: "BEGIN IMMEDIATE",
  quote,
  objects: "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_sequence'",
  bumpTrigger: (table) =>
    ["INSERT", "UPDATE OF qty"].map(
      (event, i) =>
        `CREATE TRIGGER bump${i} AFTER ${event} ON ${table} WHEN NEW.qty <> 7 BEGIN UPDATE ${table} SET qty = 7 WHERE id = NEW.id; END`,
    ),
  async breakCapture(session, table) {
    const rows = await session.rows(
      `SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = '${table}' AND name LIKE 'tidemark%update' LIMIT 1`,
    );
    await session.run(`DROP TRIGGER ${quote(String(rows[0]?.[0]))}`);
  },
  async dumpLog(session) {
    const tables = await session.rows(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tidemark%'",
    );
    const texts = await Promise.all(
      tables.map(async ([name]) =>
        String(await session.rows(`SELECT * FROM ${quote(String(name))}`)),
      ),
    );
    return texts.join("\n");
  },
  unfitForDecimal: "REAL",
  shortText: "VARCHAR(5)",
  samples: [
    { declared: "INTEGER", literal: "9223372036854775807", canonical: "9223372036854775807" },
    { declared: "BIGINT", literal: "-9223372036854775808", canonical: "-9223372036854775808" },
    { declared: "INTEGER", literal: "'abc'", canonical: ["text", "abc"] },
    { declared: "INTEGER", literal: "1.5", canonical: ["real", "1.5"] },
    { declared: "TEXT", literal: "'it''s 漢 \u{1f30a}'", canonical: "it's 漢 \u{1f30a}" },
    { declared: "TEXT", literal: "''", canonical: "" },
    { declared: "TEXT", literal: "'nul' || char(0) || 'tail'", canonical: "nul\0tail" },
    { declared: "VARCHAR(3)", literal: "'longer'", canonical: "longer" },
    { declared: "TEXT", literal: "x'41ff'", canonical: ["blob", "41ff"] },
    { declared: "TEXT", literal: "CAST(x'41ff42' AS TEXT)", canonical: ["text", "A\udcffB"] },
    { declared: "TEXT", literal: "'\ufffd'", canonical: "\ufffd" },
    { declared: "REAL", literal: "0.1", canonical: "0.1" },
    { declared: "DOUBLE PRECISION", literal: "5", canonical: "5" },
    { declared: "REAL", literal: "1e308 * 10", canonical: "Infinity" },
    { declared: "FLOAT", literal: "5e-324", canonical: "5e-324" },
    { declared: "REAL", literal: "'abc'", canonical: ["text", "abc"] },
    { declared: "BLOB", literal: "x'00ff10'", canonical: "00ff10" },
    { declared: "BLOB", literal: "x''", canonical: "" },
    { declared: "BLOB", literal: "'text'", canonical: ["text", "text"] },
    { declared: "BOOLEAN", literal: "TRUE", canonical: "t" },
    { declared: "BOOLEAN", literal: "0", canonical: "f" },
    { declared: "BOOLEAN", literal: "2", canonical: ["integer", "2"] },
    { declared: "DECIMAL(10,2)", literal: "1.25", canonical: "1.25" },
    { declared: "DECIMAL(10,2)", literal: "1e25", canonical: "10000000000000000000000000" },
    { declared: "NUMERIC", literal: "12", canonical: "12" },
    { declared: "DATE", literal: "'2024-02-29'", canonical: "2024-02-29" },
    { declared: "DATE", literal: "'2023-02-29'", canonical: ["text", "2023-02-29"] },
    {
      declared: "DATETIME",
      literal: "'2024-02-29 23:59:59.123456'",
      canonical: "2024-02-29 23:59:59.123456",
    },
    {
      declared: "TIMESTAMP",
      literal: "'2024-02-29T23:59:59Z'",
      canonical: ["text", "2024-02-29T23:59:59Z"],
    },
    { declared: "DATETIME", literal: "1709251199", canonical: ["integer", "1709251199"] },
    { declared: "TIME", literal: "'12:34:56'", canonical: "12:34:56" },
    { declared: "JSON", literal: `'{"a": [1, 2.50]}'`, canonical: '{"a": [1, 2.50]}' },
    {
      declared: "UUID",
      literal: "'0f8fad5b-d9cb-469f-a165-70867728950e'",
      canonical: "0f8fad5b-d9cb-469f-a165-70867728950e",
    },
    { declared: "", literal: "'5'", canonical: ["text", "5"] },
    { declared: "", literal: "5", canonical: ["integer", "5"] },
    { declared: "", literal: "5.0", canonical: ["real", "5"] },
  ].map(({ declared, literal, canonical }) => ({
    declared,
    literal,
    canonical: canonical as string | readonly [string, string],
  })),
};
