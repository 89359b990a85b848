import { type Change, unread } from "../../../src/core/change.ts";
import { batchHash, timelineHash } from "../../../src/core/hash.ts";
import type { BatchHeader } from "../../../src/core/position.ts";
import type { History, Rows, Tables } from "./oracle.ts";
import { SimulatedServer } from "./process.ts";
import {
  ALTERED,
  arriving,
  FILTERED,
  filterAnswers,
  layoutOf,
  rowOf,
  type Shapes,
  type Table,
  toLayout,
  WITH_MORE,
} from "./shapes.ts";

export const TIMELINE = "simulated";
/** The keys that rows may have. */
export const KEY_NAMES = [
  "00",
  "01",
  "02",
  "03",
  "04",
  "05",
  "06",
  "07",
  "08",
  "09",
  "10",
  "11",
] as const;

/** What a transaction sees: all that had been committed when it was taken. */
export interface Snapshot {
  /** The first id not given out yet. */
  readonly next: number;
  readonly running: ReadonlySet<number>;
}

export interface LogRow {
  readonly sequence: number;
  readonly transaction: number;
  readonly change: Change;
}

export interface Batch {
  readonly header: BatchHeader;
  readonly snapshot: Snapshot;
  readonly rows: readonly LogRow[];
}

interface Write {
  readonly table: Table;
  readonly key: string;
  /** Null: deleted. */
  readonly value: string | null;
}

interface Committed {
  readonly transaction: number;
  readonly writes: readonly Write[];
  readonly isLogged: boolean;
}

/** A transaction of the application: its changes are logged as they are made, and count when it commits. */
export class SourceTransaction {
  readonly id: number;
  readonly writes: Write[] = [];
  readonly locks = new Set<string>();
  /** Has it changed anything since capture began? */
  isLogged = false;

  constructor(id: number) {
    this.id = id;
  }
}

/**
 * A source with many versions of its rows: transactions of which those that run are seen by nobody,
 * ids given out at the first write, log rows numbered as they are written (not as they are committed).
 */
export class SourceDatabase extends SimulatedServer implements History {
  readonly log: LogRow[] = [];
  readonly batches: Batch[] = [];
  readonly confirmed = new Map<string, number>();
  purgedTo = 0;
  captured = false;
  /** Counts the times that commits were lost. */
  losses = 0;
  /** Has a table got a column more? Then how far that has come. */
  alteration: "made" | "mended" | "captured" | null = null;
  /** Set while a relay holds the lease. */
  holder: object | null = null;
  readonly shapes: Shapes;
  readonly #initial: Map<Table, Map<string, string>>;
  readonly #committed: Committed[] = [];
  readonly #running = new Map<number, SourceTransaction>();
  readonly #locked = new Set<string>();
  readonly #growth = new Set<() => void>();
  /** Of the rows as they now stand. */
  readonly #tables: Map<Table, Map<string, string>>;
  #nextTransaction = 1;
  #nextSequence = 1;
  #commits = 0;
  /** So many of the committed are durable, whatever cuts hold. */
  #flushed = 0;
  /** As of the batch that was asked for last. */
  #asOf: { readonly batch: number; readonly tables: Tables } | null = null;
  /** As the rows now stand. */
  #now: Tables | null = null;

  constructor(shapes: Shapes, initial: ReadonlyMap<Table, ReadonlyMap<string, string>>) {
    super();
    this.shapes = shapes;
    this.#initial = copyOf(initial);
    this.#tables = copyOf(initial);
  }

  // What the application does.

  begin(): SourceTransaction {
    const transaction = new SourceTransaction(this.#nextTransaction++);
    this.#running.set(transaction.id, transaction);
    return transaction;
  }

  get(table: Table, key: string): string | null {
    return this.#tables.get(table)?.get(key) ?? null;
  }

  /** What a row holds for this transaction; null where it does not stand. */
  valueUnder({ writes }: SourceTransaction, table: Table, key: string): string | null {
    const own = writes.findLast((write) => write.table === table && write.key === key);
    return own === undefined ? this.get(table, key) : own.value;
  }

  /** False when another transaction holds the row. */
  lock(transaction: SourceTransaction, table: Table, key: string): boolean {
    const name = `${table} ${key}`;
    if (transaction.locks.has(name)) return true;
    if (this.#locked.has(name)) return false;
    this.#locked.add(name);
    transaction.locks.add(name);
    return true;
  }

  /** Writes a row that is locked; `before`: what it holds for this transaction, null when it does not stand. */
  write(transaction: SourceTransaction, write: Write, before: string | null): void {
    transaction.writes.push(write);
    const { table, key, value } = write;
    if (!this.captured || (value === null && before === null)) return;
    const shape = this.shapes[table];
    const op = value === null ? "delete" : before === null ? "insert" : "update";
    const hasBefore = before !== null && (op === "delete" || !shape.hasKey);
    const old = shape.hasKey ? [key] : [before];
    this.#record(transaction, table, {
      ...{ op, keyBefore: hasBefore ? old : null },
      row: value === null ? null : rowOf(shape, key, value, this.hasMore(table)),
      filters: value === null ? [] : filterAnswers(shape, value),
    });
  }

  /** Empties a table of which all rows are locked. */
  truncate(transaction: SourceTransaction, table: Table): void {
    const keys = new Set([
      ...(this.#tables.get(table)?.keys() ?? []),
      ...transaction.writes.filter((write) => write.table === table).map(({ key }) => key),
    ]);
    for (const key of keys) transaction.writes.push({ table, key, value: null });
    const whole = { op: "truncate", keyBefore: null, row: null, filters: [] } as const;
    if (this.captured) this.#record(transaction, table, whole);
  }

  /** Gives a row that is locked another key, which is locked and free. */
  move(transaction: SourceTransaction, table: Table, from: string, to: string): void {
    const value = this.valueUnder(transaction, table, from);
    transaction.writes.push({ table, key: from, value: null }, { table, key: to, value });
    if (!this.captured || value === null) return;
    const filters = filterAnswers(this.shapes[table], value);
    this.#record(transaction, table, {
      op: "update",
      keyBefore: [from],
      row: rowOf(this.shapes[table], to, value, this.hasMore(table)),
      filters,
    });
  }

  /** Adds a column, durably. False while somebody has locked a row of the table. */
  alter(): boolean {
    if ([...this.#locked].some((name) => name.startsWith(`${ALTERED} `))) return false;
    this.alteration = "made";
    this.#flushed = this.#committed.length;
    return true;
  }

  commit(transaction: SourceTransaction): void {
    this.#now = null;
    for (const { table, key, value } of transaction.writes) put(this.#tables, table, key, value);
    const { id, writes, isLogged } = transaction;
    this.#committed.push({ transaction: id, writes, isLogged });
    if (isLogged) this.#commits++;
    this.#end(transaction);
    for (const grown of [...this.#growth]) grown();
  }

  rollback(transaction: SourceTransaction): void {
    for (let i = this.log.length - 1; i >= 0; i--) {
      if (this.log[i]?.transaction === transaction.id) this.log.splice(i, 1);
    }
    this.#end(transaction);
  }

  isRunning(transaction: SourceTransaction): boolean {
    return this.#running.get(transaction.id) === transaction;
  }

  override crash(): void {
    for (const transaction of [...this.#running.values()]) this.rollback(transaction);
    super.crash();
    for (const grown of [...this.#growth]) grown();
  }

  /**
   * Takes back the newest commits that were not made durable: a cut makes all before it so. `evenCut`: planted, it
   * does not. Gives how many are lost.
   */
  loseCommits(atMost: number, evenCut: boolean): number {
    const held = evenCut ? NOTHING : (this.last?.snapshot ?? NOTHING);
    const lost = new Set<number>();
    while (lost.size < atMost) {
      if (this.#committed.length === this.#flushed) break;
      const newest = this.#committed.at(-1);
      if (newest === undefined || !newest.isLogged || includes(held, newest.transaction)) break;
      lost.add(newest.transaction);
      this.#committed.pop();
      this.#commits--;
    }
    if (lost.size === 0) return 0;
    this.losses++;
    this.#asOf = null;
    this.#now = null;
    const kept = this.log.filter(({ transaction }) => !lost.has(transaction));
    this.log.splice(0, this.log.length, ...kept);
    for (const [table, rows] of this.#initial) this.#tables.set(table, new Map(rows));
    for (const { writes } of this.#committed) {
      for (const { table, key, value } of writes) put(this.#tables, table, key, value);
    }
    return lost.size;
  }

  // What the relay sees.

  /** Are rows of the table logged with the column more? */
  hasMore(table: Table): boolean {
    return table === ALTERED && this.alteration === "captured";
  }

  /** Logs rows as the altered table has them. Of those that wait nothing tells which were written before. */
  captureAltered(): void {
    const layout = toLayout(ALTERED, this.shapes[ALTERED], false);
    const batched = this.last?.snapshot ?? NOTHING;
    for (const [i, row] of this.log.entries()) {
      const waits = row.change.layout === layout.id && !sees(batched, row);
      const isWhole = row.change.op === "truncate";
      if (waits && !isWhole) this.log[i] = { ...row, change: unread(row.change, layout) };
    }
    this.alteration = "captured";
    this.#asOf = null;
    this.#now = null;
  }

  get snapshot(): Snapshot {
    return { next: this.#nextTransaction, running: new Set(this.#running.keys()) };
  }

  get last(): Batch | null {
    return this.batches.at(-1) ?? null;
  }

  /** Committed rows that no batch holds, in log order. */
  unseen(): LogRow[] {
    const before = this.last?.snapshot ?? NOTHING;
    return this.log.filter((row) => this.#hasEnded(row) && !sees(before, row));
  }

  hasUnseen(): boolean {
    const before = this.last?.snapshot ?? NOTHING;
    return this.log.some((row) => this.#hasEnded(row) && !sees(before, row));
  }

  store(rows: readonly LogRow[], at: string, snapshot: Snapshot): Batch {
    const batch = this.batches.length + 1;
    const prevHash = this.last?.header.hash ?? timelineHash(TIMELINE);
    const definition = JSON.stringify([snapshot.next, [...snapshot.running]]);
    const hash = batchHash(prevHash, batch, definition);
    const header = { timeline: TIMELINE, batch, hash, prevHash, cutAt: at, committedAt: at };
    const stored = { header, snapshot, rows };
    this.batches.push(stored);
    return stored;
  }

  /** The record of a cut is lost, when it is still the newest. */
  forget(batch: Batch | null): void {
    if (batch === null || this.last !== batch) return;
    this.batches.pop();
    this.#asOf = null;
  }

  /** Committed rows, in log order, whether a batch holds them or not. */
  committedRows(): LogRow[] {
    return this.log.filter((row) => this.#hasEnded(row));
  }

  /** The first number that no log row has yet. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** Rows as they now stand, in the order of their keys. */
  rowsOf(table: Table): (readonly [key: string, value: string])[] {
    return [...(this.#tables.get(table) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  purge(upTo: number): void {
    this.purgedTo = Math.max(this.purgedTo, upTo);
    const held = this.batches[this.purgedTo - 1]?.snapshot ?? NOTHING;
    const kept = this.log.filter((row) => !sees(held, row));
    this.log.splice(0, this.log.length, ...kept);
  }

  /** Calls back at each commit. */
  onGrowth(grown: () => void): () => void {
    this.#growth.add(grown);
    return () => this.#growth.delete(grown);
  }

  // What the oracle knows.

  /** Transactions committed that have changed something. */
  get commits(): number {
    return this.#commits;
  }

  /** What targets are to hold in the end. */
  get arriving(): Tables {
    this.#now ??= this.#arriving(this.#tables);
    return this.#now;
  }

  asOf(batch: number): Tables | null {
    const snapshot = this.batches[batch - 1]?.snapshot;
    if (snapshot === undefined) return null;
    if (this.#asOf?.batch === batch) return this.#asOf.tables;
    const tables = copyOf(this.#initial);
    for (const { transaction, writes } of this.#committed) {
      if (!includes(snapshot, transaction)) continue;
      for (const { table, key, value } of writes) put(tables, table, key, value);
    }
    this.#asOf = { batch, tables: this.#arriving(tables) };
    return this.#asOf.tables;
  }

  #arriving(tables: ReadonlyMap<Table, ReadonlyMap<string, string>>): Tables {
    const all = new Map<string, Rows>();
    for (const [table, rows] of tables) {
      all.set(table, arriving(this.shapes[table], rows, false));
      if (this.hasMore(table)) all.set(WITH_MORE, arriving(this.shapes[table], rows, true));
    }
    return all;
  }

  commitsIn(batch: number): number {
    const snapshot = this.batches[batch - 1]?.snapshot ?? NOTHING;
    const isSeen = (each: Committed) => each.isLogged && includes(snapshot, each.transaction);
    return this.#committed.filter(isSeen).length;
  }

  hasLogged(key: string, after: number, upTo: number): boolean {
    const layouts = [false, true].map((hasMore) => layoutOf(FILTERED, hasMore));
    return this.batches.slice(after, upTo).some(({ rows }) =>
      rows.some(({ change }) => {
        const { op, keyBefore, row } = change;
        const isRow = op === "truncate" || [keyBefore?.[0], row?.[0]].includes(key);
        return isRow && layouts.includes(change.layout);
      }),
    );
  }

  /** What was rolled back is not in the log. */
  #hasEnded({ transaction }: LogRow): boolean {
    return !this.#running.has(transaction);
  }

  #record(
    transaction: SourceTransaction,
    table: Table,
    change: Pick<Change, "op" | "keyBefore" | "row" | "filters">,
  ): void {
    const { id } = transaction;
    transaction.isLogged = true;
    const made = { transaction: String(id), origin: null, hops: [] };
    const whole = {
      ...change,
      ...made,
      layout: layoutOf(table, this.hasMore(table)),
      rowBefore: null,
    };
    this.log.push({ sequence: this.#nextSequence++, transaction: id, change: whole });
  }

  #end(transaction: SourceTransaction): void {
    this.#running.delete(transaction.id);
    for (const name of transaction.locks) this.#locked.delete(name);
  }
}

const NOTHING: Snapshot = { next: 0, running: new Set() };

function includes({ next, running }: Snapshot, transaction: number): boolean {
  return transaction < next && !running.has(transaction);
}

function sees(snapshot: Snapshot, row: LogRow): boolean {
  return includes(snapshot, row.transaction);
}

function copyOf(
  tables: ReadonlyMap<Table, ReadonlyMap<string, string>>,
): Map<Table, Map<string, string>> {
  return new Map([...tables].map(([name, rows]) => [name, new Map(rows)]));
}

function put(
  tables: Map<Table, Map<string, string>>,
  table: Table,
  key: string,
  value: string | null,
): void {
  if (value === null) tables.get(table)?.delete(key);
  else tables.get(table)?.set(key, value);
}
