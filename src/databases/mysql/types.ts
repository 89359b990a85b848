import type { ColumnType } from "../../core/column-type.ts";

/** `kind` of this adapter, and `database` of its native types. */
export const KIND = "mysql";

/** A column as information_schema shows it. */
export interface NativeColumn {
  readonly name: string;
  /** `varchar`, `bigint`, `timestamp` … without length. */
  readonly dataType: string;
  /** With length and attributes: `bigint(20) unsigned zerofill`. */
  readonly columnType: string;
  readonly precision: number | null;
  readonly scale: number | null;
  readonly length: number | null;
  readonly datetimePrecision: number | null;
  readonly charset: string | null;
  readonly collation: string | null;
  readonly nullable: boolean;
  readonly hasDefault: boolean;
  /** Is the default a date that no calendar has? */
  readonly zeroDate: boolean;
  /** Of MariaDB: the sequence that the default takes a number from, as the server quotes it. */
  readonly sequence: string | null;
  readonly generated: boolean;
  /** Is it computed each time it is read? */
  readonly virtual: boolean;
  /** What a generated one is computed by. */
  readonly expression: string | null;
  readonly identity: boolean;
  /** Set by the server when the row is updated: ON UPDATE CURRENT_TIMESTAMP. */
  readonly stamped: boolean;
  /** A LONGTEXT that a json_valid check makes what MariaDB calls JSON. */
  readonly json: boolean;
}

const INTEGER_BITS: Readonly<Record<string, 8 | 16 | 24 | 32 | 64>> = {
  tinyint: 8,
  smallint: 16,
  mediumint: 24,
  int: 32,
  bigint: 64,
};

const TEXT_TYPES = new Set(["tinytext", "text", "mediumtext", "longtext"]);
const BLOB_TYPES = new Set(["tinyblob", "blob", "mediumblob", "longblob"]);
const GEOMETRY_TYPES = new Set([
  ...["geometry", "point", "linestring", "polygon", "multipoint", "multilinestring"],
  ...["multipolygon", "geometrycollection", "geomcollection"],
]);

/** The meaning of a column; null when we cannot carry it. */
export function neutralType(column: NativeColumn): ColumnType | null {
  const { dataType } = column;
  const integer = INTEGER_BITS[dataType];
  if (integer !== undefined) {
    // tinyint(1) is a number that may hold 0 to 255: nothing says that it is a boolean.
    return { kind: "integer", bits: integer, ...(isUnsigned(column) ? { unsigned: true } : {}) };
  }
  if (column.json || dataType === "json") return { kind: "json" };
  if (TEXT_TYPES.has(dataType)) return { kind: "text" };
  if (BLOB_TYPES.has(dataType)) return { kind: "bytes" };
  if (GEOMETRY_TYPES.has(dataType)) return native(dataType);
  const precision = column.datetimePrecision ?? 0;
  const length = column.length ?? 0;
  switch (dataType) {
    case "decimal":
      return { kind: "decimal", precision: column.precision ?? 10, scale: column.scale ?? 0 };
    case "float":
      return { kind: "float", bits: 32 };
    case "double":
      return { kind: "float", bits: 64 };
    case "varchar":
      return { kind: "text", maxLength: length };
    case "char":
      return { kind: "text", maxLength: length, fixed: true };
    case "varbinary":
      return { kind: "bytes", maxLength: length };
    case "binary":
      return { kind: "bytes", maxLength: length, fixed: true };
    case "date":
      return { kind: "date" };
    case "time":
      return { kind: "time", precision };
    case "datetime":
      return { kind: "timestamp", precision };
    case "timestamp":
      return { kind: "timestamptz", precision };
    case "year":
      return { kind: "integer", bits: 16 };
    case "bit":
      return { kind: "bit", length: column.precision ?? 1 };
    case "enum":
      return { kind: "enum", values: labels(column.columnType) };
    case "uuid":
      return { kind: "uuid" };
    case "set":
      return native(column.columnType);
    case "inet4":
    case "inet6":
      return native(dataType);
    default:
      return null;
  }
}

/** The type as DDL spells it, with the collation, since that decides which texts are equal. */
export function nativeTypeName(column: NativeColumn): string {
  if (column.json) return "json";
  // MySQL shows the short name, which MariaDB does not know.
  if (column.dataType === "geomcollection") return "geometrycollection";
  return column.collation === null || column.charset === null || column.dataType === "json"
    ? column.columnType
    : `${column.columnType} character set ${column.charset} collate ${column.collation}`;
}

/** A native type without character set and collation. */
export function bareType(nativeType: string): string {
  return nativeType.replace(/ character set \S+ collate \S+$/, "");
}

/** The labels of `enum('a','b''c')`. */
export function labels(columnType: string): string[] {
  return [...columnType.matchAll(/'((?:[^']|'')*)'/g)].map((match) =>
    (match[1] ?? "").replaceAll("''", "'"),
  );
}

export function isGeometry(type: ColumnType): boolean {
  return type.kind === "native" && type.database === KIND && GEOMETRY_TYPES.has(type.name);
}

function isUnsigned(column: NativeColumn): boolean {
  return column.columnType.includes("unsigned");
}

function native(name: string): ColumnType {
  return { kind: "native", database: KIND, name };
}
