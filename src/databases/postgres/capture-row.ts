// How a row of a captured table, and its key, are printed and compared in SQL.
import type { ColumnType } from "../../core/column-type.ts";
import type { TableName } from "../../core/table.ts";
import { quoteIdentifier } from "./identifiers.ts";
import type { Shape } from "./shape.ts";

/** Everything the DDL of one table's capture depends on. */
export interface CaptureSpec {
  readonly oid: string;
  readonly table: TableName;
  readonly layout: number;
  readonly shape: Shape;
  readonly partitioned: boolean;
  readonly only: boolean;
  /** All live columns, in table order. */
  readonly liveColumns: readonly string[];
  /** Those to log, in table order. */
  readonly columns: readonly CapturedColumn[];
  /** Empty: the table has none, so that each change logs the whole row before. */
  readonly key: readonly string[];
  readonly filters: readonly string[];
  /** Columns, captured or not, that the filters may speak of. */
  readonly filterColumns: readonly { readonly name: string; readonly nativeType: string }[];
}

export interface CapturedColumn {
  readonly name: string;
  readonly type: ColumnType;
  readonly equals: string;
}

const TEXT = "pg_catalog.text";
const EQUALS = "OPERATOR(pg_catalog.=)";

/**
 * The text of the row as it is logged; the first field that does not fit a layout is schema drift.
 * A row of the table, read or given to a row trigger, has the table's own type, for which the table's
 * owner can make a cast to text: a function that would run with our rights. So it is printed by the
 * type's output function. A row of a transition table has no type of its own.
 */
export function rowText(spec: CaptureSpec, alias: string): string {
  const whole =
    spec.shape === "statement"
      ? `${alias}::${TEXT}`
      : `pg_catalog.textin(pg_catalog.record_out(${alias}))`;
  return isWholeRow(spec)
    ? whole
    : rowOf(
        spec.columns.map((column) => column.name),
        alias,
      );
}

/**
 * Is the row logged as the table has it? Then no column is named, and dropping one never breaks
 * the application's write. Otherwise columns are named: in a partition they may stand in another order.
 */
export function isWholeRow(spec: CaptureSpec): boolean {
  return !spec.partitioned && spec.columns.length === spec.liveColumns.length;
}

export function keyText(spec: CaptureSpec, alias: string): string {
  return spec.key.length === 0 ? rowText(spec, alias) : rowOf(spec.key, alias);
}

function rowOf(names: readonly string[], alias: string): string {
  return `ROW(${names.map((name) => `${alias}.${quoteIdentifier(name)}`).join(", ")})::${TEXT}`;
}

/** Its letter; a condition that is null is not met. */
export function filterText(filter: string): string {
  return `CASE WHEN (${filter}\n) THEN 't' ELSE 'f' END`;
}

/** An alias that is no column's name: a bare alias must mean the whole row. */
export function rowAlias(spec: CaptureSpec): string {
  let alias = "tidemark_row";
  while (spec.liveColumns.includes(alias)) alias += "_";
  return alias;
}

export function sameKey(spec: CaptureSpec, alias: string, row: "OLD" | "NEW"): string {
  return spec.key
    .map((name) => {
      const column = quoteIdentifier(name);
      return `${alias}.${column} ${columnNamed(spec, name)?.equals ?? "="} ${row}.${column}`;
    })
    .join(" AND ");
}

/**
 * The very same key, for a function without a search_path: found by an index, and told by its text from one that a
 * collation holds equal.
 */
export function samePrintedKey(spec: CaptureSpec, one: string, other: string): string {
  const columns = spec.key.map((name) => {
    const column = quoteIdentifier(name);
    const own = columnNamed(spec, name)?.equals ?? "=";
    return `${one}.${column} ${own === "=" ? EQUALS : own} ${other}.${column}`;
  });
  return [...columns, `${keyText(spec, one)} ${EQUALS} ${keyText(spec, other)}`].join(" AND ");
}

/**
 * Texts are compared byte by byte: to a target, keys that a collation holds equal may be two. So is the text of
 * types that may be an extension's, whose operators the closed search_path does not find.
 */
export function keyChanged(spec: CaptureSpec): string {
  if (spec.key.length === 0) return "true";
  return spec.key
    .map((name) => {
      const column = quoteIdentifier(name);
      const kind = columnNamed(spec, name)?.type.kind;
      const exact = kind === "text" || kind === "native" ? `::text COLLATE "C"` : "";
      return `OLD.${column}${exact} IS DISTINCT FROM NEW.${column}${exact}`;
    })
    .join(" OR ");
}

function columnNamed(spec: CaptureSpec, name: string): CapturedColumn | undefined {
  return spec.columns.find((column) => column.name === name);
}
