import { keyNames } from "../../core/change.ts";
// Captured tables that no sync of this config carries: capture is additive (decision 0007).
import type { Logger } from "../../core/log.ts";
import { formatTable, sameTable } from "../../core/table.ts";
import type { CapturedColumn, CaptureSpec } from "./capture-row.ts";
import { blindFunctions, functionStatements } from "./capture-sql.ts";
import { chooseKey, type FoundColumn, loadColumns, type UniqueKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { sqlState } from "./errors.ts";
import {
  type ColumnIdentity,
  endReading,
  exchangedKey,
  fits,
  noteFacts,
  type StoredLayout,
  type TableState,
} from "./layouts.ts";
import { chooseShapes } from "./shape.ts";

const INSUFFICIENT_PRIVILEGE = "42501";

/** What the relay answers for, so that it stops where nobody can tell what was logged. */
export interface Answerable {
  /** Is a table captured by it now that some sync of the config carries? */
  isInForce(layout: StoredLayout): boolean;
  /** Takes note that rows have gone which nobody logged. False: some sync carries the table, and must be told. */
  lose(layout: StoredLayout): boolean;
}

/** The newest layout of each table, in force or not, but for the tables with these oids. */
export function uncarriedLayouts(
  layouts: Iterable<StoredLayout>,
  carried: { has(oid: string): boolean },
): readonly StoredLayout[] {
  const newest = new Map([...layouts].map((layout) => [layout.oid, layout]));
  return [...newest.values()].filter(({ oid }) => !carried.has(oid));
}

/**
 * Nobody stops for these tables, nor is anybody asked whether what they have become fits. So their application's writes
 * go on, what is logged of one that was altered is unread, and it is copied anew by whoever carries it again.
 */
export class Uncarried {
  readonly #connection: Connection;
  readonly #logger: Logger;
  readonly #onChange: (layout: StoredLayout) => void;
  readonly #layouts = new Map<string, StoredLayout>();
  /** Functions that are not this role's to replace. */
  readonly #refused = new Set<number>();

  /** `onChange`: is told how a layout is to be read from now on. */
  constructor(connection: Connection, logger: Logger, onChange: (layout: StoredLayout) => void) {
    this.#connection = connection;
    this.#logger = logger;
    this.#onChange = onChange;
  }

  get oids(): readonly string[] {
    return [...this.#layouts.keys()];
  }

  watch(layouts: readonly StoredLayout[]): void {
    this.#layouts.clear();
    for (const layout of layouts) this.#layouts.set(layout.oid, layout);
  }

  /** Of the table, rows have gone that nobody logged: whoever carries it again is told. */
  async lose(oid: string): Promise<void> {
    const layout = this.#layouts.get(oid);
    if (layout !== undefined && !layout.blind) await this.#note(layout, { blind: true });
  }

  /** Keeps them writable. Gives the layouts that no longer say what is logged. */
  async keepWritable(
    states: ReadonlyMap<string, TableState>,
    uniques: ReadonlyMap<string, readonly UniqueKey[]>,
  ): Promise<readonly StoredLayout[]> {
    const altered: string[] = [];
    for (const [oid, layout] of this.#layouts) {
      const state = states.get(oid);
      if (state !== undefined) await this.#keep(layout, state);
      if (!isAsCaptured(layout, state, uniques.get(oid) ?? [])) altered.push(oid);
    }
    return altered.map((oid) => this.#layouts.get(oid) as StoredLayout);
  }

  /** What is cut from now on of these is unread. */
  async endReading(layouts: readonly StoredLayout[]): Promise<void> {
    const open = layouts.filter(({ readUpTo }) => readUpTo === null);
    if (open.length === 0) return;
    const upTo = await endReading(
      this.#connection,
      open.map(({ id }) => id),
    );
    for (const layout of open) {
      this.#logger.warn(
        { table: formatTable(layout.table) },
        "a captured table that no sync of this config carries was altered: it is copied anew when one does",
      );
      this.#set({ ...layout, readUpTo: upTo.get(layout.id) ?? 0 });
    }
  }

  async #keep(layout: StoredLayout, { columns }: TableState): Promise<void> {
    if (exchangedKey(layout, columns) !== null) await this.lose(layout.oid);
    if (this.#refused.has(layout.id) || columnsStand(layout, columns)) return;
    const connection = this.#connection;
    const spec = await keyOnly(connection, layout, columns);
    const functions = spec.isBlind ? blindFunctions(spec) : functionStatements(spec);
    try {
      await connection.transaction("BEGIN", async () => {
        await connection.script(functions.join(";\n"));
        await this.#note(layout, { kept: columns, blind: layout.blind || spec.isBlind });
      });
    } catch (error) {
      if (sqlState(error) !== INSUFFICIENT_PRIVILEGE) throw error;
      this.#refused.add(layout.id);
    }
  }

  async #note(layout: StoredLayout, facts: Partial<Pick<StoredLayout, "kept" | "blind">>) {
    await noteFacts(this.#connection, layout.id, facts);
    this.#set({ ...(this.#layouts.get(layout.oid) ?? layout), ...facts });
  }

  #set(layout: StoredLayout): void {
    this.#layouts.set(layout.oid, layout);
    this.#onChange(layout);
  }
}

/** Is what is logged what the layout says? */
function isAsCaptured(
  layout: StoredLayout,
  state: TableState | undefined,
  uniques: readonly UniqueKey[],
): boolean {
  if (state === undefined || !sameTable(state.name, layout.table)) return false;
  return (
    fits(layout, state.columns) &&
    JSON.stringify(chooseKey(uniques)) === JSON.stringify(keyNames(layout))
  );
}

/** Do the columns that the functions name go by these names, and have the types for which sessions have planned them? */
export function columnsStand(layout: StoredLayout, now: readonly ColumnIdentity[]): boolean {
  const was = JSON.parse(layout.signature) as ColumnIdentity[];
  const isWhole = layout.wholeRow || layout.kept !== null;
  const named = isWhole ? layout.key : layout.columns.keys();
  const [standing, live] = [asNamed(layout.kept ?? was), asNamed(now)];
  const numbers = new Map(was.map(([number, name]) => [name, number]));
  return [...named].every((index) => {
    const number = numbers.get(layout.columns[index]?.name ?? "") ?? 0;
    return standing.get(number) === live.get(number);
  });
}

function asNamed(columns: readonly ColumnIdentity[]): ReadonlyMap<number, string> {
  return new Map(columns.map(([number, name, type]) => [number, `${name} ${type}`]));
}

/** How to log the keys alone, by the names that their columns have now; `isBlind`: one of these is gone. */
async function keyOnly(
  connection: Connection,
  layout: StoredLayout,
  now: readonly ColumnIdentity[],
): Promise<CaptureSpec & { readonly isBlind: boolean }> {
  const { id, oid, table, shape, only } = layout;
  const was = JSON.parse(layout.signature) as ColumnIdentity[];
  const numbers = new Map(was.map(([number, name]) => [name, number]));
  const found = (await loadColumns(connection, [oid])).get(oid) ?? [];
  const shapes = await chooseShapes(connection, [oid]);
  const columns = layout.key.flatMap((index): CapturedColumn[] => {
    const { name, type } = layout.columns[index] as StoredLayout["columns"][number];
    const column = found.find(({ number }) => number === numbers.get(name));
    return column === undefined ? [] : [{ ...(column as FoundColumn), type: column.type ?? type }];
  });
  return {
    ...{ oid, table, layout: id, shape, only, columns, filters: [], filterColumns: [] },
    partitioned: shapes.get(oid)?.partitioned ?? false,
    isReadable: false,
    liveColumns: now.map(([, name]) => name),
    key: columns.map(({ name }) => name),
    isBlind: columns.length < layout.key.length,
  };
}
