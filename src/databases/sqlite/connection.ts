import { accessSync, constants, existsSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DatabaseOptions } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { shellWord } from "../../core/shell.ts";
import { loadSqlite } from "../../core/sqlite-warning.ts";
import type { Bindable, Database, Statement } from "./driver.ts";
import { classify, isBusy } from "./errors.ts";
import { deviceAndInode, mixed, syncJournal } from "./files.ts";
import { parseUrl } from "./location.ts";

/** How long a lock is waited for before TM-APPLY-RETRY. */
const LOCK_PATIENCE_MS = 10_000;
const LOCK_PAUSE_MAX_MS = 25;
/** How long a write outside WAL mode stands back behind who reads, before it shuts out those who come. */
const STAND_BACK_MS = 2_000;
/** And how long it then shuts them out: well below the busy timeout of most programs (5 s). */
const SHUT_OUT_MS = 1_000;
/** The same where all would have to be written again by the applier. */
const APPLIER_SHUT_OUT_MS = 3_000;
/**
 * The engine's own wait blocks the whole process, so it is kept to what a commit of another
 * connection takes; longer waits are ours and let the event loop run.
 */
const BUSY_TIMEOUT_MS = 5;

const NOWHERE = ":memory:";

export interface OpenOptions {
  /** Make the file when it is missing; else that is TM-CONNECT-FAILED. */
  readonly create: boolean;
}

/**
 * One connection to one file. Everything on it is serialised: a transaction begun by one caller is
 * never seen half-way by another caller of the same connection.
 *
 * The journal mode of a file that holds anything already is its owner's choice and is never
 * changed: WAL is a property of the file that every other program which opens it must be able to
 * live with (shared memory, one machine, two more files to back up). `doctor` recommends it. A file
 * we make ourselves is in WAL mode, so that readers of a target never wait for the applier.
 */
export class Connection {
  readonly path: string;
  readonly db: Database;
  readonly #name: string;
  /** As it was asked for: what leads there (a link to the file, or to a folder) may be led elsewhere. */
  readonly #asked: string;
  readonly #unreadableFix: string | undefined;
  readonly #file: string | null;
  /** Of the log beside it, in WAL mode, as last seen. */
  #log: bigint | null = null;
  readonly #statements = new Map<string, Statement>();
  #tail: Promise<unknown> = Promise.resolve();
  #encoding: string | undefined;
  #synchronous = "";
  #closed = false;

  private constructor(name: string, asked: string, db: Database, unreadableFix?: string) {
    this.#name = name;
    this.#asked = asked;
    this.#unreadableFix = unreadableFix;
    this.path = asked === NOWHERE ? asked : realpathSync(asked);
    this.db = db;
    this.#file = deviceAndInode(this.path);
  }

  /** Throws TM-URL-INVALID, TM-CONNECT-FAILED, TM-SERVER-UNSUPPORTED (not a database), TM-READ-ONLY. */
  static async open(options: DatabaseOptions, { create }: OpenOptions): Promise<Connection> {
    const { path, mode } = parseUrl(options.url);
    const fresh = !existsSync(path);
    if (fresh && (!create || mode !== "rwc" || !existsSync(dirname(path)))) {
      throw new TidemarkError("TM-CONNECT-FAILED", `${options.name}: there is no file ${path}.`, {
        fix: existsSync(dirname(path))
          ? `Create it, or correct the path of database "${options.name}".`
          : `mkdir -p ${shellWord(dirname(path))}`,
        details: { database: options.name, path },
      });
    }
    const { DatabaseSync } = loadSqlite();
    try {
      if (!fresh && mode !== "ro") requireWritable(path);
      const db = new DatabaseSync(path, { readOnly: mode === "ro" });
      const connection = new Connection(options.name, path, db);
      await connection.#configure(create);
      return connection;
    } catch (error) {
      throw classify(error, options.name);
    }
  }

  /** An empty database that is nowhere: the catalog of a file that is still to be made. */
  static openNothing(name: string): Connection {
    const { DatabaseSync } = loadSqlite();
    return new Connection(name, NOWHERE, new DatabaseSync(NOWHERE));
  }

  /** A file of our own, in the journal mode of this one where it is still empty. `unreadableFix`: for when it is damaged. */
  async openBeside(
    path: string,
    { readOnly, unreadableFix }: { readonly readOnly: boolean; readonly unreadableFix: string },
  ): Promise<Connection> {
    const { DatabaseSync } = loadSqlite();
    const name = `${this.#name} (${path})`;
    try {
      if (!readOnly) requireWritable(path);
      const db = new DatabaseSync(path, { readOnly });
      const connection = new Connection(name, path, db, unreadableFix);
      await connection.#configure(!readOnly && this.value("PRAGMA journal_mode") === "wal");
      return connection;
    } catch (error) {
      throw classify(error, name, unreadableFix);
    }
  }

  /** See {@link Connection.openNothing}. */
  get isNothing(): boolean {
    return this.path === NOWHERE;
  }

  async #configure(create: boolean): Promise<void> {
    this.db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    this.db.exec("PRAGMA trusted_schema = OFF");
    this.db.exec("PRAGMA foreign_keys = ON");
    if (typeof this.db.enableDefensive === "function") this.db.enableDefensive(true);
    // The first read of the file, for its schema: outside WAL mode a commit that is under way shuts it out.
    await this.#untilFree(() => this.#setSynchronous("EXTRA"));
    // Tells a file that is not a database from a good one.
    const isEmpty = await this.#untilFree(() => this.value("PRAGMA page_count") === 0n);
    if (isEmpty && create) await this.#untilFree(() => this.db.exec("PRAGMA journal_mode = WAL"));
  }

  /** A prepared statement that reads integers as BigInts; kept for the connection's life. */
  prepare(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.db.prepare(sql);
      statement.setReadBigInts(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  rows<T extends object>(sql: string, ...params: Bindable[]): T[] {
    return this.prepare(sql).all(...params) as unknown as T[];
  }

  row<T extends object>(sql: string, ...params: Bindable[]): T | undefined {
    return this.prepare(sql).get(...params) as T | undefined;
  }

  /** The first column of the first row; undefined when there is none. */
  value(sql: string, ...params: Bindable[]): Bindable | undefined {
    const row = this.row<Record<string, Bindable>>(sql, ...params);
    return row === undefined ? undefined : Object.values(row)[0];
  }

  run(sql: string, ...params: Bindable[]): void {
    this.prepare(sql).run(...params);
  }

  /**
   * Runs `work` in one read transaction: one snapshot of the file. `work` is synchronous, so that
   * the snapshot (a lock, outside WAL mode) is held no longer than the reading takes.
   */
  read<T>(work: () => T): Promise<T> {
    return this.#alone(() =>
      // Outside WAL mode a writer's commit shuts readers out: it is the first read, not BEGIN, that
      // finds the file locked, so all of it is done again.
      this.#untilFree(() => {
        this.db.exec("BEGIN");
        try {
          const result = work();
          this.db.exec("COMMIT");
          return result;
        } catch (error) {
          this.rollback();
          throw error;
        }
      }),
    );
  }

  /** Begins a snapshot that lasts until the connection is closed. For callers that own the connection. */
  pin(): void {
    this.db.exec("BEGIN");
    this.value("SELECT count(*) FROM sqlite_schema");
  }

  /** Runs single reads outside a transaction, again while the file is locked. */
  peek<T>(work: () => T): Promise<T> {
    return this.#alone(() => this.#untilFree(work));
  }

  /**
   * Runs `work` in one write transaction. Durable is EXTRA: after FULL a power cut may bring back the journal that a commit has
   * removed (outside WAL mode), and with it what was before. `durable: false` leaves out the sync of the log at
   * commit: for what may be forgotten in a power cut (it then comes again). `work` is done again where readers did not let
   * it be committed.
   */
  write<T>(work: () => T, { durable = true }: { readonly durable?: boolean } = {}): Promise<T> {
    return this.#alone(async () => {
      const deadline = performance.now() + LOCK_PATIENCE_MS;
      for (;;) {
        if (!(await this.#beginUnread(durable))) await this.begin(durable);
        try {
          return await this.#finish(work);
        } catch (error) {
          // One reader alone may go on for long; all others are let in again meanwhile.
          if (!isBusy(error) || performance.now() > deadline) throw this.classify(error);
        }
      }
    });
  }

  /**
   * Outside WAL mode a transaction of the application that has read and now writes is refused at once, whatever its
   * busy timeout, while another has the write lock; and our commit would keep it until that transaction has ended.
   * So all locks are taken together, while nobody reads, or none. False: somebody reads all the time.
   */
  async #beginUnread(durable: boolean): Promise<boolean> {
    const deadline = performance.now() + STAND_BACK_MS;
    for (let pause = 1; performance.now() < deadline; pause = nextPause(pause)) {
      try {
        if (this.value("PRAGMA journal_mode") === "wal") return false;
        this.#setSynchronous(durable ? "EXTRA" : "NORMAL");
        // The engine's own wait would keep the write lock meanwhile.
        this.db.exec("PRAGMA busy_timeout = 0");
        this.db.exec("BEGIN EXCLUSIVE");
        return true;
      } catch (error) {
        if (!isBusy(error)) throw this.classify(error);
      } finally {
        this.db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
      }
      await sleep(pause);
    }
    return false;
  }

  /** Takes the write lock, waiting without blocking the event loop. For callers that own the connection. */
  async begin(durable = true): Promise<void> {
    await this.#untilFree(() => {
      this.#setSynchronous(durable ? "EXTRA" : "NORMAL");
      this.db.exec("BEGIN IMMEDIATE");
    });
  }

  /**
   * Outside WAL mode a commit waits until readers are gone, and shuts out those who come. Where one goes on for long the transaction is
   * rolled back, and TM-APPLY-RETRY thrown once the others have had their turn.
   */
  async commit(): Promise<void> {
    try {
      await this.#whileBusy(APPLIER_SHUT_OUT_MS, () => this.db.exec("COMMIT"));
    } catch (error) {
      if (isBusy(error)) {
        this.rollback();
        await sleep(STAND_BACK_MS);
      }
      throw this.classify(error);
    }
  }

  rollback(): void {
    try {
      this.db.exec("ROLLBACK");
    } catch {
      // A full disk or an I/O error has ended the transaction already: nothing is left to undo.
    }
  }

  /**
   * Throws TM-CONNECTION-LOST when the path now names another file: ours is no longer the database. TM-SERVER-UNSUPPORTED where
   * our log of WAL mode still lies beside that: whoever opens it reads, and writes, a mixture of both.
   */
  checkFile(): void {
    const now = deviceAndInode(this.path);
    const log = statSync(`${this.path}-wal`, { bigint: true, throwIfNoEntry: false });
    if (now === this.#file) {
      this.#log = log?.ino ?? null;
      const led = this.#asked === this.path ? now : deviceAndInode(this.#asked);
      // Who leads a link elsewhere by rm and ln has none in between: a file that was made in its place now would be in their way.
      if (led === now || led === null) return;
      throw new TidemarkError(
        "TM-CONNECTION-LOST",
        `${this.#name}: ${this.#asked} no longer leads to ${this.path}, which is open.`,
      );
    }
    if (now !== null && log !== undefined && log.ino === this.#log && log.size > 0n) {
      throw mixed(this.#name, this.path);
    }
    throw new TidemarkError(
      "TM-CONNECTION-LOST",
      `${this.#name}: ${this.path} was moved, deleted or replaced while open.`,
    );
  }

  /** See {@link syncJournal}. */
  syncLog(): void {
    try {
      syncJournal(this.path);
    } catch (error) {
      throw this.classify(error);
    }
  }

  classify(error: unknown): TidemarkError {
    return classify(error, this.#name, this.#unreadableFix);
  }

  /** `UTF-8`, `UTF-16le` or `UTF-16be`: never changes once a file has a table. */
  get encoding(): string {
    this.#encoding ??= String(this.value("PRAGMA encoding"));
    return this.#encoding;
  }

  get name(): string {
    return this.#name;
  }

  async close(): Promise<void> {
    await this.#alone(async () => {
      if (this.#closed) return;
      this.#closed = true;
      this.#statements.clear();
      this.db.close();
    });
  }

  #setSynchronous(level: string): void {
    if (this.#synchronous === level) return;
    this.db.exec(`PRAGMA synchronous = ${level}`);
    this.#synchronous = level;
  }

  async #finish<T>(work: () => T): Promise<T> {
    try {
      const result = work();
      await this.#whileBusy(SHUT_OUT_MS, () => this.db.exec("COMMIT"));
      return result;
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => undefined);
    return run;
  }

  async #untilFree<T>(work: () => T): Promise<T> {
    try {
      return await this.#whileBusy(LOCK_PATIENCE_MS, work);
    } catch (error) {
      throw this.classify(error);
    }
  }

  /** Throws what the driver throws. */
  async #whileBusy<T>(patienceMs: number, work: () => T): Promise<T> {
    const deadline = performance.now() + patienceMs;
    for (let pause = 1; ; pause = nextPause(pause)) {
      try {
        return work();
      } catch (error) {
        if (!isBusy(error) || performance.now() > deadline) throw error;
      }
      await sleep(pause);
    }
  }
}

/** SQLite would open it for reading only, and make a -wal and -shm that nobody can write, also once the file may be written again. */
function requireWritable(path: string): void {
  accessSync(path, constants.W_OK);
}

function nextPause(pause: number): number {
  return Math.min(pause * 2, LOCK_PAUSE_MAX_MS);
}
