import type { Change } from "../core/change.ts";
import { isTidemarkError, TidemarkError } from "../core/errors.ts";
import { formatCount } from "../core/format-count.ts";
import { sha256 } from "../core/hash.ts";
import { boundParked, type ParkedEntry, type ParkedRow, type ParkedRows } from "../core/parked.ts";
import { type Row, UNCHANGED, type Value } from "../core/value.ts";
import type { LayoutMapping, RowEffect, SyncTable } from "./mapping.ts";
import { keyText } from "./net-effect.ts";
import { toObject, userRow } from "./user-row.ts";

/** So many rows of a sync may be set aside: where all fail, setting aside is no help, and would fill the target. */
const MAX_PARKED = 10_000;

/** The table of parked rows, as one that the sync writes. */
export function parkedTable(rows: ParkedRows): SyncTable {
  const bound = boundParked(rows.table);
  return {
    source: "",
    rule: { table: "" },
    columns: [],
    types: [],
    key: [],
    bound,
    fingerprint: "",
  };
}

/** Of a parked row, what its next state must know. */
type Standing = Pick<ParkedEntry, "parkedAt" | "changes">;

/**
 * Sets rows aside whose `where`, `filter` or `transform` fails. The newest state of a row is what is
 * set aside, and any later change of its key takes its place: written, gone or set aside anew. So nothing is
 * ever applied out of order, and what is mended at the source mends itself here.
 *
 * What is parked is written as rows of a table, in the transaction of the batch.
 */
export class Parking {
  /** Written beside the tables of the sync. */
  readonly table: SyncTable;
  readonly #sync: string;
  readonly #rows: ParkedRows;
  /** Source table to id. */
  readonly #standing = new Map<string, Map<string, Standing>>();

  private constructor(sync: string, table: SyncTable, rows: ParkedRows) {
    this.table = table;
    this.#sync = sync;
    this.#rows = rows;
  }

  /** For who holds the lease of the sync: what is parked is known from then on. */
  static async open(sync: string, table: SyncTable, rows: ParkedRows): Promise<Parking> {
    const parking = new Parking(sync, table, rows);
    for (const { table: source, id, parkedAt, changes } of await rows.list(sync)) {
      parking.#of(source).set(id, { parkedAt, changes });
    }
    return parking;
  }

  get count(): number {
    let count = 0;
    for (const ids of this.#standing.values()) count += ids.size;
    return count;
  }

  /** Has this table nothing to do with parking? For the hot loop. */
  ignores({ source, rule }: SyncTable): boolean {
    return rule.onError !== "park" && !this.#standing.has(source);
  }

  /** What the change does, as {@link LayoutMapping.effectOf}, and what becomes of the rows set aside. */
  effectsOf(mapping: LayoutMapping, change: Change, batch: number): RowEffect[] {
    try {
      const effect = mapping.effectOf(change);
      return [effect, ...this.#overtaken(effect)];
    } catch (error) {
      const { row } = change;
      const mayPark = isTidemarkError(error, "TM-TRANSFORM-FAILED", "TM-FILTER-FAILED");
      if (!mayPark || row === null || mapping.table.rule.onError !== "park") throw error;
      const aside = mapping.setAside(change, row);
      const parked = this.#park(mapping.table, aside.row, { error, batch });
      return [aside.effect, ...this.#overtaken(aside.effect), parked];
    }
  }

  get ids(): string[] {
    return [...this.#standing.values()].flatMap((ids) => [...ids.keys()]);
  }

  read(id: string): Promise<ParkedRow | null> {
    return this.#rows.read(this.#sync, id);
  }

  /** Tries it again. Throws as effectOf does; the row then stays where it is. */
  retry(parked: ParkedRow, table: SyncTable): RowEffect[] {
    const before = rowOf(parked, table);
    const row = userRow(table, before);
    const key = table.bound.key.map((index) => before[index] ?? null);
    const gone = row === null ? [key] : [];
    const effect = { table, clear: false, fresh: false, moved: false, gone, row };
    return [effect, ...this.drop(parked)];
  }

  drop({ table, id }: Pick<ParkedEntry, "table" | "id">): RowEffect[] {
    return this.#forget(table, [id]);
  }

  #park(
    table: SyncTable,
    row: Row,
    { error, batch }: { readonly error: TidemarkError; readonly batch: number },
  ): RowEffect {
    const { bound, source } = table;
    if (row.includes(UNCHANGED)) throw partial(source);
    const key = bound.key.map((index) => row[index] ?? null);
    const id = idOf(table, key);
    const known = this.#of(source).get(id);
    if (known === undefined && this.count >= MAX_PARKED) throw full(this.#sync, error);
    const changedAt = new Date().toISOString();
    const { parkedAt = changedAt, changes = 0 } = known ?? {};
    this.#of(source).set(id, { parkedAt, changes: changes + 1 });
    const names = bound.columns.map(({ name }) => name);
    const cells = [
      ...[this.#sync, id, source, JSON.stringify(toObject(keyColumns(table), key))],
      ...[error.code, reasonOf(error), String(batch)],
      ...[parkedAt, changedAt, String(changes + 1)],
      JSON.stringify(Object.fromEntries(names.map((name, index) => [name, row[index] ?? null]))),
    ];
    return { ...NOTHING, table: this.table, row: cells };
  }

  /** Whatever comes later of a row takes the place of what was set aside of it. */
  #overtaken({ table, clear, gone, row }: RowEffect): RowEffect[] {
    const standing = this.#standing.get(table.source);
    if (standing === undefined) return [];
    if (clear) return this.#forget(table.source, [...standing.keys()]);
    const keys = [...gone];
    if (row !== null) keys.push(table.bound.key.map((index) => row[index] ?? null));
    return this.#forget(
      table.source,
      keys.map((key) => idOf(table, key)).filter((id) => standing.has(id)),
    );
  }

  #forget(source: string, ids: readonly string[]): RowEffect[] {
    if (ids.length === 0) return [];
    const standing = this.#of(source);
    for (const id of ids) standing.delete(id);
    if (standing.size === 0) this.#standing.delete(source);
    const gone = ids.map((id): Row => [this.#sync, id]);
    return [{ ...NOTHING, table: this.table, gone }];
  }

  #of(source: string): Map<string, Standing> {
    let ids = this.#standing.get(source);
    if (ids === undefined) {
      ids = new Map();
      this.#standing.set(source, ids);
    }
    return ids;
  }
}

const NOTHING = { clear: false, fresh: false, moved: false, gone: [], row: null } as const;

/** 64 bits: two rows of a few thousand will not share one. */
function idOf(table: SyncTable, key: Row): string {
  return sha256(table.source, keyText(table, key)).slice(0, 16);
}

function keyColumns({ bound }: SyncTable): SyncTable["bound"] {
  return { ...bound, columns: bound.key.flatMap((index) => bound.columns[index] ?? []) };
}

function rowOf({ row, table: source }: ParkedRow, { bound }: SyncTable): Row {
  return bound.columns.map(({ name }): Value => {
    const value = row[name];
    if (value !== undefined) return value;
    throw new TidemarkError(
      "TM-TRANSFORM-FAILED",
      `${source}: its parked row has no column "${name}": it was set aside under another config.`,
      {
        fix: "It is replaced when the table is copied anew, which the change of the config began.",
      },
    );
  });
}

/** What the user's own function said belongs beside the row, at the target; not into a log. */
function reasonOf(error: TidemarkError): string {
  const { cause } = error;
  const said = cause instanceof Error ? cause.message : cause === undefined ? "" : String(cause);
  return said === "" ? error.message : `${error.message} ${said}`;
}

function full(sync: string, cause: TidemarkError): TidemarkError {
  return new TidemarkError(
    "TM-PARKED-FULL",
    `${sync} has set ${formatCount(MAX_PARKED)} rows aside, as many as it may; the next one failed with ${cause.code}.`,
    {
      fix: "tidemark parked list shows why. Mend the filter or transform and start again; or tidemark parked drop --all.",
      cause,
      details: { sync },
    },
  );
}

function partial(source: string): TidemarkError {
  return new TidemarkError(
    "TM-TRANSFORM-FAILED",
    `${source}: a row of which only a part was captured cannot be set aside.`,
    {
      fix: "Mend the `filter` or `transform` that fails for it, then start again.",
      details: { table: source },
    },
  );
}
