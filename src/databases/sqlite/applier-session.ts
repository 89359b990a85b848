import { existsSync } from "node:fs";
import { TidemarkError } from "../../core/errors.ts";
import {
  type ApplierSession,
  type BeginOptions,
  type BoundTable,
  type OthersTable,
  type Place,
  type Progress,
  sameTableProgress,
  type TableProgress,
  type TargetTransaction,
} from "../../core/target.ts";
import type { Row } from "../../core/value.ts";
import type { Connection } from "./connection.ts";
import { countRows } from "./emptiness.ts";
import { isDriverError } from "./errors.ts";
import { sameName } from "./identifiers.ts";
import { type Lease, takeLease } from "./lease.ts";
import { readMarks } from "./marks.ts";
import { Pins } from "./pins.ts";
import { type BrokenReference, brokenReferences } from "./references.ts";
import { TableWriter } from "./writer.ts";

/** What the lease of a sync's applier is for. */
export function leaseName(sync: string): string {
  return `applier ${sync}`;
}

export class SqliteApplierSession implements ApplierSession {
  readonly #connection: Connection;
  readonly #sync: string;
  readonly #lease: Lease;
  readonly #writers: ReadonlyMap<BoundTable, TableWriter>;
  readonly #pins: Pins;
  readonly #marks: ReadonlyMap<string, string>;
  #open: SqliteTargetTransaction | null = null;

  constructor(connection: Connection, sync: string, tables: readonly BoundTable[], lease: Lease) {
    this.#connection = connection;
    this.#sync = sync;
    this.#lease = lease;
    // Before the tables are looked at: what is altered in between is seen at the first commit.
    const names = tables.map(({ name }) => name.name);
    this.#pins = new Pins(connection, names);
    this.#marks = readMarks(connection, names);
    this.#writers = new Map(tables.map((table) => [table, new TableWriter(connection, table)]));
  }

  markOf({ name }: BoundTable): string {
    return this.#marks.get(name.name) ?? "";
  }

  assertNoneReplaced(): Promise<void> {
    return this.#connection.read(() => this.#pins.check());
  }

  load(): Promise<Progress> {
    return this.#connection.read(() => loadProgress(this.#connection, this.#sync));
  }

  async loadPlace(): Promise<Place> {
    // Asked while nothing comes, too. One that is missing is not made anew before there is something to write.
    if (existsSync(this.#connection.path)) this.#connection.checkFile();
    return this.#connection.read(() => loadPlace(this.#connection, this.#sync));
  }

  async begin(expected: Progress, options: BeginOptions = {}): Promise<TargetTransaction> {
    const connection = this.#connection;
    const enforcing = options.relaxed !== true && options.postponed !== true;
    connection.checkFile();
    // Outside a transaction only, so before BEGIN; every transaction says which it wants.
    connection.db.exec(`PRAGMA foreign_keys = ${enforcing ? "ON" : "OFF"}`);
    await connection.begin();
    try {
      const now = loadPlace(connection, this.#sync);
      if (!samePlace(now, expected)) {
        throw new TidemarkError(
          "TM-APPLY-FENCED",
          `${connection.name}: another applier has moved the progress of ${this.#sync}.`,
        );
      }
      // Rules hold when the transaction ends: rows of a cycle, or of a tree, come in any order.
      connection.db.exec("PRAGMA defer_foreign_keys = ON");
    } catch (error) {
      connection.rollback();
      throw connection.classify(error);
    }
    const sync = this.#sync;
    const writers = this.#writers;
    const pins = this.#pins;
    const parts = { connection, sync, writers, pins, enforcing };
    this.#open = new SqliteTargetTransaction(parts, expected);
    return this.#open;
  }

  /** A commit is durable when it resolves. */
  async flush(): Promise<void> {}

  emptyOf(tables: readonly BoundTable[]): Promise<readonly BoundTable[]> {
    return this.#connection.read(() =>
      tables.filter((table) => countRows(this.#connection, table, 1) === 0),
    );
  }

  others(): Promise<readonly OthersTable[]> {
    return this.#connection.read(() => {
      const rows = this.#connection.rows<Omit<OthersTable, "table"> & { table_name: string }>(
        "SELECT sync, table_name, state, copy FROM tidemark_progress_tables WHERE sync <> ? ORDER BY sync, table_name",
        this.#sync,
      );
      return rows.map(({ table_name: table, ...entry }) => ({ ...entry, table }));
    });
  }

  async isAtWork(sync: string): Promise<boolean> {
    const lease = takeLease(this.#connection.path, leaseName(sync));
    lease?.release();
    return lease === null;
  }

  forget(copies: readonly OthersTable[]): Promise<void> {
    return this.#connection.write(() => {
      for (const { sync, table, copy } of copies) {
        this.#connection.run(
          "DELETE FROM tidemark_progress_tables WHERE sync = ? AND table_name = ? AND copy = ?",
          sync,
          table,
          copy,
        );
      }
    });
  }

  async countRows(table: BoundTable, limit: number): Promise<number> {
    return countRows(this.#connection, table, limit);
  }

  async close(): Promise<void> {
    try {
      await this.#open?.rollback();
      await this.#connection.close();
    } finally {
      this.#lease.release();
    }
  }
}

interface TransactionParts {
  readonly connection: Connection;
  readonly sync: string;
  readonly writers: ReadonlyMap<BoundTable, TableWriter>;
  readonly pins: Pins;
  readonly enforcing: boolean;
}

class SqliteTargetTransaction implements TargetTransaction {
  readonly enforcing: boolean;
  readonly #connection: Connection;
  readonly #sync: string;
  readonly #writers: ReadonlyMap<BoundTable, TableWriter>;
  readonly #pins: Pins;
  readonly #before: Progress;
  #depth = 0;
  #ended = false;

  constructor({ connection, sync, writers, pins, enforcing }: TransactionParts, before: Progress) {
    this.#pins = pins;
    this.enforcing = enforcing;
    this.#connection = connection;
    this.#sync = sync;
    this.#writers = writers;
    this.#before = before;
  }

  async attempt<T>(work: () => Promise<T>): Promise<T> {
    const name = `tidemark_${++this.#depth}`;
    const { db } = this.#connection;
    db.exec(`SAVEPOINT ${name}`);
    try {
      const result = await work();
      db.exec(`RELEASE ${name}`);
      return result;
    } catch (error) {
      // The engine itself ends the transaction on a full disk or an I/O error, savepoints and all.
      if (!this.#ended && isUndoable(error)) db.exec(`ROLLBACK TO ${name}; RELEASE ${name}`);
      throw this.#connection.classify(error);
    } finally {
      this.#depth--;
    }
  }

  remove(table: BoundTable, keys: readonly Row[]): Promise<void> {
    return this.#write(table, (writer) => writer.remove(keys));
  }

  put(table: BoundTable, rows: readonly Row[]): Promise<void> {
    return this.#write(table, (writer) => writer.put(rows));
  }

  clear(table: BoundTable): Promise<void> {
    return this.#write(table, (writer) => writer.clear());
  }

  async verify(tables: readonly BoundTable[]): Promise<void> {
    const names = tables.map(({ name }) => name.name);
    const broken = brokenReferences(this.#connection).filter(({ table, parent }) =>
      names.some((name) => sameName(name, table) || sameName(name, parent)),
    );
    if (broken.length > 0) throw this.#referenceError(broken);
  }

  async commit(next: Progress): Promise<void> {
    const connection = this.#connection;
    try {
      this.#pins.check();
      storeProgress(connection, this.#sync, this.#before, next);
      await connection.commit();
      this.#ended = true;
    } catch (error) {
      const explained = this.#explain(error);
      await this.rollback();
      throw explained;
    }
  }

  async rollback(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#connection.rollback();
  }

  /** Throws TM-TABLE-UNSUPPORTED where a trigger has ended the transaction: what came next would be committed by itself. */
  async #write(table: BoundTable, work: (writer: TableWriter) => Promise<void>): Promise<void> {
    try {
      await work(this.#writer(table));
    } catch (error) {
      const { code } = this.#connection.classify(error);
      if (code !== "TM-APPLY-CONSTRAINT" || isInTransaction(this.#connection)) throw error;
      this.#ended = true;
      throw endedByTrigger(table, error);
    }
  }

  #writer(table: BoundTable): TableWriter {
    const writer = this.#writers.get(table);
    if (writer !== undefined && !this.#ended) return writer;
    throw new TidemarkError(
      "TM-INTERNAL",
      this.#ended
        ? "The transaction has ended."
        : `The session was not opened for table ${table.name.name}.`,
    );
  }

  /** A deferred foreign key fails at the end without a name; the check knows which. */
  #explain(error: unknown): TidemarkError {
    const explained = this.#connection.classify(error);
    if (explained.code !== "TM-APPLY-CONSTRAINT") return explained;
    return this.#referenceError(brokenReferences(this.#connection), error);
  }

  #referenceError(broken: readonly BrokenReference[], cause?: unknown): TidemarkError {
    const pairs = broken.slice(0, 5).map(({ table, parent }) => `${table} refers to ${parent}`);
    return new TidemarkError(
      "TM-APPLY-CONSTRAINT",
      `${this.#connection.name}: a foreign key does not hold at the end of a batch: ${pairs.join(", ")}.`,
      { fix: "Sync the parent table too, or drop the foreign key at the target.", cause },
    );
  }
}

/** The engine may have ended it by itself. Asked by a BEGIN, which is refused within one. */
function isInTransaction(connection: Connection): boolean {
  try {
    connection.db.exec("BEGIN");
  } catch {
    return true;
  }
  connection.rollback();
  return false;
}

function endedByTrigger({ name: { name } }: BoundTable, cause: unknown): TidemarkError {
  return new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `A trigger of ${name} has ended the transaction in which the table is written: it says RAISE(ROLLBACK, …), or OR ROLLBACK.`,
    {
      fix: `Let it say RAISE(ABORT, …), or OR ABORT, which refuse as much: SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = '${name.replaceAll("'", "''")}';`,
      cause,
      details: { table: name },
    },
  );
}

function isUndoable(error: unknown): boolean {
  const cause = error instanceof TidemarkError ? error.cause : error;
  if (!isDriverError(cause)) return true;
  const primary = cause.errcode & 0xff;
  // SQLITE_NOMEM, IOERR, FULL: https://sqlite.org/lang_transaction.html
  return primary !== 7 && primary !== 10 && primary !== 13;
}

function loadPlace(connection: Connection, sync: string): Place {
  const row = connection.row<{ timeline: string; batch: bigint; chunk: bigint; hash: string }>(
    "SELECT timeline, batch, chunk, hash FROM tidemark_progress WHERE sync = ?",
    sync,
  );
  return {
    timeline: row?.timeline ?? "",
    position: { batch: Number(row?.batch ?? 0n), chunk: Number(row?.chunk ?? 0n) },
    hash: row?.hash ?? "",
  };
}

type StoredTable = Pick<TableProgress, "state" | "cursor" | "copy"> & {
  readonly table_name: string;
  readonly has_rows: bigint;
};

function loadProgress(connection: Connection, sync: string): Progress {
  return { ...loadPlace(connection, sync), tables: loadCopies(connection, sync) };
}

export function loadCopies(connection: Connection, sync: string): readonly TableProgress[] {
  const tables = connection.rows<StoredTable>(
    "SELECT table_name, state, cursor, copy, has_rows FROM tidemark_progress_tables WHERE sync = ? ORDER BY table_name",
    sync,
  );
  return tables.map(({ table_name: table, has_rows, ...entry }) => ({
    ...entry,
    table,
    hasRows: has_rows === 1n,
  }));
}

function samePlace(a: Place, b: Place): boolean {
  return (
    a.timeline === b.timeline &&
    a.position.batch === b.position.batch &&
    a.position.chunk === b.position.chunk &&
    a.hash === b.hash
  );
}

function storeProgress(
  connection: Connection,
  sync: string,
  before: Progress,
  next: Progress,
): void {
  connection.run(
    `INSERT INTO tidemark_progress (sync, timeline, batch, chunk, hash) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (sync) DO UPDATE SET timeline = excluded.timeline, batch = excluded.batch,
       chunk = excluded.chunk, hash = excluded.hash`,
    sync,
    next.timeline,
    BigInt(next.position.batch),
    BigInt(next.position.chunk),
    next.hash,
  );
  if (before.tables === next.tables) return;
  const old = new Map(before.tables.map((entry) => [entry.table, entry]));
  for (const entry of next.tables) {
    const known = old.get(entry.table);
    old.delete(entry.table);
    if (known !== undefined && sameTableProgress(known, entry)) continue;
    connection.run(
      `INSERT INTO tidemark_progress_tables (sync, table_name, state, cursor, copy, has_rows)
       VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (sync, table_name) DO UPDATE SET state = excluded.state, cursor = excluded.cursor,
         copy = excluded.copy, has_rows = excluded.has_rows`,
      sync,
      entry.table,
      entry.state,
      entry.cursor,
      entry.copy,
      entry.hasRows ? 1n : 0n,
    );
  }
  for (const table of old.keys()) {
    connection.run(
      "DELETE FROM tidemark_progress_tables WHERE sync = ? AND table_name = ?",
      sync,
      table,
    );
  }
}
