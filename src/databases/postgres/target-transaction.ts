import { keyColumns } from "../../core/change.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import type { BoundTable, Progress, TargetTransaction } from "../../core/target.ts";
import type { Row } from "../../core/value.ts";
import type { SessionParts } from "./applier-session.ts";
import {
  columnArrays,
  copySql,
  deleteSql,
  groupByUnchanged,
  slices,
  updateSql,
  upsertSql,
  type WritableTable,
} from "./apply-sql.ts";
import { Attempt } from "./attempt.ts";
import { tableKey } from "./catalog.ts";
import type { Parameter } from "./connection.ts";
import { writeRows } from "./copy-rows.ts";
import { sqlState } from "./errors.ts";
import { quoteTable } from "./identifiers.ts";
import { PostgresLines } from "./lines-writer.ts";
import { type Failure, firstFailure, PendingStatements, type Put } from "./pending.ts";
import { ALTERED, altered, pinValues } from "./pins.ts";
import {
  ADVANCE_PROGRESS,
  changedTables,
  DIVISION_BY_ZERO,
  DROP_TABLE_PROGRESS,
  LOCK_PROGRESS,
  PUT_TABLE_PROGRESS,
  progressValues,
} from "./progress.ts";
import { verifyReferences } from "./references.ts";
import { assertUntagged, findRefused, mayNameNothing } from "./refusal.ts";
import { isBytes } from "./types.ts";

const SLICE_ROWS = 500;
const SLICE_CHARACTERS = 500_000;
/** So much may be under way without an answer. */
const MAX_PENDING_CHARACTERS = 1_000_000;
/** From so many fresh rows on COPY is worth the savepoint it needs. */
const COPY_ROWS = 200;
const UNIQUE_VIOLATION = "23505";
const TRANSACTION_FAILED = "25P02";
const RELAX = "SET LOCAL session_replication_role TO replica";
const DEFER = "SET CONSTRAINTS ALL DEFERRED";
const CHECK_DEFERRED = "SET CONSTRAINTS ALL IMMEDIATE";

/**
 * Statements are sent without waiting for the answers of those before, so that a small transaction
 * costs one network write and one round trip (`finish`), a larger one those of its attempts, then
 * progress and COMMIT. An error aborts the transaction at the server, so what was sent behind it does
 * nothing.
 */
export class PostgresTransaction implements TargetTransaction {
  readonly enforcing: boolean;
  /** Are constraints that can be deferred put off until `verify`? */
  readonly #deferring: boolean;
  readonly #parts: SessionParts;
  readonly #expected: Progress;
  readonly #onCommitted: (next: Progress) => void;
  #begun = false;
  readonly #pending: PendingStatements;
  #attempts = 0;
  /** The one sent last. */
  #last = new Attempt();
  /** Has an attempt failed? Then none is sent behind another any more. */
  #stumbled = false;
  #lines: PostgresLines | null = null;
  readonly #touched = new Set<WritableTable>();
  /** Does the server put constraints off now? */
  #deferred = true;

  constructor(
    parts: SessionParts,
    modes: { readonly enforcing: boolean; readonly deferring: boolean },
    expected: Progress,
    onCommitted: (next: Progress) => void,
  ) {
    this.enforcing = modes.enforcing;
    this.#deferring = modes.deferring;
    this.#parts = parts;
    this.#pending = new PendingStatements(parts.connection);
    this.#expected = expected;
    this.#onCommitted = onCommitted;
    this.#last.end();
  }

  /** Also done by whatever comes first. */
  begin(): void {
    if (this.#begun) return;
    this.#open();
    const { connection, sync } = this.#parts;
    const values = [sync, ...progressValues(this.#expected)];
    this.#pending.add(connection.rows(LOCK_PROGRESS, values, "lock_progress"), "standing");
  }

  async finish(work: () => Promise<void>, next: Progress): Promise<void> {
    // Broken rules show up at COMMIT at the latest, and then nothing is left of the transaction. Nor is
    // there when progress turns out at its end not to be as expected: nobody needs to lock it first.
    this.#attempts++;
    if (!this.#begun) this.#open();
    else if (!this.#deferred) this.#order(DEFER);
    try {
      await work();
      await this.commit(next);
    } catch (thrown) {
      const error = (await this.#firstFailure()) ?? thrown;
      if (isTidemarkError(error, "TM-APPLY-CONSTRAINT")) await this.rollback();
      throw error;
    } finally {
      this.#attempts--;
    }
  }

  async attempt<T>(work: () => Promise<T>): Promise<T> {
    const mine = new Attempt();
    this.#last = mine;
    const outcome = await this.#attempt(work, mine);
    if ("result" in outcome) return outcome.result;
    throw outcome.passedOver;
  }

  async attemptBehind(work: () => Promise<void>): Promise<boolean> {
    const { sent } = this.#last;
    const mine = new Attempt();
    this.#last = mine;
    await sent;
    // What is done by other means comes first, and may be just about to begin.
    if (!this.#stumbled) return "result" in (await this.#attempt(work, mine));
    mine.end();
    return false;
  }

  /** `passedOver`: nothing was done, since the transaction had failed before. */
  async #attempt<T>(
    work: () => Promise<T>,
    mine: Attempt,
  ): Promise<{ readonly result: T } | { readonly passedOver: unknown }> {
    this.begin();
    const savepoint = `tidemark_${++this.#attempts}`;
    this.#pending.hold();
    this.#order(`SAVEPOINT ${savepoint}`, DEFER);
    try {
      const result = await work();
      // Checked here, so that a broken rule is this attempt's and not the commit's.
      this.#order(...this.#checkDeferred(), `RELEASE SAVEPOINT ${savepoint}`);
      const pending = this.#pending.take();
      mine.markSent();
      const failure = await firstFailure(pending);
      if (failure === null) return { result };
      await this.#stumble(mine);
      throw await this.#explain(failure);
    } catch (thrown) {
      const error = (await this.#firstFailure()) ?? thrown;
      await this.#stumble(mine);
      if (sqlState(error) === TRANSACTION_FAILED) return { passedOver: error };
      if (isTidemarkError(error, "TM-APPLY-CONSTRAINT")) await this.#undo(savepoint);
      throw error;
    } finally {
      this.#attempts--;
      mine.end();
    }
  }

  /** Returns when nothing more is sent behind a failed attempt: behind what undoes that, it would be done. */
  async #stumble(mine: Attempt): Promise<void> {
    this.#stumbled = true;
    mine.markSent();
    if (this.#last !== mine) await this.#last.ended;
  }

  #undo(savepoint: string): Promise<void> {
    return this.#parts.connection.script(
      `ROLLBACK TO SAVEPOINT ${savepoint}; RELEASE SAVEPOINT ${savepoint}`,
    );
  }

  async remove(bound: BoundTable, keys: readonly Row[]): Promise<void> {
    if (keys.length === 0) return;
    const table = this.#table(bound);
    const given = keyColumns(bound);
    assertUntagged({ ...bound, columns: given.map((i) => bound.columns[i] ?? MISSING) }, keys);
    const sql = deleteSql(table);
    if (bound.key.length > 0) {
      for (const slice of this.#slices(table, keys)) {
        const values = columnArrays(bound, given, slice, (n) => n);
        await this.#write(sql, values, `delete_${table.name}`, null);
      }
      return;
    }
    // The whole table is read each time, in a way that depends on how many rows are to go.
    this.begin();
    this.#order("SET LOCAL plan_cache_mode TO force_custom_plan");
    await this.#write(
      sql,
      columnArrays(bound, given, keys, (n) => n),
      undefined,
      null,
    );
    this.#order("SET LOCAL plan_cache_mode TO force_generic_plan");
  }

  async put(
    bound: BoundTable,
    rows: readonly Row[],
    options: { readonly fresh?: boolean } = {},
  ): Promise<void> {
    const table = this.#table(bound);
    assertUntagged(bound, rows);
    this.#parts.sequences.note(bound, rows);
    for (const [unchanged, group] of groupByUnchanged(rows)) {
      if (unchanged !== "") await this.#update(table, unchanged, group);
      else if (!options.fresh || group.length < COPY_ROWS || !(await this.#copy(table, group))) {
        await this.#upsert(table, group);
      }
    }
  }

  async clear(bound: BoundTable): Promise<void> {
    // Not TRUNCATE: readers with an older snapshot would see the table empty.
    const table = this.#table(bound);
    await this.#write(`DELETE FROM ${quoteTable(table.bound.name)}`, [], undefined, null);
  }

  async verify(tables: readonly BoundTable[]): Promise<void> {
    const { connection } = this.#parts;
    this.begin();
    this.#deferred = false;
    this.#order(CHECK_DEFERRED);
    await this.settle();
    if (this.enforcing) return;
    await verifyReferences(
      connection,
      tables.map(({ name }) => name),
    );
  }

  async commit(next: Progress): Promise<void> {
    const { connection, sync } = this.#parts;
    const { put, drop } = changedTables(this.#expected, next);
    this.begin();
    this.#pending.hold();
    for (const statement of this.#parts.sequences.takeDue(next)) {
      this.#pending.add(connection.rows(statement));
    }
    for (const { table, state, cursor, copy, hasRows } of put) {
      const values = [sync, table, state, cursor, copy, String(hasRows)];
      this.#pending.add(connection.run(PUT_TABLE_PROGRESS, values, "put_table_progress"));
    }
    for (const table of drop) this.#pending.add(connection.run(DROP_TABLE_PROGRESS, [sync, table]));
    // Whoever alters a table that we have written waits for our end. So one that is as it was now was so
    // at every write.
    const pins = pinValues(this.#touched);
    const values = [sync, ...progressValues(this.#expected), ...progressValues(next), ...pins];
    this.#pending.add(connection.rows(ADVANCE_PROGRESS, values, "advance_progress"), "standing");
    this.#pending.add(connection.commit());
    await this.settle();
    this.#onCommitted(next);
  }

  async rollback(): Promise<void> {
    const { connection } = this.#parts;
    await this.#lines?.abort();
    await this.#firstFailure();
    if (this.#begun && !connection.lost) await connection.script("ROLLBACK");
  }

  /** Waits for all answers; throws the first error. */
  async settle(): Promise<void> {
    const failure = await this.#firstFailure();
    if (failure) throw failure;
  }

  /** What checks here, and not at the commit, the constraints that could be put off; nothing, in a transaction that defers them. */
  #checkDeferred(): readonly string[] {
    if (this.#deferring) return [];
    this.#deferred = false;
    return [CHECK_DEFERRED];
  }

  #open(): void {
    this.#begun = true;
    this.#pending.hold();
    this.#pending.open(this.#parts.connection.run("BEGIN", [], "BEGIN"));
    this.#order(...(this.enforcing ? [] : [RELAX]), DEFER);
  }

  /** Waits for the answers to all that was sent; gives the first error. */
  async #firstFailure(): Promise<TidemarkError | null> {
    const failure = await firstFailure(this.#pending.take());
    return failure === null ? null : this.#explain(failure);
  }

  async #explain({ error, about }: Failure): Promise<TidemarkError> {
    // Of another statement these are errors of a trigger.
    if (sqlState(error) === ALTERED && about === "standing") {
      return altered(this.#parts.connection.database, error);
    }
    if (sqlState(error) === DIVISION_BY_ZERO && about === "standing") {
      return new TidemarkError(
        "TM-APPLY-FENCED",
        `Progress of sync "${this.#parts.sync}" was moved on by another applier.`,
        { cause: error },
      );
    }
    const isOfRows = about !== null && about !== "standing";
    if (!isOfRows || this.#parts.connection.lost) return error;
    if (error.code !== "TM-VALUE-REFUSED" && !mayNameNothing(about.table, error)) return error;
    // The transaction is lost anyway, and the session will be closed: it may find out what it was.
    await this.#parts.connection.script("ROLLBACK");
    return findRefused(this.#parts.connection, about.table, about.rows, error);
  }

  /** Commands without values, each a prepared statement of its own name. */
  #order(...commands: readonly string[]): void {
    for (const command of commands) {
      this.#pending.add(this.#parts.connection.run(command, [], command));
    }
  }

  /** Inside an attempt the answer is awaited at its end, as long as little is under way. */
  async #write(
    sql: string,
    values: readonly Parameter[],
    name: string | undefined,
    put: Put | null,
  ): Promise<void> {
    this.begin();
    const characters = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
    const answer = this.#parts.connection.run(sql, values, name);
    this.#pending.addLong(answer, put, characters);
    if (this.#attempts === 0 || this.#pending.characters > MAX_PENDING_CHARACTERS)
      await this.settle();
  }

  async #upsert(table: WritableTable, rows: readonly Row[]): Promise<void> {
    const all = table.bound.columns.map((_, i) => i);
    const sql = upsertSql(table);
    for (const slice of this.#slices(table, rows)) {
      const values = columnArrays(table.bound, all, slice, (n) => n);
      await this.#write(sql, values, `put_${table.name}`, { table, rows: slice });
    }
  }

  async #update(table: WritableTable, unchanged: string, rows: readonly Row[]): Promise<void> {
    const unknown = new Set(unchanged.split(",").slice(0, -1).map(Number));
    const given = table.bound.columns.flatMap((_, i) => (unknown.has(i) ? [] : [i]));
    if (given.every((i) => table.bound.key.includes(i))) return;
    const sql = updateSql(table, given);
    for (const slice of this.#slices(table, rows)) {
      const values = columnArrays(table.bound, given, slice, (n) => given[n] ?? 0);
      await this.#write(sql, values, undefined, { table, rows: slice });
    }
  }

  async openLines(bound: BoundTable, binary = false): Promise<PostgresLines | null> {
    if (!binary && bound.columns.some(({ type }) => isBytes(type))) return null;
    this.begin();
    await this.settle();
    const { connection, sequences } = this.#parts;
    this.#lines = await PostgresLines.open(connection, this.#table(bound), {
      binary,
      check: this.#checkDeferred(),
      note: (lines) => sequences.noteLines(bound, lines),
    });
    return this.#lines;
  }

  /** False when a row was there already: then nothing is written. */
  async #copy(table: WritableTable, rows: readonly Row[]): Promise<boolean> {
    const { connection } = this.#parts;
    this.begin();
    this.#order("SAVEPOINT tidemark_copy");
    await this.settle();
    try {
      await connection.copyIn(copySql(table), (stream) => writeRows(stream, table.bound, rows));
      await connection.script("RELEASE SAVEPOINT tidemark_copy");
      return true;
    } catch (error) {
      if (sqlState(error) !== UNIQUE_VIOLATION) {
        throw await this.#explain({ error: error as TidemarkError, about: { table, rows } });
      }
      await connection.script(
        "ROLLBACK TO SAVEPOINT tidemark_copy; RELEASE SAVEPOINT tidemark_copy",
      );
      return false;
    }
  }

  #slices(table: WritableTable, rows: readonly Row[]): Iterable<readonly Row[]> {
    return table.selfReferring ? [rows] : slices(rows, SLICE_ROWS, SLICE_CHARACTERS);
  }

  #table(bound: BoundTable): WritableTable {
    const table = this.#parts.tables.get(tableKey(bound.name));
    if (table) {
      this.#touched.add(table);
      return table;
    }
    throw new TidemarkError(
      "TM-INTERNAL",
      `Table ${formatTable(bound.name)} was not given when this session was opened.`,
    );
  }
}

const MISSING = { name: "", type: { kind: "text" } } as const;
