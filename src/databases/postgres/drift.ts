import { columnsAltered, DROPPED, keyAltered } from "../../core/altered.ts";
import { keyNames } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import { copyAnew, Objections, wrongTable } from "../../core/many-tables.ts";
import type { Mutex } from "../../core/mutex.ts";
import { resyncCommand } from "../../core/shell.ts";
import { formatTable, sameTable, type TableName } from "../../core/table.ts";
import type { CaptureSpec } from "./capture-row.ts";
import { chooseKey, findTables, loadUniques, type UniqueKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { sqlState } from "./errors.ts";
import { quoteLiteral, quoteTable } from "./identifiers.ts";
import {
  type ColumnIdentity,
  exchangedKey,
  type ForeignPartition,
  fits,
  loadTableStates,
  type StoredLayout,
  type TableState,
} from "./layouts.ts";
import { checkPartitions } from "./partition-watch.ts";
import { bareLeaves, partitionTrigger } from "./partitions.ts";
import { stalePins, storePins } from "./pins.ts";
import { chooseShapes, insufficient, isEnough, type ShapeChoice } from "./shape.ts";
import { lookAtTriggers, storeNoted, wasTouched } from "./trigger-watch.ts";
import { type Answerable, type Uncarried, uncarriedLayouts } from "./uncarried.ts";
import { writableFunctions } from "./writable.ts";

const INTERVAL_MS = 1_000;
const LOCK_TIMEOUT_MS = 100;
/** lock_not_available, deadlock_detected */
const LOCKED = new Set(["55P03", "40P01"]);
const INSUFFICIENT_PRIVILEGE = "42501";

/** A captured table as this relay watches it. */
export interface WatchedTable {
  readonly layout: StoredLayout;
  readonly spec: CaptureSpec;
  readonly triggers: readonly string[];
}

/** Finds out, at most once a second, that a captured table or its triggers are no longer what they were. */
export class DriftWatch implements Answerable {
  readonly #control: Connection;
  readonly #mutex: Mutex;
  readonly #tables = new Map<string, WatchedTable>();
  readonly #uncarried: Uncarried;
  /** Oids of tables that rows have gone of unlogged. */
  readonly #lost = new Set<string>();
  /** 0: at once. */
  #nextAt = 0;
  #failure: { readonly error: unknown } | null = null;

  constructor(control: Connection, mutex: Mutex, uncarried: Uncarried) {
    this.#control = control;
    this.#mutex = mutex;
    this.#uncarried = uncarried;
  }

  watch(table: WatchedTable): void {
    this.#tables.set(table.layout.oid, table);
    this.#nextAt = 0;
  }

  /** All captured tables that are not watched so are none of this config's. */
  watchOthers(layouts: Iterable<StoredLayout>): void {
    this.#uncarried.watch(uncarriedLayouts(layouts, this.#tables));
  }

  isInForce({ id, oid }: StoredLayout): boolean {
    return this.#tables.get(oid)?.layout.id === id;
  }

  lose({ oid }: StoredLayout): boolean {
    if (this.#tables.has(oid)) return false;
    this.#lost.add(oid);
    return true;
  }

  /** What {@link lose} was told. */
  async noteLost(): Promise<void> {
    for (const oid of this.#lost) {
      await this.#mutex.run(() => this.#uncarried.lose(oid));
      this.#lost.delete(oid);
    }
  }

  /**
   * Throws TM-SCHEMA-DRIFT, TM-CAPTURE-BROKEN. The first look at a table is awaited, later ones are
   * not: changes need not wait for it, and the next call throws what it found. That a table was altered
   * is found out by the cut itself: see {@link lookNow}.
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

  /**
   * Some table's pin has changed. Throws TM-SCHEMA-DRIFT, TM-CAPTURE-BROKEN, when it is no longer as it is
   * captured; otherwise the pins are set anew.
   */
  lookNow(): Promise<void> {
    return this.#inspect(true);
  }

  /** The same, where something tells that it is time: a pin, a trigger that was written; partitions have none. */
  async lookIfAltered(): Promise<void> {
    const tables = [...this.#tables.values()];
    const isDue = await this.#mutex.run(async () => {
      if ((await stalePins(this.#control)).length > 0) return true;
      const look = await lookAtTriggers(this.#control, [...this.#tables.keys()]);
      return look.touched.size + look.revalued.size > 0;
    });
    if (isDue || tables.some(({ spec }) => spec.partitioned)) await this.lookNow();
  }

  /** Never rejects. */
  async #look(startedAt: number): Promise<void> {
    try {
      await this.#inspect(false);
      await this.#mutex.run(() => this.#coverPartitions());
    } catch (error) {
      this.#failure = { error };
    }
    const now = performance.now();
    // Thousands of tables: never more than a hundredth of the time.
    this.#nextAt = now + Math.max(INTERVAL_MS, (now - startedAt) * 100);
  }

  /** `cutting`: no batch is cut until it resolves. */
  async #inspect(cutting: boolean): Promise<void> {
    const oids = [...this.#tables.keys()];
    const control = this.#control;
    const uncarried = this.#uncarried;
    const all = [...oids, ...uncarried.oids];
    // First of all: what is altered while we look changes the pin once more.
    const stale = await this.#mutex.run(() => stalePins(control));
    const [states, shapes, uniques] = await this.#mutex.run(() =>
      Promise.all([
        loadTableStates(control, all),
        chooseShapes(control, oids),
        loadUniques(control, all),
      ]),
    );
    await this.#keepWritable(states);
    const altered = await this.#mutex.run(() => uncarried.keepWritable(states, uniques));
    if (cutting) await this.#mutex.run(() => uncarried.endReading(altered));
    const objections = new Objections();
    for (const [oid, table] of this.#tables) {
      await objections.tryAsync(async () => {
        const state = states.get(oid);
        const { layout } = table;
        if (state === undefined || !sameTable(state.name, layout.table)) {
          throw await this.#mutex.run(() =>
            goneOrRenamed(control, layout.table, state?.name ?? null),
          );
        }
        checkTable(table, state, uniques.get(oid) ?? []);
        const needed = shapes.get(oid);
        if (needed !== undefined) assertShape(layout, needed);
      });
    }
    objections.end();
    // Before the partitions are noted that came and went: of theirs it takes no notice until then.
    const triggers = await this.#mutex.run(() => lookAtTriggers(control, oids));
    await this.#mutex.run(() => storeNoted(control, triggers.unnoted));
    const roots = [...this.#tables.values()]
      .filter(({ spec }) => spec.partitioned)
      .map(({ layout }) => layout);
    await this.#mutex.run(() => checkPartitions(control, roots));
    const touched = [...triggers.touched].map(([oid, name]) => [oid, wasTouched(name)] as const);
    for (const [oid, what] of [...touched, ...triggers.revalued]) {
      const table = formatTable((this.#tables.get(oid) as WatchedTable).layout.table);
      objections.try(() => {
        throw captureBroken(table, `Capture of ${table} is broken: ${what}.`);
      });
    }
    objections.end();
    // Of those of no sync a cut is to find out, since it alone knows from where on they are unread.
    const isOpen = (layout: string) => !cutting && altered.some(({ id }) => String(id) === layout);
    const seen = stale.filter(({ layout }) => !isOpen(layout));
    if (seen.length > 0) await this.#mutex.run(() => storePins(control, seen));
  }

  /**
   * Of all tables, before the first that no longer fits stops the relay. Where the functions are not this role's
   * to replace, what was altered is told all the same.
   */
  async #keepWritable(states: ReadonlyMap<string, TableState>): Promise<void> {
    for (const [oid, { layout, spec }] of this.#tables) {
      const now = states.get(oid)?.columns;
      if (now === undefined || fits(layout, now)) continue;
      const was = JSON.parse(layout.signature) as ColumnIdentity[];
      const functions = writableFunctions(spec, was, now);
      if (functions.length === 0) continue;
      try {
        await this.#mutex.run(() => this.#control.script(functions.join(";\n")));
      } catch (error) {
        if (sqlState(error) !== INSUFFICIENT_PRIVILEGE) throw error;
      }
    }
  }

  /** A partition made since gets its trigger for TRUNCATE; where it is locked, at a later check. */
  async #coverPartitions(): Promise<void> {
    const roots = [...this.#tables.values()]
      .filter(({ spec }) => spec.partitioned)
      .map(({ layout }) => layout.oid);
    roots.push(...this.#uncarried.oids);
    for (const leaf of await bareLeaves(this.#control, roots)) {
      const statements = partitionTrigger(leaf).join("; ");
      try {
        await this.#control.script(`SET lock_timeout TO ${LOCK_TIMEOUT_MS}; ${statements}`);
      } catch (error) {
        const isOurs = this.#tables.has(leaf.root);
        if (
          !LOCKED.has(sqlState(error)) &&
          (isOurs || sqlState(error) !== INSUFFICIENT_PRIVILEGE)
        ) {
          throw error;
        }
      } finally {
        if (!this.#control.lost) await this.#control.script("SET lock_timeout TO 0");
      }
    }
  }
}

/** Changes may have gone by unseen: only copying anew makes source and target equal again. */
export function captureBroken(table: string, what: string): TidemarkError {
  return wrongTable("TM-CAPTURE-BROKEN", table, {
    message: `${what} Changes may have been missed.`,
    mend: copyAnew,
  });
}

/** A trigger, a rule or a foreign key that came later may make the log wrong. Throws TM-CAPTURE-BROKEN. */
function assertShape({ table, shape }: StoredLayout, needed: ShapeChoice): void {
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
      fix: `If it has written no row of ${name} yet: UPDATE tidemark.layouts SET retired_at = now() WHERE table_oid = ${oid}::regclass AND retired_at IS NULL; then run again. Else ${resyncCommand(name)}, then tidemark run: it is copied anew.`,
      details: { table: name },
    },
  );
}

function checkTable(
  { layout, triggers }: WatchedTable,
  state: TableState,
  uniques: readonly UniqueKey[],
): void {
  const table = formatTable(layout.table);
  const { allColumns } = layout;
  if (state.unlogged) {
    const name = quoteTable(layout.table);
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${table}, or a partition of it, was made unlogged: a crash of the server empties it, and nothing is logged of that.`,
      {
        fix: `ALTER TABLE ${name} SET LOGGED (or of the partition); where the server has crashed since, ${resyncCommand(table)}; then start again.`,
        details: { table },
      },
    );
  }
  if (state.foreign !== null) throw foreignPartition(layout.table, state.foreign);
  if (!fits(layout, state.columns)) {
    const exchanged = exchangedKey(layout, state.columns);
    if (exchanged !== null)
      throw captureBroken(table, `Capture of ${table} is broken: ${exchanged}.`);
    const was = JSON.parse(layout.signature) as ColumnIdentity[];
    const names = new Set(was.map(([number]) => number));
    const now = allColumns ? state.columns : state.columns.filter(([number]) => names.has(number));
    throw columnsAltered(table, differences(was, now));
  }
  const key = keyNames(layout);
  const keyNow = chooseKey(uniques);
  if (JSON.stringify(keyNow) !== JSON.stringify(key)) {
    throw keyAltered(table, key, keyNow);
  }
  for (const trigger of triggers) {
    const found = state.triggers.get(trigger);
    if (found?.enabled) continue;
    const what = found ? "disabled" : "gone";
    throw captureBroken(table, `Trigger ${trigger} on ${table} is ${what}.`);
  }
}

export function foreignPartition(
  table: TableName,
  { name: partition, parent }: ForeignPartition,
): TidemarkError {
  const name = formatTable(table);
  return new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `${partition}, a partition of ${name}, is a foreign table: nothing is logged of the rows that it brought, nor of what is written at its own server.`,
    {
      fix: `ALTER TABLE ${parent} DETACH PARTITION ${partition}; then start again, after ${resyncCommand(name)} where rows were written through ${name}; or leave ${name} out.`,
      details: { table: name },
    },
  );
}

/** For people: what has become of each column. Numbers of columns are never used again. */
function differences(was: readonly ColumnIdentity[], now: readonly ColumnIdentity[]): string {
  const before = new Map(was.map((column) => [column[0], column]));
  const after = new Map(now.map((column) => [column[0], column]));
  const lines: string[] = [];
  for (const [number, name, type] of was) {
    const [, newName = "", newType = ""] = after.get(number) ?? [];
    if (!after.has(number)) lines.push(`column ${name} (${type}) was dropped`);
    else if (newName !== name) lines.push(`column ${name} was renamed to ${newName}`);
    if (after.has(number) && newType !== type) {
      lines.push(`column ${newName} was ${type}, is ${newType}`);
    }
  }
  for (const [number, name, type] of now) {
    if (!before.has(number)) lines.push(`column ${name} (${type}) was added`);
  }
  return lines.join("; ");
}

/** The table is not where it was: `now` is the name it has, null when it is gone. */
async function goneOrRenamed(
  connection: Connection,
  was: TableName,
  now: TableName | null,
): Promise<TidemarkError> {
  const table = formatTable(was);
  const what = now === null ? "was dropped" : `was renamed to ${formatTable(now)}`;
  if ((await findTables(connection, [was])).size > 0) {
    return captureBroken(table, `${table} ${what}, and another table has its name.`);
  }
  return new TidemarkError("TM-SCHEMA-DRIFT", `${table} ${what}.`, {
    fix:
      now === null
        ? DROPPED
        : `Give it its name back, then start again: nothing is lost. Or put ${formatTable(now)} into the config, with its table at the targets empty: it is copied anew.`,
    details: { table },
  });
}
