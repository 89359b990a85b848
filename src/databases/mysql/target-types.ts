import { type ColumnType, isMixed } from "../../core/column-type.ts";
import type { TargetColumn, TargetTable } from "../../core/target.ts";
import type { Flavour } from "./flavour.ts";
import { quoteName } from "./identifiers.ts";
import { bareType, KIND } from "./types.ts";

/** The type that a missing column gets, and what happens to values on the way. */
export interface ChosenType {
  /** With character set and collation where the table's default does not do. */
  readonly ddl: string;
  readonly fidelity: "exact" | "by-rule" | "refused";
  readonly note?: string;
}

export const BOOLEAN_RULE = "1 for true, 0 for false";
export const YEARS_RULE = "years 1 to 9999; infinity is refused";
export const UTC_RULE = "the same instant as wall clock in UTC";

const ZERO_RULE = "-0 becomes 0";

export function floatRule({ negativeZero }: Flavour): string {
  return `NaN and infinity are refused${negativeZero ? "" : `; ${ZERO_RULE}`}`;
}

/** What a float of our own kind of server suffers; null: nothing. */
export function ownFloatRule({ type, negativeZero }: TargetColumn, to: Flavour): string | null {
  const loses = type.kind === "float" && negativeZero === true && !to.negativeZero;
  return loses ? ZERO_RULE : null;
}

/** Bytes that the columns of one index may have together (InnoDB, rows of the default format). */
export const INDEX_BYTES = 3_072;
/** Bytes of a row that texts may have together: a row holds 65,535, long ones apart. */
const TEXT_BYTES_IN_ROW = 48_000;
const LONGEST_IN_ROW = 1_000;
/** Bytes of a row that a page has for it (of 16 KB, half of it is meant), less those of its head. */
const PAGE_BYTES = 8_000;
/** A text or byte string that may be as long is kept apart where a row is too large for its page: then it takes a pointer. */
const SHORT_BYTES = 256;
const APART_BYTES = 21;
/** A text of as many takes no more of a row than a pointer. */
const APART_CHARACTERS = 5;

/** Of a label: PostgreSQL's have 63 bytes at most, MariaDB's and MySQL's 255 characters. */
const ENUM_CHARACTERS = 255;
/** Of an interval, and of a time with its zone. */
const TIME_CHARACTERS = 64;

/** What the table leaves for one of its columns. */
export interface Room {
  /** Bytes of the key that a text or byte string of it has; null: in no key. */
  readonly key: number | null;
  /** Characters that a text may have to stay inside the row. */
  readonly inRow: number;
}

/** The native type for a column that is to be created. */
export function chooseType(column: TargetColumn, flavour: Flavour, room: Room): ChosenType {
  const kept = column.sourceKind === KIND ? keepNative(column, flavour, room) : null;
  if (kept !== null) return kept;
  const { type } = column;
  switch (type.kind) {
    case "boolean":
      return ruled("BOOLEAN", BOOLEAN_RULE);
    case "integer":
      return exact(`${INTEGERS[type.bits]}${type.unsigned === true ? " UNSIGNED" : ""}`);
    case "decimal":
      return chooseDecimal(type, flavour, room);
    case "float":
      return chooseFloat(type.bits, flavour, room);
    case "text":
      return chooseText(type.maxLength, room);
    case "bytes":
      return chooseBytes(type, room);
    case "date":
      return ruled("DATE", YEARS_RULE);
    case "time":
      return exact(`TIME(${type.precision ?? 6})`);
    case "timestamp":
      return ruled(`DATETIME(${type.precision ?? 6})`, YEARS_RULE);
    case "timestamptz":
      return ruled(`DATETIME(${type.precision ?? 6})`, `${UTC_RULE}; ${YEARS_RULE}`);
    case "uuid":
      // MariaDB's own type refuses those of no standard, which md5 and others make.
      return exact("CHAR(36) CHARACTER SET ascii COLLATE ascii_bin");
    case "json":
      return chooseJson(flavour, room);
    case "bit":
      return type.length !== undefined && type.varying !== true && type.length <= 64
        ? exact(`BIT(${type.length})`)
        : asText(room);
    case "enum":
      return shortText(
        ENUM_CHARACTERS,
        "the label as text, so that a new label needs no change here",
        room,
      );
    case "interval":
    case "timetz":
      return shortText(TIME_CHARACTERS, "as text, in the form of docs/reference/values.md", room);
    case "native":
      return chooseNative(type, room);
  }
}

const INTEGERS: Readonly<Record<number, string>> = {
  8: "TINYINT",
  16: "SMALLINT",
  24: "MEDIUMINT",
  32: "INT",
  64: "BIGINT",
};

/**
 * From a server of our own kind: the type as it stands, but for the collation: the table's own
 * keeps apart at least what the source keeps apart. Null where this server lacks the type.
 */
function keepNative(column: TargetColumn, flavour: Flavour, room: Room): ChosenType | null {
  const bare = bareType(column.nativeType);
  const { type } = column;
  // It is refused in a key.
  if (room.key !== null && type.kind === "float" && type.bits === 32) return null;
  if (type.kind === "text" || type.kind === "bytes") {
    // In a key by a prefix of its text, or too long for a row in which a character takes four bytes.
    if (room.key !== null && (/text|blob/.test(bare) || lengthInKey(column, flavour) > room.key))
      return null;
    if (room.key === null && /^var/.test(bare) && (type.maxLength ?? 0) > room.inRow) return null;
  }
  if (bare === "uuid" && !flavour.uuidType) return null;
  if (/^inet[46]$/.test(bare) && !flavour.inetTypes) return null;
  if (bare === "json" && !flavour.jsonKeepsText) return ruled("JSON", JSON_RULE);
  // Without a default the first TIMESTAMP of a table may be updated by the server on its own.
  if (/^timestamp\b/.test(bare) && !column.nullable) {
    return exact(`${bare} NOT NULL DEFAULT '2000-01-01 00:00:00'`);
  }
  const rule = ownFloatRule(column, flavour);
  return rule === null ? exact(bare) : ruled(bare, rule);
}

export const JSON_RULE =
  "the server keeps its own form: key order, spaces and number format may differ, of a key that stands twice one is kept, and digits beyond a double's or 64 bits are not";

function chooseDecimal(
  type: Extract<ColumnType, { kind: "decimal" }>,
  flavour: Flavour,
  room: Room,
): ChosenType {
  if (type.precision === undefined) {
    return asText(room, "as text: a number without bounds fits no DECIMAL");
  }
  const { digits, places } = digitsOf(type.precision, type.scale);
  if (digits > MAX_DIGITS || places > flavour.maxDecimalScale) {
    return asText(room, "as text: more digits than a DECIMAL may have");
  }
  return exact(`DECIMAL(${digits},${places})`);
}

const MAX_DIGITS = 65;
/** MySQL's; MariaDB takes some more. */
const SURE_PLACES = 30;

function digitsOf(precision: number, scale = 0): { digits: number; places: number } {
  // A negative scale rounds to tens; its digits still stand before the point.
  const digits = scale < 0 ? precision - scale : Math.max(precision, scale);
  return { digits, places: Math.max(0, scale) };
}

function chooseFloat(bits: 32 | 64, flavour: Flavour, room: Room): ChosenType {
  if (room.key !== null && bits === 32) {
    return refused("FLOAT", "a FLOAT cannot be found again by its value: use another key");
  }
  return ruled(bits === 32 ? "FLOAT" : "DOUBLE", floatRule(flavour));
}

function chooseText(maxLength: number | undefined, room: Room): ChosenType {
  if (room.key === null) {
    return maxLength !== undefined && maxLength <= room.inRow
      ? exact(`VARCHAR(${maxLength})`)
      : exact("LONGTEXT");
  }
  const longest = Math.floor(room.key / 4);
  if (maxLength !== undefined && maxLength <= longest) return exact(`VARCHAR(${maxLength})`);
  return ruled(
    `VARCHAR(${longest})`,
    `in the key: a text of more than ${longest} characters is refused`,
  );
}

function chooseBytes(type: Extract<ColumnType, { kind: "bytes" }>, room: Room): ChosenType {
  const { maxLength } = type;
  if (room.key === null) {
    return maxLength !== undefined && maxLength <= room.inRow
      ? exact(`VARBINARY(${maxLength})`)
      : exact("LONGBLOB");
  }
  if (maxLength !== undefined && maxLength <= room.key) return exact(`VARBINARY(${maxLength})`);
  return ruled(`VARBINARY(${room.key})`, `in the key: more than ${room.key} bytes are refused`);
}

function chooseJson(flavour: Flavour, room: Room): ChosenType {
  if (room.key !== null) return asText(room);
  return flavour.jsonKeepsText ? exact("LONGTEXT") : ruled("JSON", JSON_RULE);
}

function asText(room: Room, why = "as text"): ChosenType {
  if (room.key === null) return ruled("LONGTEXT", why);
  const longest = Math.floor(room.key / 4);
  return ruled(
    `VARCHAR(${longest})`,
    `in the key: ${why}; more than ${longest} characters are refused`,
  );
}

function shortText(longest: number, note: string, room: Room): ChosenType {
  return room.key === null || room.key >= 4 * longest
    ? ruled(`VARCHAR(${longest})`, note)
    : asText(room, note);
}

function chooseNative(type: Extract<ColumnType, { kind: "native" }>, room: Room): ChosenType {
  if (!isMixed(type)) return asText(room);
  const chosen = asText(room);
  return room.key === null ? { ...chosen, note: MIXED_RULE } : refused(chosen.ddl, MIXED_KEY);
}

export const MIXED_RULE = "the text of each value, bytes as X'00ff'";
export const MIXED_KEY =
  "values of different classes would be one key here: give the key's column a type at the source";

function exact(ddl: string): ChosenType {
  return { ddl, fidelity: "exact" };
}

function ruled(ddl: string, note: string): ChosenType {
  return { ddl, fidelity: "by-rule", note };
}

function refused(ddl: string, note: string): ChosenType {
  return { ddl, fidelity: "refused", note };
}

/** A column definition. NOT NULL where the source has it, so that the table says the same. */
export function columnDdl(column: TargetColumn, chosen: ChosenType, inKey: boolean): string {
  const nullability = / NOT NULL /.test(chosen.ddl)
    ? ""
    : column.nullable && !inKey
      ? " NULL"
      : " NOT NULL";
  return `${quoteName(column.name)} ${chosen.ddl}${nullability}`;
}

/** How much room each column of a table has: the key's bytes shared among its texts, the row's likewise. */
export function roomsOf(table: TargetTable, flavour: Flavour): (column: TargetColumn) => Room {
  const inKey = new Set(table.key);
  const shares = sharesOfKey(
    table.columns.filter((column) => inKey.has(column.name)),
    flavour,
  );
  const texts = table.columns.filter(({ type }) => type.kind === "text" || type.kind === "bytes");
  const inPage = table.columns.reduce((sum, { type }) => sum + pageBytes(type), 0);
  const inRow = Math.min(
    flavour.keepsShortTexts && inPage > PAGE_BYTES ? APART_CHARACTERS : LONGEST_IN_ROW,
    Math.floor(TEXT_BYTES_IN_ROW / 4 / Math.max(1, texts.length)),
  );
  return (column) => ({ key: shares.get(column) ?? null, inRow });
}

/** What is shorter than an equal share leaves the rest to the others. */
function sharesOfKey(
  key: readonly TargetColumn[],
  flavour: Flavour,
): ReadonlyMap<TargetColumn, number> {
  const needs = key
    .map((column) => ({ column, bytes: lengthInKey(column, flavour) }))
    .sort((a, b) => a.bytes - b.bytes);
  const isFixed = ({ column }: (typeof needs)[number]) => !isVariable(column.type);
  let left = INDEX_BYTES - needs.filter(isFixed).reduce((sum, { bytes }) => sum + bytes, 0);
  const shares = new Map<TargetColumn, number>();
  for (const { column, bytes } of needs.filter(isFixed)) shares.set(column, bytes);
  for (const { column, bytes } of needs.filter((each) => !isFixed(each))) {
    const share = Math.min(bytes, Math.floor(left / (key.length - shares.size)));
    shares.set(column, Math.max(4, share));
    left -= share;
  }
  return shares;
}

/** What a column may need of its row where short texts are never kept apart. */
function pageBytes(type: ColumnType): number {
  if (!isVariable(type)) return fixedBytes(type);
  const longest = type.kind === "text" ? 4 * (type.maxLength ?? SHORT_BYTES) : SHORT_BYTES;
  return type.kind === "text" && longest < SHORT_BYTES ? longest + 1 : APART_BYTES;
}

function isVariable(type: ColumnType): boolean {
  switch (type.kind) {
    case "text":
    case "bytes":
    case "json":
    case "enum":
    case "interval":
    case "timetz":
    case "native":
      return true;
    case "decimal": {
      if (type.precision === undefined) return true;
      const { digits, places } = digitsOf(type.precision, type.scale);
      return digits > MAX_DIGITS || places > SURE_PLACES;
    }
    case "bit":
      return type.length === undefined || type.varying === true || type.length > 64;
    default:
      return false;
  }
}

/** Bytes that a column takes of an index, in which every character of this table may take four; infinite: any number. */
function lengthInKey({ type, sourceKind }: TargetColumn, to: Flavour): number {
  const isOwn = sourceKind === KIND;
  switch (type.kind) {
    case "text":
      return 4 * (type.maxLength ?? Number.POSITIVE_INFINITY);
    case "bytes":
      return type.maxLength ?? Number.POSITIVE_INFINITY;
    case "integer":
      return type.bits / 8;
    case "decimal": {
      if (type.precision === undefined || isVariable(type)) return Number.POSITIVE_INFINITY;
      const { digits, places } = digitsOf(type.precision, type.scale);
      return decimalBytes(digits - places) + decimalBytes(places);
    }
    case "date":
      return 3;
    case "time":
      return 3 + Math.ceil((type.precision ?? 6) / 2);
    case "timestamp":
    case "timestamptz":
      return 5 + Math.ceil((type.precision ?? 6) / 2);
    case "uuid":
      return isOwn && to.uuidType ? 16 : fixedBytes(type);
    case "enum":
      return isOwn ? 2 : 4 * ENUM_CHARACTERS;
    case "native":
      if (!isOwn) return Number.POSITIVE_INFINITY;
      if (type.name.startsWith("set(")) return 8;
      return to.inetTypes ? 16 : Number.POSITIVE_INFINITY;
    case "interval":
    case "timetz":
      return 4 * TIME_CHARACTERS;
    default:
      return isVariable(type) ? Number.POSITIVE_INFINITY : fixedBytes(type);
  }
}

/** Nine digits take four bytes, what is left one for each two. */
function decimalBytes(digits: number): number {
  return 4 * Math.floor(digits / 9) + Math.ceil((digits % 9) / 2);
}

function fixedBytes(type: ColumnType): number {
  return type.kind === "uuid" ? 144 : type.kind === "decimal" ? 32 : 8;
}
