import type { LayoutColumn } from "../../core/change.ts";
import type { Tagged, Value } from "../../core/value.ts";
import type { Cell } from "./connection.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import { isGeometry } from "./types.ts";

/**
 * How a value leaves the database as text, and how that text becomes the canonical one.
 *
 * The expression runs inside the application's transaction, so it does the least that loses
 * nothing; whatever can wait (trimming, lower case, shortest digits) is done by the relay. Triggers
 * and snapshot chunks use the same expression, so both give the same text for the same row.
 */
export function captureExpression(column: LayoutColumn, reference: string): string {
  const { type } = column;
  const text = `CAST(${reference} AS CHAR)`;
  switch (type.kind) {
    case "float":
      // FLOAT prints six digits; as a DOUBLE it prints all it has.
      return type.bits === 32 ? `CAST(CAST(${reference} AS DOUBLE) AS CHAR)` : text;
    case "bytes":
      return `HEX(${reference})`;
    case "bit":
      return `LPAD(BIN(${reference}), ${type.length ?? 1}, '0')`;
    case "timestamptz":
      // The text of a TIMESTAMP follows the time zone of whoever writes; seconds since 1970 do not.
      // The zero date has none and gives NULL, or 0: not to be taken for SQL NULL.
      return `COALESCE(CAST(UNIX_TIMESTAMP(${reference}) AS CHAR), IF(${text} IS NULL, NULL, '0'))`;
    case "text":
    case "enum":
      return characters(column, reference);
    case "native":
      return isGeometry(type) ? `HEX(${reference})` : `CONVERT(${reference} USING utf8mb4)`;
    default:
      return text;
  }
}

/** Character sets of which both servers know each character in Unicode (measured byte by byte). */
const WHOLE_CHARSETS: ReadonlySet<string> = new Set([
  ...["utf8", "utf8mb3", "utf8mb4", "ucs2", "utf16", "utf16le", "utf32"],
  ...["latin1", "latin2", "latin5", "latin7", "koi8r", "koi8u", "keybcs2"],
  ...["cp850", "cp852", "cp866", "macce", "macroman"],
]);

/** Begins what stands for a text without Unicode: the bytes in hex. Of the other character sets only gb18030 has this one. */
const NO_UNICODE = "\u{10FFFF}";
const IN_BYTES = new RegExp(`^${NO_UNICODE}(?:[0-9A-F]{2})+$`, "u");
/** Not as it is: the catalog shows what a trigger does in three bytes a character. */
const NO_UNICODE_SQL = `_utf8mb4 X'${Buffer.from(NO_UNICODE).toString("hex")}'`;

/**
 * A column of sjis holds what has no Unicode there (`①`, 0x8740): MySQL converts it to `?` and says nothing, another
 * value, and of two keys the same one; in MariaDB the trigger fails, and the application's write with it. So its bytes are
 * taken. MariaDB's JSON_QUOTE has no text for it, and fails not. In MySQL a `?` that stands for something makes
 * more characters, or fewer that are none.
 */
function characters({ nativeType }: LayoutColumn, reference: string): string {
  const text = `CONVERT(${reference} USING utf8mb4)`;
  const charset = charsetOf(nativeType);
  if (charset === null || WHOLE_CHARSETS.has(charset)) return text;
  const differ = (of: (text: string) => string) => `${of(text)} <> ${of(reference)}`;
  const signs = [
    `JSON_QUOTE(${reference}) IS NULL`,
    differ((each) => `CHAR_LENGTH(${each})`),
    differ((each) => `CHAR_LENGTH(REPLACE(${each}, '?', ''))`),
  ];
  return `IF(${signs.join(" OR ")}, CONCAT(${NO_UNICODE_SQL}, HEX(${reference})), ${text})`;
}

function charsetOf(nativeType: string): string | null {
  return / character set (\S+) collate \S+$/.exec(nativeType)?.[1] ?? null;
}

/** As a value that is no text: every target names it, or keeps the bytes. */
const knownText: Decode = (text) =>
  IN_BYTES.test(text) ? ["blob", text.slice(NO_UNICODE.length).toLowerCase()] : text;

export type Decode = (text: string) => string | Tagged;

/** From captured to canonical text; null when they are the same. */
function decoderOf(column: LayoutColumn): Decode | null {
  const { type, nativeType } = column;
  switch (type.kind) {
    case "integer":
      return /zerofill|year/.test(nativeType) ? stripZeros : null;
    case "decimal":
      return nativeType.includes("zerofill") ? stripZeros : null;
    case "float":
      return type.bits === 32 ? shortestFloat32 : null;
    case "bytes":
      return lowerCase;
    case "time":
    case "timestamp":
      return (type.precision ?? 0) > 0 ? trimFraction : null;
    case "timestamptz":
      return utcTimestamp;
    case "text":
    case "enum":
      return WHOLE_CHARSETS.has(charsetOf(nativeType) ?? "utf8mb4") ? null : knownText;
    case "native":
      return isGeometry(type) ? lowerCase : null;
    default:
      return null;
  }
}

const lowerCase = (text: string): string => text.toLowerCase();

/** `00042` to `42`, `0000` to `0`, `00.50` to `0.50`. */
const stripZeros = (text: string): string => text.replace(/^(-?)0+(?=\d)/, "$1");

/** `10:00:00.500000` to `10:00:00.5`. */
export const trimFraction = (text: string): string =>
  text.includes(".") ? text.replace(/\.?0+$/, "") : text;

/** The fewest digits that read back to the same 32-bit number. */
export const shortestFloat32 = (text: string): string => {
  const value = Number(text);
  if (value === 0) return text;
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
};

/** Seconds since 1970 with a fraction to `YYYY-MM-DD HH:MM:SS[.ffffff]+00`. */
export const utcTimestamp = (text: string): string => {
  const [seconds = "0", fraction = ""] = text.split(".");
  if (Number(seconds) === 0 && /^0*$/.test(fraction)) return "0000-00-00 00:00:00+00";
  const date = new Date(Number(seconds) * 1000).toISOString();
  const digits = fraction.replace(/0+$/, "");
  return `${date.slice(0, 10)} ${date.slice(11, 19)}${digits === "" ? "" : `.${digits}`}+00`;
};

/**
 * How a key column is ordered and compared while a table is copied. ENUM and SET are ordered by
 * number and compared with a string by text: only the number does both.
 */
export function cursorExpression(column: LayoutColumn, reference: string): string {
  return byNumber(column) ? `CAST(${reference}+0 AS CHAR)` : captureExpression(column, reference);
}

export function comparable(column: LayoutColumn, reference: string): string {
  return byNumber(column) ? `(${reference}+0)` : reference;
}

/** The text of a cursor as a literal that compares with `comparable`. */
export function cursorLiteral(column: LayoutColumn, text: string): string {
  const { kind } = column.type;
  if (byNumber(column) || kind === "integer" || kind === "decimal") return number(text);
  if (kind === "bytes") return `X'${/^[0-9A-Fa-f]*$/.test(text) ? text : ""}'`;
  if (kind === "bit") return `b'${/^[01]*$/.test(text) ? text : "0"}'`;
  if (kind === "timestamptz") return quoteText(utcTimestamp(text).slice(0, -3));
  const known = knownText(text);
  if (typeof known === "string") return quoteText(known);
  // By its character set's name alone: with a collation of its own it would not compare with the column.
  return `_${charsetOf(column.nativeType) ?? "binary"} X'${known[1]}'`;
}

/** A condition that a column of a key meets wherever it is captured as this text, and perhaps elsewhere. */
export function equalsCaptured(column: LayoutColumn, text: string): string {
  const literal = byNumber(column) ? quoteText(text) : cursorLiteral(column, text);
  return `${quoteName(column.name)} = ${literal}`;
}

function number(text: string): string {
  return /^-?\d+(\.\d+)?$/.test(text) ? text : quoteText(text);
}

function byNumber(column: LayoutColumn): boolean {
  const { type } = column;
  return type.kind === "enum" || (type.kind === "native" && type.name.startsWith("set("));
}

/** A row of captured text to canonical values, made once for a layout. In place. */
export function rowDecoder(columns: readonly LayoutColumn[]): (cells: Cell[]) => Value[] {
  const steps = columns.flatMap((column, index) => {
    const decode = decoderOf(column);
    return decode === null ? [] : [{ index, decode }];
  });
  if (steps.length === 0) return (cells) => cells;
  return (cells) => {
    const row: Value[] = cells;
    for (const { index, decode } of steps) {
      const cell = cells[index];
      if (typeof cell === "string") row[index] = decode(cell);
    }
    return row;
  };
}
