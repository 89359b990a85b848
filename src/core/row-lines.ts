import type { Change, FilterAnswer, TransactionOf } from "./change.ts";
import { TidemarkError } from "./errors.ts";
import { inPieces } from "./long-text.ts";
import type { QueueMessage } from "./queue.ts";
import type { Row } from "./value.ts";

/**
 * Rows as bytes, one line each: fields in the layout's order, parted by tabs, each the canonical text
 * of its value with backslash, tab, newline and carriage return as `\\`, `\t`, `\n`, `\r`; `\N` is NULL.
 *
 * This is the text format of PostgreSQL's COPY (its manual, "COPY", File Formats): a database that
 * speaks it gives and takes rows without a value of them ever becoming an object of this program.
 */
export interface RowLines {
  readonly layout: number;
  readonly rows: number;
  /** Does each line begin with a field more, a letter for each filter of the layout (see {@link filterLetters})? */
  readonly filtered: boolean;
  /**
   * Are they no lines but rows of PostgreSQL's binary COPY format (its manual, "COPY", Binary Format), without header and
   * trailer? Then only a table of the very same types can take them, and nobody here reads them.
   */
  readonly binary?: boolean | undefined;
  /** Whole lines, the last newline included. */
  readonly bytes: Uint8Array;
  /** The transaction that inserted all of these rows, in this order. Undefined: they were copied. */
  readonly insertedBy?: TransactionOf | undefined;
  /** See {@link QueueMessage}. */
  release?(): void;
}

/** Changes in the order of the log; or, where many rows come one after the other, those rows. */
export type ChangesPage = readonly Change[] | RowLines;

/** A page as changes, however they came. */
export function changesOf(page: ChangesPage): readonly Change[] {
  return "bytes" in page ? decodeLines(page) : page;
}

/** The rows as changes: each an insert, as a chunk's rows are. Not of binary ones, which are asked for again as lines. */
export function decodeLines({ layout, filtered, binary, bytes, insertedBy }: RowLines): Change[] {
  if (binary)
    throw new TidemarkError("TM-INTERNAL", "Rows in binary are read by their table alone.");
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
  const lines = text.split("\n");
  lines.pop(); // what follows the last newline
  return lines.map((line) => {
    const fields = parseLine(line);
    const letters = filtered ? (fields.shift() ?? "") : "";
    return rowAsChange(layout, fields, parseFilters(letters), insertedBy);
  });
}

const NO_FILTERS: readonly FilterAnswer[] = [];
const NO_HOPS: readonly string[] = [];

const NO_TRANSACTION: TransactionOf = { transaction: null, origin: null, hops: NO_HOPS };

/** A row that came, as the insert that it is to whoever reads the stream. */
export function rowAsChange(
  layout: number,
  row: Row,
  filters: readonly FilterAnswer[],
  { transaction, origin, hops }: TransactionOf = NO_TRANSACTION,
): Change {
  return {
    layout,
    op: "insert",
    keyBefore: null,
    row,
    rowBefore: null,
    filters,
    transaction,
    origin,
    hops,
  };
}

/** A letter for each filter: `t` and `f` for its answer, `e` for an error. */
export function filterLetters(answers: readonly FilterAnswer[]): string {
  return answers.map((answer) => (answer === null ? "e" : answer ? "t" : "f")).join("");
}

/** The other way round. */
export function parseFilters(letters: string): readonly FilterAnswer[] {
  if (letters === "") return NO_FILTERS;
  return Array.from(letters, (letter) => (letter === "e" ? null : letter === "t"));
}

export const NEWLINE = 0x0a;

const UNESCAPES: Readonly<Record<string, string>> = {
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

const TAB = 0x09;
const BACKSLASH = 0x5c;
const UPPER_N = 0x4e;
const UNESCAPED_BYTES = new Map(
  Object.entries(UNESCAPES).map(([letter, is]) => [letter.charCodeAt(0), is.charCodeAt(0)]),
);

/** The fields of one line; a writer escapes every tab and newline in a value. */
export function parseLine(line: string): (string | null)[] {
  const fields: (string | null)[] = line.split("\t");
  if (!line.includes("\\")) return fields;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i] as string;
    if (field === "\\N") fields[i] = null;
    else if (field.includes("\\")) {
      fields[i] = inPieces(field, "\\", unescapeField);
    }
  }
  return fields;
}

/**
 * As {@link parseLine}, of one line without its newline, which may have megabytes: unescaped within its own bytes, which
 * mean nothing afterwards, so that no other copy of it is made than the fields.
 */
export function parseLongLine(bytes: Buffer): (string | null)[] {
  const fields: (string | null)[] = [];
  let begun = 0;
  let end = 0;
  let isNull = false;
  for (let at = 0; at <= bytes.length; at++) {
    const byte = bytes[at];
    if (byte === undefined || byte === TAB) {
      fields.push(isNull ? null : bytes.toString("utf8", begun, end));
      begun = at + 1;
      end = begun;
      isNull = false;
    } else if (byte === BACKSLASH) {
      const after = bytes[at + 2];
      const isWhole = at === begun && (after === undefined || after === TAB);
      const letter = bytes[++at] as number;
      isNull = isWhole && letter === UPPER_N;
      bytes[end++] = UNESCAPED_BYTES.get(letter) ?? letter;
    } else bytes[end++] = byte;
  }
  return fields;
}

function unescapeField(field: string): string {
  return field.replace(/\\(.)/g, (_, letter: string) => UNESCAPES[letter] ?? letter);
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** One field of a line. */
export function formatField(field: string | null): string {
  if (field === null) return "\\N";
  return /[\\\n\r\t]/.test(field) ? inPieces(field, "", escapeField) : field;
}

function escapeField(field: string): string {
  return field.replace(/[\\\n\r\t]/g, (character) => ESCAPES[character] as string);
}
