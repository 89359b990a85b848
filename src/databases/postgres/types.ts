import { type ColumnType, isMixed } from "../../core/column-type.ts";
import { isTagged, ownText, type Value } from "../../core/value.ts";

/** The `database` of our native column types. */
export const KIND = "postgres";

/** A type as pg_type shows it, domains already followed to their base. */
export interface CatalogType {
  /** typname. */
  readonly name: string;
  /** Is it in pg_catalog? A user's type may have a built-in one's name. */
  readonly builtIn: boolean;
  /** typtype: b base, c composite, e enum, p pseudo, r range, m multirange. */
  readonly class: string;
  readonly modifier: number;
  /** format_type without the modifier, under search_path pg_catalog. */
  readonly bare: string;
  readonly labels: readonly string[];
  /** server_version_num. */
  readonly server: number;
}

/**
 * Before PostgreSQL 15 a "char" of more than 127 is printed as a byte of no encoding, and `\\351` is read as a backslash
 * (seen on 13 and 14). `server`: server_version_num.
 */
export function printsEveryChar(server: number): boolean {
  return server >= 150_000;
}

type Mapper = (modifier: number) => ColumnType;

const BUILT_IN: Readonly<Record<string, Mapper>> = {
  bool: () => ({ kind: "boolean" }),
  int2: () => ({ kind: "integer", bits: 16 }),
  int4: () => ({ kind: "integer", bits: 32 }),
  int8: () => ({ kind: "integer", bits: 64 }),
  oid: () => ({ kind: "integer", bits: 32, unsigned: true }),
  numeric: decimalType,
  float4: () => ({ kind: "float", bits: 32 }),
  float8: () => ({ kind: "float", bits: 64 }),
  text: () => ({ kind: "text" }),
  varchar: (modifier) =>
    modifier < 4 ? { kind: "text" } : { kind: "text", maxLength: modifier - 4 },
  bpchar: (modifier) =>
    modifier < 4 ? { kind: "text" } : { kind: "text", maxLength: modifier - 4, fixed: true },
  // One byte; from 128 on it is printed as `\\351`.
  char: () => ({ kind: "text", maxLength: 4 }),
  name: () => ({ kind: "text", maxLength: 63 }),
  bytea: () => ({ kind: "bytes" }),
  date: () => ({ kind: "date" }),
  time: (modifier) => ({ kind: "time", ...precision(modifier) }),
  timetz: (modifier) => ({ kind: "timetz", ...precision(modifier) }),
  timestamp: (modifier) => ({ kind: "timestamp", ...precision(modifier) }),
  timestamptz: (modifier) => ({ kind: "timestamptz", ...precision(modifier) }),
  interval: () => ({ kind: "interval" }),
  json: () => ({ kind: "json" }),
  jsonb: () => ({ kind: "json" }),
  uuid: () => ({ kind: "uuid" }),
  bit: (modifier) => ({ kind: "bit", length: Math.max(1, modifier) }),
  varbit: (modifier) =>
    modifier < 1
      ? { kind: "bit", varying: true }
      : { kind: "bit", length: modifier, varying: true },
};

function precision(modifier: number): { readonly precision?: number } {
  return modifier < 0 ? {} : { precision: modifier };
}

function decimalType(modifier: number): ColumnType {
  if (modifier < 4) return { kind: "decimal" };
  const digits = ((modifier - 4) >> 16) & 0xffff;
  const scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
  // PostgreSQL 15 allows a scale below zero (rounded to thousands) or beyond the digits (0.00123).
  if (scale < 0) return { kind: "decimal", precision: digits - scale, scale: 0 };
  return { kind: "decimal", precision: Math.max(digits, scale), scale };
}

/** What a column of this type means; null when we cannot carry it. */
export function columnTypeOf(type: CatalogType): ColumnType | null {
  if (type.builtIn && type.name === "char" && !printsEveryChar(type.server)) return null;
  if (type.builtIn) {
    const mapper = BUILT_IN[type.name];
    if (mapper) return mapper(type.modifier);
  }
  if (type.class === "e") return { kind: "enum", values: type.labels };
  if (type.class === "p") return null;
  if (!type.builtIn && type.name === "citext") return { kind: "text" };
  return { kind: "native", database: KIND, name: type.bare };
}

const MAX_VARCHAR = 10_485_760;
const MAX_PRECISION = 1000;

/** The DDL type for a neutral type that comes from another kind of database. */
export function ddlType(type: ColumnType): string {
  switch (type.kind) {
    case "boolean":
      return "boolean";
    case "integer":
      return integerType(type.bits, type.unsigned ?? false);
    case "decimal":
      return type.precision === undefined || type.precision > MAX_PRECISION
        ? "numeric"
        : `numeric(${type.precision},${type.scale ?? 0})`;
    case "float":
      return type.bits === 32 ? "real" : "double precision";
    case "text":
      // char(n) pads with spaces that other databases do not have.
      return type.maxLength === undefined || type.maxLength > MAX_VARCHAR || type.maxLength < 1
        ? "text"
        : `character varying(${type.maxLength})`;
    case "bytes":
      return "bytea";
    case "date":
      return "date";
    case "time":
      return withPrecision("time", type.precision, " without time zone");
    case "timetz":
      return withPrecision("time", type.precision, " with time zone");
    case "timestamp":
      return withPrecision("timestamp", type.precision, " without time zone");
    case "timestamptz":
      return withPrecision("timestamp", type.precision, " with time zone");
    case "interval":
      return "interval";
    case "json":
      return "json";
    case "uuid":
      return "uuid";
    case "bit":
      return type.varying || type.length === undefined
        ? `bit varying${type.length === undefined ? "" : `(${type.length})`}`
        : `bit(${type.length})`;
    case "enum":
    case "native":
      return "text";
  }
}

function integerType(bits: number, unsigned: boolean): string {
  if (unsigned && bits === 64) return "numeric(20,0)";
  const needed = unsigned ? bits + 1 : bits;
  if (needed <= 16) return "smallint";
  return needed <= 32 ? "integer" : "bigint";
}

function withPrecision(base: string, digits: number | undefined, zone: string): string {
  return digits === undefined || digits > 6 ? `${base}${zone}` : `${base}(${digits})${zone}`;
}

/** From PostgreSQL's own text to canonical text: only bytes differ (`\x00ff`). */
export function isBytes(type: ColumnType): boolean {
  return type.kind === "bytes";
}

/** From canonical text to what PostgreSQL reads. Markers are the caller's business. */
export function toNative(value: Value, type: ColumnType): string | null {
  if (value === null) return null;
  if (isTagged(value)) return isMixed(type) ? ownText(value) : null;
  if (typeof value !== "string") return null;
  return type.kind === "bytes" ? `\\x${value}` : value;
}
