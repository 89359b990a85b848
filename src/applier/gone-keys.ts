import type { SyncTable } from "./mapping.ts";
import type { NetEffect } from "./net-effect.ts";

/** Of all tables together; some tens of megabytes. */
const MAX_KEYS = 200_000;

/**
 * The rows of cascading tables that the runs of one batch have deleted so far. One that comes back in a later run was
 * gone only in between, and a foreign key of the target has carried its deletion on to rows that stay at the source.
 */
export class GoneKeys {
  readonly #keys = new Map<SyncTable, Set<string>>();
  #count = 0;

  note(effect: NetEffect): void {
    for (const { table, rows } of effect.tables) {
      if (!table.bound.cascades) continue;
      const keys = this.#keys.get(table) ?? new Set();
      this.#keys.set(table, keys);
      const before = keys.size;
      for (const [key, { row }] of rows) {
        if (row === null && this.#count < MAX_KEYS) keys.add(key);
      }
      this.#count += keys.size - before;
    }
  }

  /** Does a row come back? Where there were too many to know them all, each that is inserted may be one. */
  anyReturns(effect: NetEffect): boolean {
    return effect.tables.some(({ table, rows }) => {
      const keys = this.#keys.get(table);
      if (keys === undefined) return false;
      const isKnown = this.#count < MAX_KEYS;
      return [...rows].some(
        ([key, { row, fresh }]) => row !== null && (keys.has(key) || (!isKnown && fresh)),
      );
    });
  }

  clear(): void {
    this.#keys.clear();
    this.#count = 0;
  }
}
