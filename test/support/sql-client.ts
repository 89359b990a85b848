// One client for the three kinds of database, so that a test is written once. Values come back as
// the text the database prints, bytes as hex: nothing passes through a JavaScript number or Date.
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import mysql from "mysql2/promise";
import pg from "pg";
import { sleep } from "../../src/core/async.ts";
import type { DatabaseKind } from "../servers/index.ts";

export type Dialect = "postgres" | "mariadb" | "sqlite";
export type SqlRow = Record<string, string | null>;
export type Parameter = string | number | bigint | null | Buffer;

export interface SqlClient extends AsyncDisposable {
  readonly dialect: Dialect;
  /** One statement with `?` for parameters; gives the number of rows changed. */
  run(sql: string, parameters?: readonly Parameter[]): Promise<number>;
  rows(sql: string, parameters?: readonly Parameter[]): Promise<SqlRow[]>;
  /** A transaction that writes. On SQLite it waits here, not at its first write, until it may. */
  begin(): Promise<void>;
  /** A transaction whose reads all see one state. */
  beginSnapshot(): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

export function dialectOf(kind: DatabaseKind): Dialect {
  if (kind === "postgres-newest" || kind === "postgres-oldest") return "postgres";
  return kind === "mysql" ? "mariadb" : kind;
}

/**
 * What a commit has reached when it resolves. As set: whatever the server is set to; of SQLite the system's cache, which
 * is quick, and enough where no power is cut. Relaxed, of PostgreSQL and SQLite: a later power cut may take it back,
 * without harm to the file. Durable: the disk.
 */
export type Commits = "as set" | "relaxed" | "durable";

export function openSql(
  database: { readonly kind: DatabaseKind; readonly url: string },
  commits: Commits = "as set",
): Promise<SqlClient> {
  switch (dialectOf(database.kind)) {
    case "postgres":
      return PostgresSql.open(database.url, commits);
    case "mariadb":
      return MariadbSql.open(database.url);
    case "sqlite":
      return Promise.resolve(new SqliteSql(database.url, commits));
  }
}

/** Opens, uses, closes. */
export async function withSql<T>(
  database: { readonly kind: DatabaseKind; readonly url: string },
  use: (sql: SqlClient) => Promise<T>,
): Promise<T> {
  await using sql = await openSql(database);
  return await use(sql);
}

/** Runs `work` in one transaction: committed when it resolves, rolled back when it throws. */
export async function transaction<T>(sql: SqlClient, work: () => Promise<T>): Promise<T> {
  await sql.begin();
  try {
    const result = await work();
    await sql.commit();
    return result;
  } catch (error) {
    // After a deadlock or a lost connection the server has rolled back by itself.
    await sql.rollback().catch(() => {});
    throw error;
  }
}

/** Is it one of the errors that any program must expect of a busy or restarting database, or of a full disk? */
export function isTransient(error: unknown): boolean {
  const {
    code = "",
    errno,
    errcode,
    message = "",
  } = error as {
    code?: string;
    errno?: number;
    errcode?: number;
    message?: string;
  };
  const lost =
    /ECONNREFUSED|ECONNRESET|EPIPE|PROTOCOL_|closed state|terminat|not queryable|database is not open/;
  return (
    /^(40001|40P01|55P03|57P0\d|08\w{3}|25P02|53100)$/.test(code) ||
    [1205, 1213, 1020, 1053, 1021, 1114].includes(errno ?? 0) ||
    (errcode ?? 0) % 256 === 13 ||
    /\b(Errcode|errno|error):? 28\b/.test(message) ||
    lost.test(`${code} ${message}`)
  );
}

/** Does a unique or a foreign key object? */
export function isConstraint(error: unknown): boolean {
  const { code, errno, errcode } = error as { code?: string; errno?: number; errcode?: number };
  if (code === "23505" || code === "23503") return true;
  // 1761: a cascade would lead to a duplicate.
  if ([1062, 1451, 1452, 1761].includes(errno ?? 0)) return true;
  return ((errcode ?? 0) & 0xff) === 19;
}

const TEXT_ONLY = { getTypeParser: () => (text: string) => text };

class PostgresSql implements SqlClient {
  readonly dialect = "postgres";
  readonly #client: pg.Client;
  #last: Promise<unknown> = Promise.resolve();

  static async open(url: string, commits: Commits): Promise<PostgresSql> {
    const client = new pg.Client({ connectionString: url, types: TEXT_ONLY });
    client.on("error", () => {}); // a killed server is told by the next query
    await client.connect();
    await client.query("SET TIME ZONE 'UTC'");
    // Writers of the tests deadlock on purpose; to find out need not take a second each time.
    await client.query("SET deadlock_timeout = '20ms'");
    if (commits === "relaxed") await client.query("SET synchronous_commit = off");
    return new PostgresSql(client);
  }

  constructor(client: pg.Client) {
    this.#client = client;
  }

  async run(sql: string, parameters: readonly Parameter[] = []): Promise<number> {
    return (await this.#query(sql, parameters)).rowCount ?? 0;
  }

  async rows(sql: string, parameters: readonly Parameter[] = []): Promise<SqlRow[]> {
    return (await this.#query(sql, parameters)).rows;
  }

  async begin(): Promise<void> {
    await this.#client.query("BEGIN");
  }

  async beginSnapshot(): Promise<void> {
    await this.#client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  }

  async commit(): Promise<void> {
    await this.#client.query("COMMIT");
  }

  async rollback(): Promise<void> {
    await this.#client.query("ROLLBACK");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end();
  }

  /** One at a time, whoever asks: the client takes no second query while one runs. */
  #query(sql: string, parameters: readonly Parameter[]): Promise<pg.QueryResult<SqlRow>> {
    const query = () => this.#client.query<SqlRow>(numbered(sql), [...parameters]);
    const result = this.#last.then(query, query);
    this.#last = result.catch(() => {});
    return result;
  }
}

function numbered(sql: string): string {
  let count = 0;
  return sql.replace(/\?/g, () => `$${++count}`);
}

class MariadbSql implements SqlClient {
  readonly dialect = "mariadb";
  readonly #connection: mysql.Connection;

  static async open(url: string): Promise<MariadbSql> {
    const connection = await mysql.createConnection({
      uri: url,
      timezone: "Z",
      typeCast: (field) => field.string("utf8"), // MySQL calls JSON binary
    });
    connection.on("error", () => {});
    await connection.query("SET time_zone = '+00:00'");
    return new MariadbSql(connection);
  }

  constructor(connection: mysql.Connection) {
    this.#connection = connection;
  }

  async run(sql: string, parameters: readonly Parameter[] = []): Promise<number> {
    const [result] = await this.#connection.query(sql, [...parameters]);
    return (result as mysql.ResultSetHeader).affectedRows ?? 0;
  }

  async rows(sql: string, parameters: readonly Parameter[] = []): Promise<SqlRow[]> {
    const [rows] = await this.#connection.query(sql, [...parameters]);
    return rows as SqlRow[];
  }

  async begin(): Promise<void> {
    await this.#connection.query("START TRANSACTION");
  }

  async beginSnapshot(): Promise<void> {
    await this.#connection.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    await this.#connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
  }

  async commit(): Promise<void> {
    await this.#connection.query("COMMIT");
  }

  async rollback(): Promise<void> {
    await this.#connection.query("ROLLBACK");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.destroy();
  }
}

const LOCK_PATIENCE_MS = 20_000;

const SYNCHRONOUS: Readonly<Record<Commits, string>> = {
  "as set": "OFF",
  relaxed: "NORMAL",
  durable: "FULL",
};

/** Never blocks the process while a lock is held: the pipeline may run in it and hold that lock. */
class SqliteSql implements SqlClient {
  readonly dialect = "sqlite";
  readonly #db: DatabaseSync;

  constructor(url: string, commits: Commits) {
    this.#db = new DatabaseSync(url.replace(/^sqlite:/, ""), { timeout: 0 });
    this.#db.exec("PRAGMA foreign_keys = ON");
    this.#db.exec(`PRAGMA synchronous = ${SYNCHRONOUS[commits]}`);
  }

  run(sql: string, parameters: readonly Parameter[] = []): Promise<number> {
    return untilFree(() => Number(this.#prepare(sql).run(...bindable(parameters)).changes));
  }

  rows(sql: string, parameters: readonly Parameter[] = []): Promise<SqlRow[]> {
    return untilFree(() =>
      this.#prepare(sql)
        .all(...bindable(parameters))
        .map((row) =>
          Object.fromEntries(Object.entries(row).map(([name, value]) => [name, printed(value)])),
        ),
    );
  }

  begin(): Promise<void> {
    return untilFree(() => this.#db.exec("BEGIN IMMEDIATE"));
  }

  beginSnapshot(): Promise<void> {
    return untilFree(() => this.#db.exec("BEGIN"));
  }

  commit(): Promise<void> {
    return untilFree(() => this.#db.exec("COMMIT"));
  }

  async rollback(): Promise<void> {
    if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // It may have been closed under the one who uses it: its disk has lost power.
    if (this.#db.isOpen) this.#db.close();
  }

  #prepare(sql: string) {
    const statement = this.#db.prepare(sql);
    statement.setReadBigInts(true);
    return statement;
  }
}

async function untilFree<T>(attempt: () => T): Promise<T> {
  const until = performance.now() + LOCK_PATIENCE_MS;
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      const { errcode = 0 } = error as { errcode?: number };
      if (![5, 6].includes(errcode & 0xff) || performance.now() > until) throw error;
      await sleep(1 + Math.random() * 3);
    }
  }
}

function bindable(parameters: readonly Parameter[]): SQLInputValue[] {
  return [...parameters];
}

function printed(value: unknown): string | null {
  if (value === null) return null;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  return Object.is(value, -0) ? "-0" : String(value);
}
