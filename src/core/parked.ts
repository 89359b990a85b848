import type { ColumnType } from "./column-type.ts";
import { TidemarkError } from "./errors.ts";
import type { TableName } from "./table.ts";
import type { BoundTable } from "./target.ts";
import type { Value } from "./value.ts";

/**
 * Rows set aside (`onError: park`), in a table of ours at the target: at most one for each key, the
 * newest state of that row at the source. See docs/decisions/0019-parked-rows.md.
 */
export interface ParkedEntry {
  readonly sync: string;
  /** Hash of table and key: names the row on the command line. */
  readonly id: string;
  /** Source table, as formatTable gives it. */
  readonly table: string;
  /** The key by its columns at the target, as JSON. */
  readonly key: string;
  /** Why: the code of the error, and its text. */
  readonly code: string;
  readonly message: string;
  /** Batch of the state that is set aside. */
  readonly batch: number;
  /** Since when the row is set aside, and when that state came; ISO 8601. */
  readonly parkedAt: string;
  readonly changedAt: string;
  /** How many changes of the row have come and gone to here since. */
  readonly changes: number;
}

export interface ParkedRow extends ParkedEntry {
  /** Name at the target to value, before any transform; as JSON it is what is stored. */
  readonly row: Readonly<Record<string, Value>>;
}

/** What a target tells of its parked rows. They are written by the applier, as rows of a table like any other. */
export interface ParkedRows {
  readonly table: TableName;
  /** Of one sync, or of all (null), oldest first; without the rows themselves, which may be large. */
  list(sync: string | null): Promise<readonly ParkedEntry[]>;
  read(sync: string, id: string): Promise<ParkedRow | null>;
}

const TEXT: ColumnType = { kind: "text" };
const NUMBER: ColumnType = { kind: "integer", bits: 64 };

/** The columns of the table, in the order in which `list` and `read` select them; the row last. */
const PARKED_COLUMNS = [
  { name: "sync", type: TEXT },
  { name: "id", type: TEXT },
  { name: "source_table", type: TEXT },
  { name: "row_key", type: TEXT },
  { name: "code", type: TEXT },
  { name: "message", type: TEXT },
  { name: "batch", type: NUMBER },
  { name: "parked_at", type: TEXT },
  { name: "changed_at", type: TEXT },
  { name: "changes", type: NUMBER },
  { name: "row_data", type: TEXT },
] as const;

const NAMES = PARKED_COLUMNS.map(({ name }) => name);

/** For `list`, and for `read`; none of them needs quotes in any database. */
export const ENTRY_COLUMNS = NAMES.slice(0, -1).join(", ");
export const ROW_COLUMNS = NAMES.join(", ");

export function boundParked(name: TableName): BoundTable {
  return {
    name,
    columns: PARKED_COLUMNS,
    key: [0, 1],
    parents: [],
    cascades: false,
    followed: false,
  };
}

/** From the cells of a row in the order of {@link ENTRY_COLUMNS}. */
export function parkedEntry(cells: readonly unknown[]): ParkedEntry {
  const text = cells.map(String);
  const [sync = "", id = "", table = "", key = "", code = "", message = ""] = text;
  const [batch, parkedAt = "", changedAt = "", changes] = text.slice(6);
  return {
    ...{ sync, id, table, key, code, message, parkedAt, changedAt },
    batch: Number(batch),
    changes: Number(changes),
  };
}

/** From the cells of a row in the order of {@link ROW_COLUMNS}. */
export function parkedRow(cells: readonly unknown[]): ParkedRow {
  const data = cells[PARKED_COLUMNS.length - 1];
  if (typeof data !== "string") {
    throw new TidemarkError("TM-INTERNAL", "A parked row was read without its data.");
  }
  return { ...parkedEntry(cells), row: JSON.parse(data) };
}
