import { accessSync, chmodSync, closeSync, constants, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { TidemarkError } from "../../core/errors.ts";
import { makeFolder } from "../../core/make-folder.ts";
import { loadSqlite } from "../../core/sqlite-warning.ts";
import { Bodies } from "./bodies.ts";
import { fileReplaced, isBusy, notWritable, toQueueError } from "./errors.ts";
import { WalSync } from "./wal-sync.ts";

/** Set in the header of each file, so that no other SQLite database is ever taken for a queue. */
const APPLICATION_ID = 0x54_6d_51_31; // "TmQ1"
/** 2: a body may stand in a file of its own, which the row names. */
const SCHEMA_VERSION = 2;
/** Large pages: a message of 256 KB is a chain of 32 of them instead of 64. */
const PAGE_BYTES = 8192;
const OPEN_TIMEOUT_MS = 5_000;
const SWITCH_PAUSE_MS = 2;

// FULL syncs the WAL at each commit, and the folder with the first: see commit(). The WAL is copied
// back each 1000 pages, and its file is cut when it has grown past 16 MB.
const SETTINGS = `
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 1000;
PRAGMA journal_size_limit = 16777216;
PRAGMA temp_store = MEMORY;
PRAGMA trusted_schema = OFF;
`;

// `floor`: messages up to it are gone for readers, though rows may still wait to be deleted.
// `tail`: the last sequence given out; never goes back. `mark`: of the last message, null after a
// reset. A removed document stays as a row without value, so that watchers learn of it.
const SCHEMA = `
CREATE TABLE stream (
  id INTEGER PRIMARY KEY,
  source TEXT NOT NULL UNIQUE,
  floor INTEGER NOT NULL,
  tail INTEGER NOT NULL,
  mark TEXT,
  bytes INTEGER NOT NULL
);
CREATE TABLE document (
  key TEXT PRIMARY KEY,
  value TEXT,
  revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX document_revision ON document (revision);
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** One connection to one queue file, with its statements prepared once. Not shared: all calls are synchronous. */
export class QueueDatabase {
  readonly bodies: Bodies;
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #identity: string;
  readonly #statements = new Map<string, StatementSync>();
  readonly #wal: WalSync;
  #folderSynced = false;

  constructor(path: string) {
    createPrivately(path);
    requireWritable(path);
    this.#path = path;
    this.bodies = new Bodies(path);
    this.#identity = identityOf(path) ?? "";
    const { DatabaseSync } = loadSqlite();
    this.#db = new DatabaseSync(path);
    try {
      this.#prepareFile();
      this.#wal = new WalSync(`${path}-wal`);
    } catch (error) {
      this.#db.close();
      throw isBusy(error) ? error : this.coded(error);
    }
  }

  /** Is the file still the one that stands under this path? Deleted or replaced, it is nobody's queue any more. */
  get isCurrent(): boolean {
    return identityOf(this.#path) === this.#identity;
  }

  /**
   * Gives what was thrown a code. What is found damaged while the file is being deleted or replaced says nothing of the
   * one that will stand there.
   */
  coded(error: unknown): TidemarkError {
    const coded = toQueueError(error, this.#path);
    const isSure = coded.code !== "TM-QUEUE-UNSAFE" || this.isCurrent;
    return isSure ? coded : fileReplaced(this.#path, coded);
  }

  /** Changes when another connection has committed. */
  get dataVersion(): number {
    return Number(this.row("PRAGMA data_version")?.data_version);
  }

  row(sql: string, ...values: SqlValue[]): SqlRow | undefined {
    return this.#prepare(sql).get(...values) as SqlRow | undefined;
  }

  rows(sql: string, ...values: SqlValue[]): SqlRow[] {
    return this.#prepare(sql).all(...values) as SqlRow[];
  }

  run(sql: string, ...values: SqlValue[]): void {
    this.#prepare(sql).run(...values);
  }

  /** For statements that are not worth keeping, or not one statement. */
  execute(sql: string): void {
    this.#db.exec(sql);
  }

  /** Undoes and forgets a savepoint; false when the transaction is over, as a full disk makes it. */
  undo(savepoint: string): boolean {
    try {
      this.execute(`ROLLBACK TO ${savepoint}; RELEASE ${savepoint}`);
      return true;
    } catch {
      return false;
    }
  }

  begin(): void {
    this.execute("BEGIN IMMEDIATE");
  }

  /**
   * Others see it at once; it is durable when {@link synced} says so. The first of a connection is synced by
   * SQLite itself, which makes the WAL's entry in its folder durable as well. After that NORMAL is enough:
   * SQLite then syncs only where the order of writes matters, so that a crash can take nothing but the
   * newest commits.
   */
  commit(): void {
    this.execute("COMMIT");
    if (this.#folderSynced) return;
    this.execute("PRAGMA synchronous = NORMAL");
    this.#folderSynced = true;
  }

  /** Resolves when all that was committed before is on disk. */
  synced(): Promise<void> {
    return this.#wal.whole();
  }

  rollback(): void {
    try {
      this.execute("ROLLBACK");
    } catch {
      // A full disk or an I/O error has ended the transaction already: nothing is left to undo.
    }
  }

  async close(): Promise<void> {
    this.#statements.clear();
    this.bodies.close();
    this.#db.close();
    await this.#wal.close();
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #prepareFile(): void {
    // Waiting in SQLite blocks the event loop: only while opening, when nothing runs yet.
    this.execute(`PRAGMA busy_timeout = ${OPEN_TIMEOUT_MS}`);
    this.#refuseOthers();
    // Both must be set before the first page is written, and that is what WAL mode does.
    this.execute(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL`);
    this.#switchToWal();
    this.execute(SETTINGS);
    const { application, schema } = this.#versions();
    if (application === 0) this.#createSchema();
    // What an earlier program has stored stays as it is.
    else if (schema < SCHEMA_VERSION) this.execute(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    this.execute("PRAGMA busy_timeout = 0");
  }

  /** SQLite waits for no lock here, whatever the timeout: two that switch a new file at once would wait for each other. */
  #switchToWal(): void {
    const end = performance.now() + OPEN_TIMEOUT_MS;
    for (;;) {
      try {
        this.execute("PRAGMA journal_mode = WAL");
        return;
      } catch (error) {
        if (!isBusy(error) || performance.now() > end) throw error;
        blockFor(SWITCH_PAUSE_MS);
      }
    }
  }

  #createSchema(): void {
    this.begin();
    try {
      // Another process may have been first.
      if (this.#versions().application === 0) this.execute(SCHEMA);
      this.commit();
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  #refuseOthers(): void {
    const { application, schema, tables } = this.#contents();
    if (application === APPLICATION_ID && schema <= SCHEMA_VERSION) return;
    if (application === 0 && tables === 0) return;
    const ours = application === APPLICATION_ID;
    throw new TidemarkError(
      "TM-QUEUE-UNSAFE",
      ours
        ? `The queue file ${this.#path} has format ${schema}; this program knows ${SCHEMA_VERSION}.`
        : `${this.#path} is a database of something else, not a queue.`,
      {
        fix: ours
          ? "Run one version of Tidemark, or stop it and delete the file: what targets need is sent again."
          : "Name another file as the queue.",
        details: { path: this.#path },
      },
    );
  }

  /** As of one moment: another process may be making it. */
  #contents(): { application: number; schema: number; tables: number } {
    this.execute("BEGIN");
    try {
      const tables = this.#db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n;
      return { ...this.#versions(), tables: Number(tables) };
    } finally {
      this.rollback();
    }
  }

  #versions(): { application: number; schema: number } {
    return {
      application: Number(this.#db.prepare("PRAGMA application_id").get()?.application_id),
      schema: Number(this.#db.prepare("PRAGMA user_version").get()?.user_version),
    };
  }
}

export type SqlValue = string | number | null | Uint8Array;
export type SqlRow = Record<string, string | number | bigint | null | Uint8Array>;

/** Messages hold rows of the source: folder 0700 and file 0600, which SQLite gives the WAL as well. */
function createPrivately(path: string): void {
  makeFolder(dirname(path), 0o700);
  if (identityOf(path) !== null) return;
  closeSync(openSync(path, "a", 0o600));
  chmodSync(path, 0o600); // whatever the umask is
}

/** SQLite would open it for reading only, and make a -wal and -shm that nobody can write, also once the file may be written again. */
function requireWritable(path: string): void {
  try {
    accessSync(path, constants.W_OK);
  } catch (error) {
    throw notWritable(path, error);
  }
}

function blockFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function identityOf(path: string): string | null {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? null : `${stat.dev}:${stat.ino}`;
}
