import { isMixed } from "../../core/column-type.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { BoundTable } from "../../core/target.ts";
import { isTagged, ownText, type Tagged, UNCHANGED, type Value } from "../../core/value.ts";
import { quoteText } from "./identifiers.ts";
import type { TableFacts } from "./table-facts.ts";
import { isGeometry, type NativeColumn } from "./types.ts";

/** Writes one canonical value of a column as a literal that the column takes without loss, or throws. */
export type Literal = (value: Value) => string;

type Text = (text: string) => string;

/** The writers of a table's columns, made once. */
export function literalsOf(table: BoundTable, facts: TableFacts): readonly Literal[] {
  return table.columns.map((column) => {
    const native = facts.columns.find((each) => each.name === column.name);
    if (native === undefined) {
      throw new TidemarkError(
        "TM-COLUMN-MISSING",
        `${table.name.name} has no column ${column.name}.`,
        {
          details: { table: table.name.name, column: column.name },
        },
      );
    }
    const text = textLiteral(column, native, table.name.name);
    return (value) => {
      if (value === null) return "NULL";
      if (typeof value === "string") return text(value);
      if (isTagged(value)) return taggedLiteral(value, column, table.name.name);
      throw new TidemarkError(
        "TM-INTERNAL",
        value === UNCHANGED ? "An unchanged value was to be written." : "Not a value.",
      );
    };
  });
}

/** The server would convert a value of another storage class, and say nothing. */
function taggedLiteral(
  value: Tagged,
  { name, type }: BoundTable["columns"][number],
  table: string,
): string {
  const text = ownText(value);
  if (text !== null && isMixed(type)) return quoteText(text);
  const why =
    text === null
      ? "A text is no valid Unicode."
      : `A value is of storage class ${value[0]}, not of the column's type.`;
  throw new TidemarkError("TM-VALUE-REFUSED", `${why} Table ${table}. Column ${name}.`, {
    fix: "Correct the value at the source, map it with a transform, or leave the column out.",
    details: { table, column: name },
  });
}

function textLiteral(
  column: BoundTable["columns"][number],
  native: NativeColumn,
  table: string,
): Text {
  const { type } = column;
  if (isCharacters(native)) return quoteText;
  switch (type.kind) {
    case "boolean":
      return (text) => (text === "t" ? "1" : text === "f" ? "0" : quoteText(text));
    case "integer":
      return number;
    case "decimal":
      return decimalLiteral(column.name, native, table);
    case "float":
      return native.dataType === "float" ? single : quoteText;
    case "bytes":
      return hex;
    case "bit":
      return (text) => (/^[01]+$/.test(text) ? `b'${text}'` : quoteText(text));
    case "timestamptz":
      // Our session's time zone is UTC, so the wall clock of UTC is right for both types.
      return (text) => quoteText(text.endsWith("+00") ? text.slice(0, -3) : text);
    case "native":
      return isGeometry(type) ? hex : quoteText;
    default:
      return quoteText;
  }
}

const NUMBER = /^-?\d+(?:\.\d+)?$/;

function number(text: string): string {
  return NUMBER.test(text) ? text : quoteText(text);
}

/**
 * All digits of the 32-bit number: the server reads a text as a 64-bit one, and the shortest text of
 * the largest 32-bit number is a little beyond it.
 */
function single(text: string): string {
  const value = Math.fround(Number(text));
  // As a number -0 would be the integer 0.
  return Number.isFinite(value) && !Object.is(value, -0) ? String(value) : quoteText(text);
}

function hex(text: string): string {
  // Anything else is no hex of ours: let strict mode judge the text.
  return /^(?:[0-9a-fA-F]{2})*$/.test(text) ? `X'${text}'` : quoteText(text);
}

/** The server rounds a fraction that is too long and says nothing, even in strict mode. */
function decimalLiteral(name: string, native: NativeColumn, table: string): Text {
  const places = native.dataType === "decimal" ? (native.scale ?? 0) : null;
  return (text) => {
    if (!NUMBER.test(text)) return quoteText(text);
    if (places !== null && fractionDigits(text) > places) {
      throw new TidemarkError(
        "TM-VALUE-REFUSED",
        `A number has more than ${places} digits after the point. Table ${table}. Column ${name}.`,
        {
          fix: `ALTER TABLE ${table} MODIFY ${name} DECIMAL with a larger scale`,
          details: { table, column: name },
        },
      );
    }
    return text;
  };
}

function fractionDigits(text: string): number {
  const point = text.indexOf(".");
  return point === -1 ? 0 : text.slice(point + 1).replace(/0+$/, "").length;
}

function isCharacters(native: NativeColumn): boolean {
  return native.charset !== null;
}
