import { TidemarkError } from "../../core/errors.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import type { Connection } from "./connection.ts";
import { sqlState } from "./errors.ts";
import { quoteLiteral, quoteTable } from "./identifiers.ts";
import { loadTableStates, type StoredLayout, signature, type TableState } from "./layouts.ts";
import type { Mutex } from "./mutex.ts";
import { bareLeaves, partitionTrigger } from "./partitions.ts";
import { chooseShapes, insufficient, isEnough, type ShapeChoice } from "./shape.ts";

const INTERVAL_MS = 1_000;
const LOCK_TIMEOUT_MS = 100;
/** lock_not_available, deadlock_detected */
const LOCKED = new Set(["55P03", "40P01"]);

/** A captured table as this relay watches it. */
export interface WatchedTable {
  readonly layout: StoredLayout;
  readonly triggers: readonly string[];
  readonly partitioned: boolean;
}

/** Finds out, at most once a second, that a captured table or its triggers are no longer what they were. */
export class DriftWatch {
  readonly #control: Connection;
  readonly #mutex: Mutex;
  readonly #tables = new Map<string, WatchedTable>();
  /** 0: at once. */
  #nextAt = 0;
  #failure: { readonly error: unknown } | null = null;

  constructor(control: Connection, mutex: Mutex) {
    this.#control = control;
    this.#mutex = mutex;
  }

  watch(table: WatchedTable): void {
    this.#tables.set(table.layout.oid, table);
    this.#nextAt = 0;
  }

  /**
   * Throws TM-SCHEMA-DRIFT, TM-CAPTURE-BROKEN. The first look at a table is awaited, later ones are
   * not: changes need not wait for it, and the next call throws what it found.
   */
  async check(): Promise<void> {
    const now = performance.now();
    if (now >= this.#nextAt && this.#tables.size > 0) {
      const first = this.#nextAt === 0;
      this.#nextAt = Number.POSITIVE_INFINITY;
      const looking = this.#look(now);
      if (first) await looking;
    }
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure.error;
  }

  /** Never rejects. */
  async #look(startedAt: number): Promise<void> {
    try {
      const oids = [...this.#tables.keys()];
      const [states, shapes] = await this.#mutex.run(() =>
        Promise.all([loadTableStates(this.#control, oids), chooseShapes(this.#control, oids)]),
      );
      for (const [oid, table] of this.#tables) {
        checkTable(table, states.get(oid));
        const needed = shapes.get(oid);
        if (needed !== undefined) assertShape(table.layout, needed);
      }
      await this.#mutex.run(() => this.#coverPartitions());
    } catch (error) {
      this.#failure = { error };
    }
    const now = performance.now();
    // Thousands of tables: never more than a hundredth of the time.
    this.#nextAt = now + Math.max(INTERVAL_MS, (now - startedAt) * 100);
  }

  /** A partition made since gets its trigger for TRUNCATE; where it is locked, at a later check. */
  async #coverPartitions(): Promise<void> {
    const roots = [...this.#tables.values()]
      .filter(({ partitioned }) => partitioned)
      .map(({ layout }) => layout.oid);
    for (const { root, schema, name } of await bareLeaves(this.#control, roots)) {
      const statement = partitionTrigger(root, quoteTable({ schema, name }));
      try {
        await this.#control.script(`SET lock_timeout TO ${LOCK_TIMEOUT_MS}; ${statement}`);
      } catch (error) {
        if (!LOCKED.has(sqlState(error))) throw error;
      } finally {
        if (!this.#control.lost) await this.#control.script("SET lock_timeout TO 0");
      }
    }
  }
}

/** Changes may have gone by unseen: only copying anew makes source and target equal again. */
export function captureBroken(table: string, what: string): TidemarkError {
  return new TidemarkError("TM-CAPTURE-BROKEN", `${what} Changes may have been missed.`, {
    fix: "Copy anew: tidemark uninstall, empty the tables at the targets, tidemark run.",
    details: { table },
  });
}

/** A trigger, a rule or a foreign key that came later may make the log wrong. Throws TM-CAPTURE-BROKEN. */
export function assertShape({ table, shape }: StoredLayout, needed: ShapeChoice): void {
  if (isEnough(shape, needed.shape)) return;
  throw shapeBroken(table, insufficient(shape, needed));
}

/** What was logged since may be in the wrong order; only who knows the trigger can tell. */
export function shapeBroken(table: TableName, what: string): TidemarkError {
  const name = formatTable(table);
  const oid = quoteLiteral(quoteTable(table));
  return new TidemarkError(
    "TM-CAPTURE-BROKEN",
    `Capture of ${name} is broken: ${what}. Changes made since may be logged in the wrong order.`,
    {
      fix: `If it has written no row of ${name} yet: UPDATE tidemark.layouts SET retired_at = now() WHERE table_oid = ${oid}::regclass AND retired_at IS NULL; then run again. Else copy anew: tidemark uninstall, empty the tables at the targets, tidemark run.`,
      details: { table: name },
    },
  );
}

function checkTable({ layout, triggers }: WatchedTable, state: TableState | undefined): void {
  const table = formatTable(layout.table);
  if (!state) {
    throw captureBroken(table, `Table ${table} has been dropped.`);
  }
  if (signature(state.columns, layout.columns, layout.wholeRow) !== layout.signature) {
    throw new TidemarkError(
      "TM-SCHEMA-DRIFT",
      `The columns of ${table} have changed since its capture began.`,
      {
        fix: "Give the target the same columns (tidemark plan prints the statements), then start again.",
        details: { table },
      },
    );
  }
  for (const trigger of triggers) {
    const found = state.triggers.get(trigger);
    if (found?.enabled) continue;
    const what = found ? "disabled" : "gone";
    throw captureBroken(table, `Trigger ${trigger} on ${table} is ${what}.`);
  }
}
