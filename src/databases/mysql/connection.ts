import type { Socket } from "node:net";
import type { Connection as CallbackConnection } from "mysql2";
import type { Connection } from "mysql2/promise";
import { assertOnly } from "../../core/address-watch.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { loadDriver } from "../../core/driver.ts";
import type { Encryption } from "../../core/encryption.ts";
import type { TidemarkError } from "../../core/errors.ts";
import { severWith } from "../../core/sever.ts";
import { type Address, parseAddress } from "./address.ts";
import { type Context, classify, classifyConnect } from "./errors.ts";
import { type Flavour, flavourOf } from "./flavour.ts";
import { quoteText } from "./identifiers.ts";
import { identityOf } from "./identity.ts";

/** Every value of the server as its text, SQL NULL as null: no number or date of JavaScript in between. */
export type Cell = string | null;
export type Cells = readonly Cell[];
/** What a `?` may stand for. Numbers are our own counters, never values of rows. */
export type Bind = string | number | null;

export type Isolation = "REPEATABLE READ" | "READ COMMITTED";

export interface SessionOptions {
  readonly isolation: Isolation;
  /** Seconds to wait for a row lock. */
  readonly rowLockSeconds?: number;
  /** Seconds to wait for a metadata lock; default {@link TABLE_LOCK_SECONDS}. */
  readonly tableLockSeconds?: number;
  /** Does it take flights? Else a text of ours in which somebody has put a second statement is refused. */
  readonly flights?: boolean;
}

/** What lies below the driver's promises. */
interface Wire {
  readonly stream: Socket & { _host?: string };
}

interface ServerFacts {
  readonly flavour: Flavour;
  readonly account: string;
  readonly foldsNames: boolean;
  readonly encryption: Encryption;
}

/** A server may take no text of more than 1 MB, and a character may be four bytes. */
const FLIGHT_LENGTH = 128 << 10;
const CONNECT_TIMEOUT_MS = 10_000;
/** By its collation's name. */
const CHARSET = "utf8mb4_bin";
/** Decoded ahead of whoever takes the rows of a stream. */
const STREAMED_ROWS = 64;
/** A server that is out of reach is not waited for: it frees what we held when it misses us. */
const GOODBYE_MS = 2_000;

/**
 * One connection with our settings and nothing between us and the server: no pool, since locks,
 * snapshots and leases belong to a connection.
 */
export class Session {
  /** As the server has it: where it keeps names in lower case that of the URL may have another. */
  readonly database: string;
  readonly flavour: Flavour;
  /** Whose rights we have, as a GRANT names it. */
  readonly account: string;
  /** Does the server take table names that differ in case for one, and keep them in lower case? */
  readonly foldsNames: boolean;
  /** The server's number for this connection. */
  readonly id: number;
  readonly encryption: Encryption;
  readonly #connection: Connection;
  readonly #flights: boolean;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(
    connection: Connection,
    database: string,
    server: ServerFacts & { readonly flights: boolean },
  ) {
    this.#connection = connection;
    this.#flights = server.flights;
    this.database = database;
    this.flavour = server.flavour;
    this.account = server.account;
    this.foldsNames = server.foldsNames;
    this.encryption = server.encryption;
    this.id = connection.threadId;
  }

  static async open(options: DatabaseOptions, session: SessionOptions): Promise<Session> {
    const address = parseAddress(options.url, options.name);
    const connection = await connect(address, options, session.flights ?? false);
    try {
      // In hex: until the settings below are made, texts may come in any character set.
      const [rows] = await connection.query(
        "SELECT VERSION(), HEX(CURRENT_USER()), @@lower_case_table_names, HEX(DATABASE())",
      );
      const [version, user, folding, database] = (rows as unknown as Cell[][])[0] ?? [];
      const flavour = flavourOf(String(version));
      await connection.query(`SET ${settings(flavour, session).join(", ")}`);
      const opened = new Session(connection, fromHex(database), {
        flavour,
        account: accountName(fromHex(user)),
        foldsNames: folding !== "0",
        encryption: address.encryption,
        flights: session.flights ?? false,
      });
      await assertOnly(options, () => identityOf(opened));
      return opened;
    } catch (error) {
      connection.destroy();
      throw classifyConnect(error, `${options.name} (${address.server})`);
    }
  }

  /** A table's name as the server's catalog has it. */
  stored(table: string): string {
    return this.foldsNames ? table.toLowerCase() : table;
  }

  async rows(sql: string, binds: readonly Bind[] = [], context: Context = {}): Promise<Cell[][]> {
    try {
      const [rows] = await this.#connection.query(sql, ...bound(binds));
      return rows as unknown as Cell[][];
    } catch (error) {
      throw this.#explain(error, context);
    }
  }

  /** Rows as they come, with no more of them in memory than the reader is behind. To be read to the end. */
  async *stream(sql: string): AsyncGenerator<Cell[]> {
    // The driver streams only below its promises.
    const { connection } = this.#connection as unknown as {
      readonly connection: CallbackConnection;
    };
    const rows = connection.query(sql).stream({ highWaterMark: STREAMED_ROWS });
    try {
      for await (const row of rows) yield row as Cell[];
    } catch (error) {
      throw this.#explain(error, {});
    }
  }

  /** Runs a statement; gives the number of rows it *found* (an UPDATE to equal values counts). */
  async run(sql: string, binds: readonly Bind[] = [], context: Context = {}): Promise<number> {
    try {
      const [result] = await this.#connection.query(sql, ...bound(binds));
      return (result as { affectedRows?: number }).affectedRows ?? 0;
    } catch (error) {
      throw this.#explain(error, context);
    }
  }

  #explain(error: unknown, context: Context): TidemarkError {
    return classify(error, { database: this.database, account: this.account, ...context });
  }

  /** The first cell of the first row; null when there is none. */
  async value(sql: string, binds: readonly Bind[] = []): Promise<Cell> {
    return (await this.rows(sql, binds))[0]?.[0] ?? null;
  }

  /** As `value`, of a block of statements: its answer is a list of results with its own end. */
  async blockValue(block: string): Promise<Cell> {
    const [first] = await this.rows(block);
    return (first as unknown as Cell[][] | undefined)?.[0]?.[0] ?? null;
  }

  /**
   * The rows of each of these statements, which leave together and take one way to the server. The first that fails ends it: those
   * before it are done. In a session without `flights`, or where they are long, they leave in turn.
   */
  async flight(
    statements: readonly string[],
    context: Context = {},
  ): Promise<readonly (readonly Cell[][])[]> {
    const answers: (readonly Cell[][])[] = [];
    for (const some of this.#flights ? texts(statements) : statements.map((each) => [each])) {
      const given = await this.rows(some.join(";\n"), [], context);
      answers.push(...(some.length === 1 ? [given] : (given as unknown as Cell[][][])));
    }
    return answers;
  }

  /** Fails as the server does that is to run this as one statement: also where it is two. */
  async prepare(sql: string): Promise<void> {
    try {
      const prepared = await this.#connection.prepare(sql);
      await prepared.close();
    } catch (error) {
      throw this.#explain(error, {});
    }
  }

  /** Runs `work` with no statement of another `exclusive` in between: for what spans several statements. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** Ends the connection; its locks are free when this resolves. Safe on a broken one. */
  async close(): Promise<void> {
    try {
      // Said, and not left to the end of the connection: the server closes that first, and frees the
      // locks a moment later, when whoever waited for the end has been told that they are taken.
      await this.#connection.query({ sql: "DO RELEASE_ALL_LOCKS()", timeout: GOODBYE_MS });
      await this.#connection.end();
    } catch {
      // It was broken already: the server frees its locks by itself.
      this.#connection.destroy();
    }
  }

  /** Drops the connection without a word: for one whose statement may never end. */
  destroy(): void {
    this.#connection.destroy();
  }
}

function fromHex(cell: Cell | undefined): string {
  return Buffer.from(cell ?? "", "hex").toString("utf8");
}

/** `sync@%` to `'sync'@'%'`; a name may hold the sign itself, a host may not. */
export function accountName(user: string): string {
  const at = user.lastIndexOf("@");
  return `${quoteText(user.slice(0, at))}@${quoteText(user.slice(at + 1))}`;
}

/** As few as there can be, none longer than FLIGHT_LENGTH unless it is one statement. */
function texts(statements: readonly string[]): readonly (readonly string[])[] {
  const found: string[][] = [];
  let length = FLIGHT_LENGTH;
  for (const statement of statements) {
    length += statement.length;
    if (length <= FLIGHT_LENGTH) found.at(-1)?.push(statement);
    else {
      found.push([statement]);
      length = statement.length;
    }
  }
  return found;
}

/** Without binds the driver must not look for `?` at all: a statement may be megabytes of literals. */
function bound(binds: readonly Bind[]): [] | [Bind[]] {
  return binds.length === 0 ? [] : [[...binds]];
}

async function connect(
  address: Address,
  options: DatabaseOptions,
  flights: boolean,
): Promise<Connection> {
  // The driver's promises show a connection only once it is made.
  const driver = await loadDriver("mysql2", () => import("mysql2"));
  try {
    const connection = driver.createConnection({
      ...address.options,
      charset: CHARSET,
      timezone: "Z",
      rowsAsArray: true,
      // Text of the server, decoded once; see Cell.
      typeCast: (field) => field.string("utf8"),
      connectTimeout: CONNECT_TIMEOUT_MS,
      multipleStatements: flights,
      trace: false,
      // A server must not be able to ask us for a file.
      flags: ["-LOCAL_FILES", "-ODBC", "-IGNORE_SPACE"],
    });
    // A lost connection is told by the statement that meets it; without a listener Node would exit.
    connection.on("error", () => {});
    const { stream } = connection as unknown as Wire;
    // Of a server that is given by its address the driver tells Node no name, and Node looks in the certificate for the one
    // that the socket was made with, which it keeps only where it has looked it up: without it for "localhost".
    const { host } = address.options;
    if (host !== undefined) stream._host = host;
    try {
      stream.once(
        "close",
        severWith(options, () => stream.destroy()),
      );
    } catch (error) {
      connection.destroy();
      throw error;
    }
    await new Promise<void>((resolve, reject) => {
      connection.once("connect", () => resolve());
      connection.once("error", reject);
    });
    return connection.promise();
  } catch (error) {
    throw classifyConnect(error, `${options.name} (${address.server})`);
  }
}

/** So long a session waits for a table that is being altered. */
export const TABLE_LOCK_SECONDS = 60;
/** So long a session that holds nothing may stay silent. */
export const IDLE_SECONDS = 3_600;
/** And one that holds what others wait for: the server ends it when its machine has vanished without a word. */
export const SILENT_SECONDS = 10;

function settings(flavour: Flavour, session: SessionOptions): string[] {
  return [
    // A server may not heed what the connection has asked for (init_connect, character_set_client_handshake): it would read
    // and give our texts as those of another character set, and say nothing.
    `NAMES utf8mb4 COLLATE ${CHARSET}`,
    // NO_BACKSLASH_ESCAPES must stay off: quoteText relies on it. Dates that no calendar has are allowed because
    // rows that hold them exist and must be copied as they are.
    "sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'",
    "time_zone = '+00:00'",
    "autocommit = 1",
    // What a server may be told for all its sessions, and would break ours, or keep rows from them.
    "completion_type = 'NO_CHAIN'",
    "sql_select_limit = 18446744073709551615",
    "sql_big_selects = 1",
    "sql_safe_updates = 0",
    "sql_quote_show_create = 1",
    // Names are read from the server's errors: see errors.ts.
    "lc_messages = 'en_US'",
    "foreign_key_checks = 1",
    "unique_checks = 1",
    `wait_timeout = ${IDLE_SECONDS}`,
    "net_read_timeout = 600",
    "net_write_timeout = 600",
    `SESSION ${flavour.isolation} = '${session.isolation.replace(" ", "-")}'`,
    `SESSION ${flavour.readOnly} = 0`,
    `innodb_lock_wait_timeout = ${session.rowLockSeconds ?? 20}`,
    `lock_wait_timeout = ${session.tableLockSeconds ?? TABLE_LOCK_SECONDS}`,
    ...flavour.settings,
  ];
}

/** Which isolation a session that deletes or writes by key takes: no locks on gaps where the binary log allows it. */
async function writerIsolation(session: Session): Promise<Isolation> {
  const [row] = await session.rows("SELECT @@GLOBAL.binlog_format, @@GLOBAL.log_bin");
  const [format, logged] = row ?? [];
  return format === "STATEMENT" && logged === "1" ? "REPEATABLE READ" : "READ COMMITTED";
}

/** Opens a session that writes by key. */
export async function openWriter(
  options: DatabaseOptions,
  more: Pick<SessionOptions, "flights"> = {},
): Promise<Session> {
  const session = await Session.open(options, { ...more, isolation: "READ COMMITTED" });
  const isolation = await writerIsolation(session);
  if (isolation !== "READ COMMITTED") {
    await session.run(`SET SESSION TRANSACTION ISOLATION LEVEL ${isolation}`);
  }
  return session;
}
