import type { ApplierSession } from "../core/target.ts";
import type { SyncTable } from "./mapping.ts";
import type { NetEffect, TableEffect } from "./net-effect.ts";
import type { TableStates } from "./tables.ts";

/** So many rows the first question about a table counts; each further one ten times as many. */
const FIRST_COUNT = 1_000;
const MAX_COUNT = 1_000_000;

/**
 * Knows of each table at the target, at every commit, whether it holds rows: so that one that stands empty at
 * a start is known to be rightly so, or to have lost its rows. Kept is how many rows there are at least, and
 * the target is asked only when deletions have used that up: seldom, however many there are.
 */
export class StandingRows {
  readonly #states: TableStates;
  readonly #least = new Map<SyncTable, number>();
  readonly #counted = new Map<SyncTable, number>();
  readonly #doubtful = new Set<SyncTable>();
  #noted: NetEffect | null = null;

  constructor(states: TableStates) {
    this.#states = states;
  }

  /** Is there a table that deletions may have left empty? */
  get inDoubt(): boolean {
    return this.#doubtful.size > 0;
  }

  /** What is applied once more, after a constraint has objected, counts once. */
  note(effect: NetEffect): void {
    if (effect.size === 0 || effect === this.#noted) return;
    this.#noted = effect;
    for (const entry of effect.tables) this.#noteTable(entry);
  }

  noteAdded(table: SyncTable, rows: number): void {
    this.#set(table, Math.max(this.#leastOf(table), rows));
  }

  /** Asks the target, within the transaction, about the tables that are in doubt. */
  async settle(session: ApplierSession): Promise<void> {
    for (const table of this.#doubtful) {
      const limit = Math.min((this.#counted.get(table) ?? FIRST_COUNT / 10) * 10, MAX_COUNT);
      this.#counted.set(table, limit);
      const rows = await session.countRows(table.bound, limit);
      this.#least.set(table, rows);
      if (rows === 0) this.#states.noteRows(table.source, false);
    }
    this.#doubtful.clear();
  }

  #noteTable({ table, clear, rows, balances }: TableEffect): void {
    if (clear) this.#states.noteRows(table.source, false);
    let kept = clear ? 0 : this.#leastOf(table);
    let [put, came] = [0, 0];
    for (const { row } of rows.values()) {
      if (row === null) kept--;
      else put++;
    }
    for (const { count } of balances.values()) {
      if (count < 0) kept += count;
      else came += count;
    }
    // One that is put may have stood before; without a key each is one more.
    this.#set(table, Math.max(kept, put, 0) + came);
  }

  /** A table that had rows at the start of the session was seen to have some. */
  #leastOf(table: SyncTable): number {
    return this.#least.get(table) ?? (this.#states.hasRows(table.source) ? 1 : 0);
  }

  #set(table: SyncTable, least: number): void {
    this.#least.set(table, least);
    if (least > 0) this.#states.noteRows(table.source, true);
    if (least === 0 && this.#states.hasRows(table.source)) this.#doubtful.add(table);
    else this.#doubtful.delete(table);
  }
}
