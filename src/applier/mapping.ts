import { type Change, isUnread, keyColumns, type Layout } from "../core/change.ts";
import type { TableRule } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import { resyncCommand } from "../core/shell.ts";
import { formatTable } from "../core/table.ts";
import type { BoundTable } from "../core/target.ts";
import { isTagged, type Row, type Value } from "../core/value.ts";
import { userRow } from "./user-row.ts";

/** One table of a sync, resolved against both catalogs. */
export interface SyncTable {
  /** Source table, as formatTable gives it. */
  readonly source: string;
  readonly rule: TableRule;
  /** Source columns sent, in the order of `bound.columns`. */
  readonly columns: readonly string[];
  /** Their types, as the source spells them. */
  readonly types: readonly string[];
  /** Source key columns, in the order of `bound.key`; empty: rows are matched whole. */
  readonly key: readonly string[];
  readonly bound: BoundTable;
  /** Differs when rows would arrive otherwise: other columns, filter or transform. */
  readonly fingerprint: string;
}

/** What one change does to the target: rows that must go, a row that must stand. */
export interface RowEffect {
  readonly table: SyncTable;
  /** Keys (order of `bound.key`; whole rows where there is no key) of rows that are no longer there. */
  readonly gone: readonly Row[];
  /** The row of `gone` stands under another key now: what refers to it does not go with it. */
  readonly moved: boolean;
  /** The row as it must stand (order of `bound.columns`), null when there is none. */
  readonly row: Row | null;
  /** Every row of the table is gone (before the rest of this effect). */
  readonly clear: boolean;
  /** The row is new at the source. */
  readonly fresh: boolean;
}

const NONE: readonly Row[] = [];

/** Translates changes of one layout into effects on one target table. */
export class LayoutMapping {
  readonly table: SyncTable;
  readonly #layout: Layout;
  readonly #columns: readonly number[];
  /** The target takes the row as it was logged. */
  readonly #isWhole: boolean;
  /** For each key column of the target: its index in a source row, and in a logged key. */
  readonly #keyInRow: readonly number[];
  readonly #keyInKey: readonly number[];
  readonly #hadNoKey: boolean;
  readonly #isByOther: boolean;
  readonly #filter: number;
  /**
   * Was the layout written before the sync wanted what it now wants (a column, a filter), or when a
   * column had another type? Then its rows cannot be put; a copy read later holds them.
   */
  readonly incomplete: boolean;

  constructor(table: SyncTable, layout: Layout) {
    this.table = table;
    this.#layout = layout;
    this.#columns = table.columns.map((name) => this.#indexOf(name));
    this.#isWhole =
      this.#columns.length === layout.columns.length &&
      this.#columns.every((column, index) => column === index);
    this.#keyInRow = table.key.map((name) => this.#indexOf(name));
    const logged = keyColumns(layout);
    this.#keyInKey = this.#keyInRow.map((column) => logged.indexOf(column));
    // A table that had no key when this was logged has one now: the whole row holds it.
    this.#hadNoKey = layout.key.length === 0 && table.key.length > 0;
    const isOther = layout.key.length !== 0 && layout.key.length !== table.key.length;
    this.#isByOther = this.#keyInKey.includes(-1) || isOther;
    this.#filter = table.rule.where === undefined ? -1 : layout.filters.indexOf(table.rule.where);
    const unfiltered = table.rule.where !== undefined && this.#filter === -1;
    const retyped = this.#columns.some(
      (column, index) => layout.columns[column]?.nativeType !== table.types[index],
    );
    this.incomplete = unfiltered || retyped;
  }

  /**
   * Throws TM-SCHEMA-DRIFT when the layout's key is another. Changes that the table does not take, since it is still to be
   * copied, may be of any.
   */
  assertKey(): void {
    if (!this.#isByOther) return;
    const { key } = this.table;
    const was = key.length === 0 ? "missing" : `(${key.join(", ")})`;
    throw this.#drift(`its key is no longer ${was}`, {
      fix: `${resyncCommand(this.#layout.table)}, then tidemark run: it is copied anew, since changes that were logged by another key still wait.`,
    });
  }

  /** Does every row copied stand at the target as it was read, field by field? */
  get isPlain(): boolean {
    const { where, filter, transform } = this.table.rule;
    const isFiltered = where !== undefined || filter !== undefined || transform !== undefined;
    return this.#isWhole && !isFiltered && !this.incomplete;
  }

  /**
   * Rows that were read when this sync asked for them, and not as it wants them. They stay in the queue: the next start
   * must ask for another copy, and pass these by.
   */
  outdated(): TidemarkError {
    const { where } = this.table.rule;
    // A copy is asked for as the sync wants it now, whereas its relay may have been started with another config.
    if (where !== undefined && this.#filter === -1) return this.#unfiltered(where);
    return this.#drift("its columns are no longer those that this sync was started with", {
      details: { altered: [this.table.source] },
    });
  }

  #unfiltered(where: string): TidemarkError {
    const table = formatTable(this.#layout.table);
    return new TidemarkError(
      "TM-SCHEMA-DRIFT",
      `${table} was copied without the condition that this sync has for it (where: ${where}): its relay was started with another config.`,
      {
        fix: "Give the relay and the appliers the same config, restart the relay, then this one: the table is copied anew.",
        details: { table, altered: [this.table.source] },
      },
    );
  }

  /** Have rows no key, so that a change is a row less and a row more? */
  get isKeyless(): boolean {
    return this.table.key.length === 0;
  }

  /** Throws TM-SCHEMA-DRIFT, and TM-FILTER-FAILED or TM-TRANSFORM-FAILED when the row cannot be told. */
  effectOf(change: Change): RowEffect {
    this.assertKey();
    const { row } = change;
    return this.#effect(change, row === null || this.incomplete ? null : this.#rowFor(change, row));
  }

  /**
   * Of a change for which `effectOf` throws: the row before the config's functions saw it, and what is done
   * all the same. A row that has another key now is gone under the old one, where another may come.
   */
  setAside(change: Change, row: Row): { readonly effect: RowEffect; readonly row: Row } {
    const effect = this.#effect({ ...change, row: null }, null);
    const key = this.#pick(row, this.#keyInRow);
    const gone = effect.gone.filter((old) => !sameRow(old, key));
    return {
      effect: { ...effect, moved: false, gone },
      row: this.#pick(row, this.#columns),
    };
  }

  #effect(change: Change, row: Row | null): RowEffect {
    const { table } = this;
    if (this.#hadNoKey && isUnread(change) && change.op !== "insert") {
      throw this.#drift("rows went while it was altered and had no key, so none can tell which");
    }
    const isTruncate = change.op === "truncate";
    if (isTruncate && !this.#mayClear()) {
      return { table, clear: false, fresh: false, moved: false, gone: NONE, row: null };
    }
    const clear = isTruncate && change.keyBefore === null;
    if (this.isKeyless) return this.#wholeEffect(change, row, clear);
    const fresh = change.op === "insert";
    const moved = change.op === "update" && change.keyBefore !== null;
    const before = change.keyBefore === null ? null : this.#pick(change.keyBefore, this.#keyInKey);
    if (change.row === null) {
      return { table, clear, fresh, moved, gone: before === null ? NONE : [before], row: null };
    }
    if (before === null && row !== null) return { table, clear, fresh, moved, gone: NONE, row };
    const key = this.#pick(change.row, this.#keyInRow);
    const gone = before === null || sameRow(before, key) ? NONE : [before];
    const leaves = row === null && !this.incomplete;
    // A row that leaves the filter is deleted, under whichever key it stood.
    if (leaves) return { table, clear, fresh, moved: false, gone: [...gone, key], row };
    return { table, clear, fresh, moved, gone, row };
  }

  /** What a filter or a transform made of the row before is what stands at the target. */
  #wholeEffect(change: Change, row: Row | null, clear: boolean): RowEffect {
    const { keyBefore } = change;
    const before = keyBefore === null || this.incomplete ? null : this.#rowFor(change, keyBefore);
    const gone = before === null ? NONE : [before];
    return { table: this.table, clear, fresh: true, moved: false, gone, row };
  }

  /** Throws TM-TRUNCATE-REFUSED. */
  #mayClear(): boolean {
    const { source, rule } = this.table;
    if (rule.truncate !== "stop") return rule.truncate !== "ignore";
    throw new TidemarkError(
      "TM-TRUNCATE-REFUSED",
      `Table ${source} was truncated at the source, and the config says: truncate: stop.`,
      {
        fix: "To go on, set truncate: apply (the target loses these rows too) or truncate: ignore (it keeps them), then start again.",
        details: { table: source },
      },
    );
  }

  /** The row as the target shall have it; null when a filter or a transform leaves it out. */
  #rowFor(change: Change, row: Row): Row | null {
    const passes = this.#filter < 0 || change.filters[this.#filter];
    if (passes === null) throw this.#filterError();
    if (passes !== true) return null;
    return userRow(this.table, this.#isWhole ? row : this.#pick(row, this.#columns));
  }

  #filterError(): TidemarkError {
    const { source, rule } = this.table;
    return new TidemarkError(
      "TM-FILTER-FAILED",
      `The source could not tell whether a row of ${source} passes its filter: "${rule.where}" raised an error.`,
      {
        fix: "Mend `where` so that it never fails (NULLIF, CASE; in SQLite GLOB in place of LIKE), then start again: the table is copied anew. To go on without such rows, set onError: park.",
        details: { table: source, where: rule.where },
      },
    );
  }

  #pick(row: Row, indexes: readonly number[]): Row {
    return indexes.map((index) => row[index] ?? null);
  }

  /** -1 where the layout has no such column. */
  #indexOf(column: string): number {
    return this.#layout.columns.findIndex(({ name }) => name === column);
  }

  #drift(
    why: string,
    {
      fix = "Bring the config or the table back in line, then start again: see docs/errors/TM-SCHEMA-DRIFT.md.",
      details = {},
    }: { readonly fix?: string; readonly details?: Readonly<Record<string, unknown>> } = {},
  ): TidemarkError {
    const table = formatTable(this.#layout.table);
    return new TidemarkError("TM-SCHEMA-DRIFT", `${table} changed at the source: ${why}.`, {
      fix,
      details: { table, ...details },
    });
  }
}

function sameRow(a: Row, b: Row): boolean {
  return a.length === b.length && a.every((value, index) => sameValue(value, b[index] ?? null));
}

function sameValue(a: Value, b: Value): boolean {
  return isTagged(a) && isTagged(b) ? a[0] === b[0] && a[1] === b[1] : a === b;
}
