import { isReferredTo } from "./apply.ts";
import type { SyncTable } from "./mapping.ts";
import type { NetEffect } from "./net-effect.ts";

/** Of all tables together; some tens of megabytes. */
const MAX_KEYS = 200_000;

/**
 * The rows that the runs of one batch have deleted so far, of tables whose deletions a foreign key of the target carries on
 * to others of the sync. One that comes back in a later run was gone only in between, and has taken rows along that
 * may stay at the source.
 */
export class GoneKeys {
  readonly #keys = new Map<SyncTable, Set<string>>();
  #count = 0;

  /** `tables`: all of the sync. */
  note(effect: NetEffect, tables: readonly SyncTable[]): void {
    for (const { table, rows } of effect.tables) {
      if (!table.bound.cascades || !isReferredTo(table, tables)) continue;
      const keys = this.#keys.get(table) ?? new Set();
      this.#keys.set(table, keys);
      const before = keys.size;
      for (const [key, { row }] of rows) {
        if (row === null && this.#count < MAX_KEYS) keys.add(key);
      }
      this.#count += keys.size - before;
    }
  }

  /** The first table of which a row comes back. Where there were too many to know them all, each that is inserted may be one. */
  returningTo(effect: NetEffect): SyncTable | null {
    const found = effect.tables.find(({ table, rows }) => {
      const keys = this.#keys.get(table);
      if (keys === undefined) return false;
      const isKnown = this.#count < MAX_KEYS;
      return [...rows].some(
        ([key, { row, fresh }]) => row !== null && (keys.has(key) || (!isKnown && fresh)),
      );
    });
    return found?.table ?? null;
  }

  clear(): void {
    this.#keys.clear();
    this.#count = 0;
  }
}
