import { TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import type { Connection } from "./connection.ts";
import { loadTableStates, type StoredLayout, signature, type TableState } from "./layouts.ts";
import type { Mutex } from "./mutex.ts";

const INTERVAL_MS = 1_000;

/** A captured table as this relay watches it. */
export interface WatchedTable {
  readonly layout: StoredLayout;
  readonly triggers: readonly string[];
}

/** Finds out, at most once a second, that a captured table or its triggers are no longer what they were. */
export class DriftWatch {
  readonly #control: Connection;
  readonly #mutex: Mutex;
  readonly #tables = new Map<string, WatchedTable>();
  #nextAt = 0;

  constructor(control: Connection, mutex: Mutex) {
    this.#control = control;
    this.#mutex = mutex;
  }

  watch(table: WatchedTable): void {
    this.#tables.set(table.layout.oid, table);
    this.#nextAt = 0;
  }

  /** Throws TM-SCHEMA-DRIFT, TM-CAPTURE-BROKEN. */
  async check(): Promise<void> {
    const now = performance.now();
    if (now < this.#nextAt || this.#tables.size === 0) return;
    const states = await this.#mutex.run(() =>
      loadTableStates(this.#control, [...this.#tables.keys()]),
    );
    for (const [oid, table] of this.#tables) checkTable(table, states.get(oid));
    const tookMs = performance.now() - now;
    // Thousands of tables: never more than a hundredth of the time.
    this.#nextAt = performance.now() + Math.max(INTERVAL_MS, tookMs * 100);
  }
}

function checkTable({ layout, triggers }: WatchedTable, state: TableState | undefined): void {
  const table = formatTable(layout.table);
  if (!state) {
    throw new TidemarkError("TM-CAPTURE-BROKEN", `Table ${table} has been dropped.`, {
      details: { table },
    });
  }
  if (signature(state.columns, layout.columns, layout.wholeRow) !== layout.signature) {
    throw new TidemarkError(
      "TM-SCHEMA-DRIFT",
      `The columns of ${table} have changed since its capture began.`,
      {
        fix: `Stop the writers of ${table} for a moment, start Tidemark again, then run: tidemark resync ${table}`,
        details: { table },
      },
    );
  }
  for (const trigger of triggers) {
    const enabled = state.triggers.get(trigger);
    if (enabled) continue;
    throw new TidemarkError(
      "TM-CAPTURE-BROKEN",
      `Trigger ${trigger} on ${table} is ${enabled === false ? "disabled" : "gone"}: changes may have been missed.`,
      {
        fix: `Start Tidemark again (it sets the trigger), then run: tidemark resync ${table}`,
        details: { table, trigger },
      },
    );
  }
}
