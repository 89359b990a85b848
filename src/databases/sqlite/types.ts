import type { ColumnKind, ColumnType } from "../../core/column-type.ts";
import type { Tagged, Value } from "../../core/value.ts";
import { BrokenText, type Cell } from "./cells.ts";

/** How a column converts what is stored in it: https://sqlite.org/datatype3.html section 3.1. */
export type Affinity = "integer" | "text" | "none" | "real" | "numeric";

/** A STRICT table's ANY converts nothing; elsewhere the word has no meaning of its own. */
export function affinityOf(declared: string, strict = false): Affinity {
  const type = declared.toUpperCase();
  if (strict && type === "ANY") return "none";
  if (type.includes("INT")) return "integer";
  if (/CHAR|CLOB|TEXT/.test(type)) return "text";
  if (type === "" || type.includes("BLOB")) return "none";
  if (/REAL|FLOA|DOUB/.test(type)) return "real";
  return "numeric";
}

/** By the first word of the declared type, for types whose affinity is NUMERIC. */
const BY_NAME: Readonly<Record<string, ColumnType>> = {
  BOOLEAN: { kind: "boolean" },
  BOOL: { kind: "boolean" },
  DATE: { kind: "date" },
  TIME: { kind: "time" },
  DATETIME: { kind: "timestamp" },
  TIMESTAMP: { kind: "timestamp" },
  DECIMAL: { kind: "decimal" },
  NUMERIC: { kind: "decimal" },
  UUID: { kind: "uuid" },
  JSON: { kind: "json" },
};

/**
 * What a declared type means. SQLite enforces neither lengths nor digits, so `VARCHAR(10)` is text
 * of any length. A type it has no rule for may hold anything: `native(sqlite …)`, every value of
 * which travels with its storage class.
 */
export function columnTypeOf(declared: string, strict = false): ColumnType {
  const affinity = affinityOf(declared, strict);
  if (affinity === "integer") return { kind: "integer", bits: 64 };
  if (affinity === "text") return { kind: "text" };
  if (affinity === "real") return { kind: "float", bits: 64 };
  if (affinity === "none" && /BLOB/i.test(declared)) return { kind: "bytes" };
  const word = /^\w+/.exec(declared.toUpperCase())?.[0] ?? "";
  return (
    BY_NAME[word] ?? { kind: "native", database: "sqlite", name: declared || "any", mixed: true }
  );
}

/**
 * From a stored value to the canonical text of its column's type; a value of another storage class,
 * or text that is not in the canonical form, travels as Tagged and so reaches a target of the
 * same kind exactly, and is refused by name elsewhere.
 */
export function encodeCell(cell: Cell, kind: ColumnKind): Value {
  if (cell === null) return null;
  return canonical(cell, kind) ?? tag(cell);
}

function canonical(cell: Exclude<Cell, null>, kind: ColumnKind): string | null {
  switch (kind) {
    case "integer":
      return typeof cell === "bigint" ? cell.toString() : null;
    case "text":
      return typeof cell === "string" ? cell : null;
    case "float":
      // The one double that no REAL column can hold stands there as text: so do we write it.
      if (cell === NAN_TEXT) return NAN_TEXT;
      return typeof cell === "number" ? printDouble(cell) : null;
    case "bytes":
      return cell instanceof Uint8Array ? toHex(cell) : null;
    case "boolean":
      if (cell === 1n) return "t";
      return cell === 0n ? "f" : null;
    case "decimal":
      if (typeof cell === "bigint") return cell.toString();
      return typeof cell === "number" ? printPlain(cell) : null;
    case "date":
    case "time":
    case "timestamp":
      return typeof cell === "string" && isCanonicalTime(cell, kind) ? cell : null;
    case "uuid":
      return typeof cell === "string" && UUID.test(cell) ? cell : null;
    case "json":
      // A column declared JSON has made a number of a document that is one.
      if (typeof cell === "bigint") return cell.toString();
      if (typeof cell === "number") return Number.isFinite(cell) ? printDouble(cell) : null;
      return typeof cell === "string" && isJson(cell) ? cell : null;
    default:
      return null;
  }
}

export const NAN_TEXT = "NaN";

/** The value with its storage class. */
export function tag(cell: Exclude<Cell, null>): Tagged {
  if (typeof cell === "bigint") return ["integer", cell.toString()];
  if (typeof cell === "number") return ["real", printDouble(cell)];
  if (typeof cell === "string") return ["text", cell];
  if (cell instanceof BrokenText) return ["text", cell.escaped];
  return ["blob", toHex(cell)];
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** The shortest text that reads back to the same double; JavaScript's own, which prints -0 as 0. */
export function printDouble(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** The same digits without an exponent. */
export function printPlain(value: number): string {
  const text = printDouble(value);
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (match === null) return text;
  const [, sign = "", first = "", rest = "", exponent = "0"] = match;
  const digits = first + rest;
  const point = 1 + Number(exponent);
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`;
  if (point >= digits.length) return sign + digits.padEnd(point, "0");
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const DATE = /^(\d{4})-(\d\d)-(\d\d)$/;
const TIME = /^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?$/;

function isCanonicalTime(text: string, kind: "date" | "time" | "timestamp"): boolean {
  if (kind === "date") return isDate(text);
  if (kind === "time") return TIME.test(text);
  return text[10] === " " && isDate(text.slice(0, 10)) && TIME.test(text.slice(11));
}

/** A day that exists: text that only looks like a date would be refused by every other database. */
function isDate(text: string): boolean {
  const match = DATE.exec(text);
  if (match === null) return false;
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (year === 0 || month < 1 || month > 12 || day < 1) return false;
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  return day <= (days[month - 1] ?? 0);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
