import type { ColumnType } from "../../core/column-type.ts";
import { TidemarkError } from "../../core/errors.ts";
import { isTagged, type Tagged, type Value } from "../../core/value.ts";
import { bytesIn, needsBytes } from "./cells.ts";
import type { Bindable } from "./driver.ts";
import { isUnsigned64 } from "./target-columns.ts";
import { type Affinity, NAN_TEXT, printDouble, printPlain } from "./types.ts";

/** Text whose bytes are not UTF-8: bound as bytes and made text by SQL. */
export class RawText {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** Turns values of one column into what is bound. Throws TM-VALUE-REFUSED, without the value. */
export type Binder = (value: Value) => Bindable | RawText;

export interface BoundColumn {
  readonly table: string;
  readonly name: string;
  readonly type: ColumnType;
  readonly affinity: Affinity;
  /** Of the file's texts. */
  readonly encoding: string;
}

export function binderOf(column: BoundColumn): Binder {
  const plain = plainBinder(column);
  const isUtf8 = column.encoding === "UTF-8";
  return (value) => {
    if (value === null) return null;
    if (typeof value === "string") return isUtf8 ? plain(value) : asText(column, plain(value));
    if (isTagged(value)) return bindTagged(column, value);
    throw refuse(column, "an unchanged value where a value is needed");
  };
}

function asText(column: BoundColumn, bound: Bindable): Bindable | RawText {
  if (typeof bound !== "string" || !needsBytes(column.encoding, bound)) return bound;
  const bytes = bytesIn(column.encoding, bound);
  if (bytes !== null) return new RawText(bytes);
  throw refuse(column, `bytes that are no text in ${column.encoding}`);
}

function plainBinder(column: BoundColumn): (text: string) => Bindable {
  const { type, affinity } = column;
  switch (type.kind) {
    case "boolean":
      return (text) => (text === "t" ? 1n : 0n);
    case "integer": {
      if (affinity === "text" || isUnsigned64(type)) return keep;
      // Half the cost of a BigInt, and the column makes it the same integer.
      const asDouble = affinity === "integer" || affinity === "numeric";
      return (text) => {
        const value = asDouble && text.length <= SAFE_DIGITS ? Number(text) : Number.NaN;
        return Number.isInteger(value) && text !== "" ? value : toInteger(column, text);
      };
    }
    case "float":
      if (affinity === "text") return keep;
      return (text) => (text === NAN_TEXT ? text : toDouble(column, text));
    case "bytes":
      return (text) => Buffer.from(text, "hex");
    case "decimal":
      if (affinity === "text" || affinity === "none") return keep;
      return (text) => toNumeric(column, text);
    case "json":
      return affinity === "numeric" ? jsonNumber : keep;
    default:
      return keep;
  }
}

/**
 * A document that is a number is one in a column declared JSON, too. The engine makes integers of
 * their texts, but reading a fraction it may round.
 */
function jsonNumber(text: string): string | number {
  const value = Number(text);
  const isFraction = !Number.isInteger(value) && Number.isFinite(value);
  return isFraction && printDouble(value) === text ? value : text;
}

function keep(text: string): string {
  return text;
}

/** Any integer of so few characters is exact as a double. */
const SAFE_DIGITS = 15;
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

function toInteger(column: BoundColumn, text: string): bigint {
  const value = /^-?\d+$/.test(text) ? BigInt(text) : INT64_MAX + 1n;
  if (value >= INT64_MIN && value <= INT64_MAX) return value;
  throw refuse(column, "an integer beyond 64 bits");
}

function toDouble(column: BoundColumn, text: string): number {
  const value = Number(text);
  if (text !== "" && !Number.isNaN(value)) return value;
  throw refuse(column, "text that is no number");
}

/** Only numbers that SQLite gives back with the same digits. */
function toNumeric(column: BoundColumn, text: string): bigint | number {
  if (/^-?\d+$/.test(text)) {
    const whole = BigInt(text);
    if (whole >= INT64_MIN && whole <= INT64_MAX && whole.toString() === text) return whole;
  }
  const value = Number(text);
  if (printPlain(value) === text && text !== "NaN") return value;
  throw refuse(column, "digits that SQLite's numbers do not hold; declare the column TEXT");
}

function bindTagged(column: BoundColumn, [storage, text]: Tagged): Bindable | RawText {
  if (storage === "blob") return Buffer.from(text, "hex");
  const { affinity } = column;
  if (storage === "text") {
    if (affinity === "text" || affinity === "none" || !looksNumeric(text)) {
      return asText(column, text);
    }
  } else if (affinity !== "text") {
    const value = storage === "integer" ? BigInt(text) : Number(text);
    const kept =
      affinity === "none" ||
      (typeof value === "bigint" ? affinity !== "real" : keepsReal(affinity, value));
    if (kept) return value;
  }
  throw refuse(column, `a value of class ${storage}, which the column would convert`);
}

/** INTEGER and NUMERIC columns turn a real that is a whole number into an integer. */
function keepsReal(affinity: Affinity, value: number): boolean {
  return affinity === "real" || !Number.isInteger(value) || Math.abs(value) >= 2 ** 63;
}

function looksNumeric(text: string): boolean {
  return /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(text);
}

function refuse(column: BoundColumn, what: string): TidemarkError {
  return new TidemarkError(
    "TM-VALUE-REFUSED",
    `${column.table}.${column.name} cannot hold ${what}.`,
    { details: { table: column.table, column: column.name } },
  );
}
