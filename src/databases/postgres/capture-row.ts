// How a row of a captured table, and its key, are printed and compared in SQL.
import type { ColumnType } from "../../core/column-type.ts";
import type { TableName } from "../../core/table.ts";
import { OUR_SCHEMA, quoteIdentifier, quoteLiteral } from "./identifiers.ts";
import type { Shape } from "./shape.ts";

/** Everything the DDL of one table's capture depends on. */
export interface CaptureSpec {
  readonly oid: string;
  readonly table: TableName;
  readonly layout: number;
  readonly shape: Shape;
  readonly partitioned: boolean;
  readonly only: boolean;
  /** Else rows that come are logged without what they hold; see writable.ts. */
  readonly isReadable: boolean;
  /** All live columns, in table order. */
  readonly liveColumns: readonly string[];
  /** Those to log, in table order. */
  readonly columns: readonly CapturedColumn[];
  /** Empty: the table has none, so that each change logs the whole row before. */
  readonly key: readonly string[];
  readonly filters: readonly string[];
  /** Columns, captured or not, that the filters may speak of. */
  readonly filterColumns: readonly (NamedType & {
    readonly name: string;
    readonly nativeType: string;
  })[];
}

export interface NamedType {
  /** Without modifier. */
  readonly bareType: string;
  /** Null of the server's own. */
  readonly typeSchema: string | null;
}

export interface CapturedColumn extends NamedType {
  readonly name: string;
  readonly type: ColumnType;
  readonly equals: string;
}

const TEXT = "pg_catalog.text";
const EQUALS = "OPERATOR(pg_catalog.=)";
const UNREAD = `NULL::${TEXT}`;

/**
 * The text of the row as it is logged; the first field that does not fit a layout is schema drift.
 * A row of the table, read or given to a row trigger, has the table's own type, for which the table's
 * owner can make a cast to text: a function that would run with our rights. So it is printed by the
 * type's output function. A row of a transition table has no type of its own.
 */
export function rowText(spec: CaptureSpec, alias: string): string {
  if (!spec.isReadable) return UNREAD;
  if (spec.shape !== "statement") return standingRowText(spec, alias);
  return isWholeRow(spec) ? `${alias}::${TEXT}` : loggedColumns(spec, alias);
}

/** Of a row that has the table's own type. */
export function standingRowText(spec: CaptureSpec, alias: string): string {
  if (!spec.isReadable) return UNREAD;
  if (!isWholeRow(spec)) return loggedColumns(spec, alias);
  return `pg_catalog.textin(pg_catalog.record_out(${alias}))`;
}

function loggedColumns(spec: CaptureSpec, alias: string): string {
  return rowOf(
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

export function keyColumns(spec: CaptureSpec): readonly CapturedColumn[] {
  return spec.columns.filter(({ name }) => spec.key.includes(name));
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
      const column = columnNamed(spec, name);
      const [one, other] = [alias, row].map((of) =>
        compared(`${of}.${quoteIdentifier(name)}`, column),
      );
      return `${one} ${column?.equals ?? "="} ${other}`;
    })
    .join(" AND ");
}

/** As {@link sameKey}, for a function without a search_path. */
export function equalKeys(spec: CaptureSpec, one: string, other: string): string {
  return spec.key
    .map((name) => {
      const column = columnNamed(spec, name);
      const [left, right] = [one, other].map((of) =>
        compared(`${of}.${quoteIdentifier(name)}`, column),
      );
      return `${left} ${operatorOf(column)} ${right}`;
    })
    .join(" AND ");
}

/** Of keys that are equal, which may print differently all the same: see {@link keyChanged}. */
export function printTheSame(spec: CaptureSpec, one: string, other: string): string {
  return `${keyText(spec, one)} ${EQUALS} ${keyText(spec, other)}`;
}

/**
 * Keys that are equal may print differently (1.0 and 1.00, 0 and -0, 1 month and 30 days, 'a' and 'A' by a collation),
 * and be two to a target that keeps texts. Texts alone would not do for all: a session may print floats cut short.
 */
export function keyChanged(spec: CaptureSpec): string {
  if (spec.key.length === 0) return "true";
  return spec.key
    .flatMap((name) => {
      const [one, other] = ["OLD", "NEW"].map((row) => `${row}.${quoteIdentifier(name)}`);
      const column = columnNamed(spec, name);
      if (column !== undefined && isUsersType(column))
        return [`pg_catalog.record_image_ne(ROW(${one}), ROW(${other}))`];
      const differ = `${one} IS DISTINCT FROM ${other}`;
      const printDiffer = `${one}::text COLLATE "C" IS DISTINCT FROM ${other}::text COLLATE "C"`;
      // The blanks at the end of a bpchar, which that cast takes away and the log keeps.
      const lengths = [one, other].map((each) => `pg_catalog.octet_length(${each})`);
      const blanksDiffer = lengths.join(" IS DISTINCT FROM ");
      switch (column?.type.kind) {
        case "text":
          return column.bareType === "bpchar" ? [printDiffer, blanksDiffer] : [printDiffer];
        case "decimal":
        case "float":
        case "interval":
        case "json":
          return [differ, printDiffer];
        case "native":
          return [`NOT ${one} ${EQUALS} ${other}`, printDiffer];
        default:
          return [differ];
      }
    })
    .join(" OR ");
}

/**
 * Anyone may have made it, with a cast to text, by which a function of his would run with our rights: so it is compared
 * byte by byte, which asks for no operator either. An extension's may be among them, and every enum.
 */
function isUsersType({ bareType }: Pick<CapturedColumn, "bareType">): boolean {
  return bareType.includes(".");
}

/** A value, to be compared: of a domain over an enum the server has no operator, but of what it is over. */
export function compared(
  value: string,
  column: Pick<CapturedColumn, "bareType"> | undefined,
): string {
  return column !== undefined && isUsersType(column) ? `${value}::${column.bareType}` : value;
}

/** Where these types stand, as far as they are not the server's own. Whoever names one needs USAGE there. */
export function typeSchemas(types: readonly NamedType[]): readonly string[] {
  return [...new Set(types.flatMap(({ typeSchema }) => typeSchema ?? []))];
}

/** What our functions name: {@link compared} those of the key, the function of the conditions those of its variables. */
export function namedTypes(spec: CaptureSpec): readonly NamedType[] {
  return [...keyColumns(spec), ...spec.filterColumns];
}

/** The columns that these conditions may speak of. A name that stands there by accident costs a little. */
export function namedIn<T extends { readonly name: string }>(
  filters: readonly string[],
  columns: readonly T[],
): readonly T[] {
  const text = filters.join("\n").toLowerCase();
  return columns.filter(({ name }) => text.includes(quotedOrPlain(name)));
}

/** As it stands in SQL, lower case: quotes in it are doubled. */
function quotedOrPlain(name: string): string {
  return name.replaceAll('"', '""').toLowerCase();
}

/**
 * By these a type of one's own still goes by the name that our functions give it. Where it was renamed or moved, or USAGE on
 * its schema revoked, which is asked first, as nothing may be looked up without, the application's writes must go on.
 */
export function areNameable(types: readonly NamedType[]): readonly string[] {
  const schemas = new Map(types.map(({ bareType, typeSchema }) => [bareType, typeSchema]));
  return [...schemas].flatMap(([type, schema]) =>
    schema === null
      ? []
      : [
          `coalesce(pg_catalog.has_schema_privilege(${schemaOid(schema)}, 'USAGE'), false)`,
          `pg_catalog.to_regtype(${quoteLiteral(type)}) IS NOT NULL`,
        ],
  );
}

/** Null where the schema has another name by now. */
export function schemaOid(name: string): string {
  return `pg_catalog.to_regnamespace(${quoteLiteral(quoteIdentifier(name))})::pg_catalog.oid`;
}

/** It finds its operator without a search_path. */
export function operatorOf(column: Pick<CapturedColumn, "equals"> | undefined): string {
  const own = column?.equals ?? "=";
  return own === "=" ? EQUALS : own;
}

function columnNamed(spec: CaptureSpec, name: string): CapturedColumn | undefined {
  return spec.columns.find((column) => column.name === name);
}

/** The function of ours for a table, by its part. */
export function functionName(oid: string, event?: string): string {
  return event === undefined ? `capture_${oid}` : `capture_${event}_${oid}`;
}

/** The oid of the table that a function of ours is for; null where it is for all. */
export function capturedBy(functionName: string): string | null {
  return /^capture_(?:[a-z]+_)?(\d+)$/.exec(functionName)?.[1] ?? null;
}

export function qualified(name: string): string {
  return `${OUR_SCHEMA}.${name}`;
}

/** A letter for each filter, of a row of the table: by a function, which catches what a condition raises. */
export function filterLetters(oid: string, row: string): string {
  return `${qualified(functionName(oid, "filters"))}(${row})`;
}

/** What stands before the row's text. What the function's variables are declared by, it cannot catch itself. */
export function letters({ oid, filters, filterColumns }: CaptureSpec, row: string): string {
  if (filters.length === 0) return "";
  const given = filterLetters(oid, row);
  const usable = areNameable(filterColumns);
  if (usable.length === 0) return `${given} || `;
  // Asked once for all rows of a statement.
  return `CASE WHEN (SELECT ${usable.join(" AND ")}) THEN ${given} ELSE '${"e".repeat(filters.length)}' END || `;
}
