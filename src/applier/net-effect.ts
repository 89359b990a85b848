import { longTextHash } from "../core/hash.ts";
import type { BoundColumn } from "../core/target.ts";
import { isTagged, type Row, type Value } from "../core/value.ts";
import type { RowEffect, SyncTable } from "./mapping.ts";

/** What a run of changes leaves behind in one table. */
export interface TableEffect {
  readonly table: SyncTable;
  /** Everything that stood before is gone. */
  clear: boolean;
  /** A row has another key now. */
  moves: boolean;
  /** A key was gone in between, and stands again. */
  returns: boolean;
  /** A row has another key now, and another row stands under the one it had. */
  replaces: boolean;
  readonly rows: Map<string, RowOutcome>;
  /** In place of `rows` where the table has no key. */
  readonly balances: Map<string, Balance>;
}

/** How many rows equal to this one there are more than before, or fewer. */
export interface Balance {
  readonly row: Row;
  readonly count: number;
  /** So many of those that stood before went, if only for a while. */
  readonly taken: number;
}

export interface RowOutcome {
  readonly key: Row;
  /** The row as it ends; null: gone. */
  readonly row: Row | null;
  /** First touched by an insert: most likely not at the target yet. */
  readonly fresh: boolean;
  /** Gone, since the row has another key now. */
  readonly moved: boolean;
  /** Gone in between: what stood before is another row. */
  readonly returned: boolean;
}

/**
 * Rows that came, or went, where the table has no key: as many times as they did. `touched`: also those that went and
 * came again.
 */
export function surplus(
  { balances }: TableEffect,
  side: "came" | "went",
  { touched = false } = {},
): Row[] {
  const rows: Row[] = [];
  for (const { row, count, taken } of balances.values()) {
    const went = touched ? taken : Math.max(0, -count);
    const times = side === "came" ? went + count : went;
    for (let i = 0; i < times; i++) rows.push(row);
  }
  return rows;
}

/**
 * Collapses changes, in order, into the last state per key. This is what makes set-wise apply
 * possible (a set statement may not touch a key twice) and costs nothing in truth: only whole
 * batches are committed, so no reader could have seen the states between.
 */
export class NetEffect {
  readonly #tables = new Map<SyncTable, TableEffect>();
  readonly #ordered: RowEffect[] = [];

  /** Changes taken in. */
  get size(): number {
    return this.#ordered.length;
  }

  /** The effects one by one in log order, for when the sets meet a constraint. */
  get ordered(): readonly RowEffect[] {
    return this.#ordered;
  }

  /** In no particular order. */
  get tables(): readonly TableEffect[] {
    return [...this.#tables.values()];
  }

  add(effect: RowEffect): void {
    this.#ordered.push(effect);
    const into = this.#effectOf(effect.table);
    if (effect.clear) {
      into.clear = true;
      into.rows.clear();
      into.balances.clear();
    }
    if (effect.table.bound.key.length === 0) {
      for (const row of effect.gone) this.#count(into, row, -1);
      if (effect.row !== null) this.#count(into, effect.row, 1);
      return;
    }
    const { moved } = effect;
    for (const key of effect.gone) this.#set(into, { key, row: null, fresh: false, moved });
    if (effect.row !== null) {
      const { row, fresh } = effect;
      const key = effect.table.bound.key.map((index) => row[index] ?? null);
      this.#set(into, { key, row, fresh, moved: false });
    }
  }

  #set(into: TableEffect, outcome: Omit<RowOutcome, "returned">): void {
    const { key, row, moved } = outcome;
    const text = keyText(into.table, key);
    const earlier = into.rows.get(text);
    const fresh = earlier === undefined ? outcome.fresh : earlier.fresh && row !== null;
    if (moved) into.moves = true;
    const returned =
      row !== null && earlier !== undefined && (earlier.row === null || earlier.returned);
    if (returned) into.returns = true;
    if (row !== null && earlier?.moved) into.replaces = true;
    into.rows.set(text, { key, row, fresh, moved, returned });
  }

  #count({ balances }: TableEffect, row: Row, by: 1 | -1): void {
    const text = wholeText(row);
    const known = balances.get(text) ?? { count: 0, taken: 0 };
    const count = known.count + by;
    const taken = Math.max(known.taken, -count);
    if (count === 0 && taken === 0) balances.delete(text);
    else balances.set(text, { row, count, taken });
  }

  #effectOf(table: SyncTable): TableEffect {
    let effect = this.#tables.get(table);
    if (effect === undefined) {
      effect = {
        table,
        clear: false,
        moves: false,
        returns: false,
        replaces: false,
        rows: new Map(),
        balances: new Map(),
      };
      this.#tables.set(table, effect);
    }
    return effect;
  }
}

/** A value longer than this stands for itself by its hash: the text of a row of megabytes would be held beside the row. */
const LONG = 1_024;

/** The same text for equal rows, and for no others. */
function wholeText(row: Row): string {
  return JSON.stringify(row.some(isLong) ? row.map(shortened) : row);
}

function isLong(value: Value): boolean {
  const text = isTagged(value) ? value[1] : value;
  return typeof text === "string" && text.length > LONG;
}

function shortened(value: Value): unknown {
  if (!isLong(value)) return value;
  // No value is an object of this form.
  return isTagged(value)
    ? [value[0], { hash: longTextHash(value[1]) }]
    : { hash: longTextHash(String(value)) };
}

/**
 * The same text for what the target takes for the same key. Where keys are kept as texts, 1.0 and 1.00 are two: one
 * goes when the other comes.
 */
export function keyText({ bound }: Pick<SyncTable, "bound">, key: Row): string {
  if (key.length === 1) return valueText(key[0] ?? null, columnAt(bound, 0));
  return JSON.stringify(key.map((value, index) => valueText(value, columnAt(bound, index))));
}

function columnAt(bound: SyncTable["bound"], index: number): BoundColumn | undefined {
  return bound.columns[bound.key[index] ?? 0];
}

function valueText(value: Value, column: BoundColumn | undefined): string {
  if (isTagged(value)) return `${value[0]}:${value[1]}`;
  const text = String(value);
  return column?.numeric === true ? numberText(text) : text;
}

function numberText(text: string): string {
  const short = text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
  return short === "-0" ? "0" : short;
}
