import type { ColumnType } from "./column-type.ts";
import type { TableName } from "./table.ts";
import type { Row } from "./value.ts";

/**
 * The shape of a captured table's rows at one time. A change names its layout by id, so that a row
 * logged before a schema change is still read by the columns it was written with.
 * Ids are unique within a timeline of a source.
 */
export interface Layout {
  readonly id: number;
  readonly table: TableName;
  readonly columns: readonly LayoutColumn[];
  /** Indexes into `columns`: the key. Empty: the table has none, and a key is a whole row. */
  readonly key: readonly number[];
  /** SQL row filters evaluated by the source at capture; `Change.filters[i]` answers `filters[i]`. */
  readonly filters: readonly string[];
}

export interface LayoutColumn {
  readonly name: string;
  readonly type: ColumnType;
  readonly nativeType: string;
  readonly nullable: boolean;
  readonly generated: boolean;
}

/** Does a row pass a filter? Null: the condition raised an error, so the source could not tell. */
export type FilterAnswer = boolean | null;

/** The columns that `Change.keyBefore` holds: of a table without a key, all. */
export function keyColumns({
  key,
  columns,
}: {
  readonly key: readonly number[];
  readonly columns: readonly unknown[];
}): readonly number[] {
  return key.length > 0 ? key : columns.map((_, index) => index);
}

/** The names of the key's columns, in its order; empty where the table has none. */
export function keyNames({
  key,
  columns,
}: {
  readonly key: readonly number[];
  readonly columns: readonly { readonly name: string }[];
}): readonly string[] {
  return key.map((index) => columns[index]?.name ?? "");
}

export type Operation = "insert" | "update" | "delete" | "truncate";

/**
 * One change. A truncate is of all rows; one with a key before is of this row, which stood in a part of the table
 * that was truncated.
 *
 * A key change may come as one update with `keyBefore`, or as an update with
 * `keyBefore` and no row, followed by an insert or update of the row under its new key.
 *
 * One with neither a row nor `keyBefore` (truncate apart) is *unread*: some row was written while the
 * table was no longer as its layout says, so what it holds cannot be told; of a table without a key,
 * nor which row went. The table is to be copied anew.
 */
export interface Change {
  readonly layout: number;
  readonly op: Operation;
  /**
   * Key values (order of `keyColumns`): always for delete; for truncate of a part; for update only if the key changed, and
   * always where the table has no key.
   */
  readonly keyBefore: Row | null;
  /** The whole row after, in `Layout.columns` order; null for delete, truncate and a key given up. */
  readonly row: Row | null;
  /** The whole row before, where captured. */
  readonly rowBefore: Row | null;
  /** For each filter of the layout: does the row after pass it? Empty when the layout has none. */
  readonly filters: readonly FilterAnswer[];
  /** The source's transaction id as text, null where the source cannot tell. */
  readonly transaction: string | null;
  /** The database in which the change was first made; null when that is this source. */
  readonly origin: string | null;
  /** Databases the change has passed, oldest first; empty when made here. */
  readonly hops: readonly string[];
}

/** What all changes of one transaction have in common. */
export type TransactionOf = Pick<Change, "transaction" | "origin" | "hops">;

/** Was some row written of which nothing can be told? */
export function isUnread({ op, keyBefore, row }: Change): boolean {
  return row === null && keyBefore === null && op !== "truncate";
}

/** What is left of a change of which its layout no longer tells what it holds: its key, where there is one. */
export function unread(change: Change, { key }: Pick<Layout, "key">): Change {
  const keyBefore = key.length > 0 ? change.keyBefore : null;
  return { ...change, keyBefore, row: null, rowBefore: null, filters: [] };
}
