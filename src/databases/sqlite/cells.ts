import type { Connection } from "./connection.ts";
import { type Bindable, type Database, iterateArrays } from "./driver.ts";

/** A stored value, exactly: its JavaScript type tells its storage class. */
export type Cell = null | bigint | number | string | Uint8Array | BrokenText;

/**
 * Text whose bytes are no text in the file's encoding (SQLite stores what it is given). Each bad byte
 * 0xNN stands as the lone surrogate U+DCNN, which no valid text holds, so the bytes can be told from the
 * text. Half a pair of UTF-16 stands as the three bytes that UTF-8 would give it.
 */
export class BrokenText {
  readonly bytes: Uint8Array;
  readonly escaped: string;

  constructor(bytes: Uint8Array, escaped: string) {
    this.bytes = bytes;
    this.escaped = escaped;
  }
}

/** The bytes of BrokenText's escaped form; null when the text is ordinary. */
export function unescapeText(text: string): Uint8Array | null {
  if (text.isWellFormed()) return null;
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const isPair = code >= 0xd800 && code < 0xdc00 && isLow(text.charCodeAt(i + 1));
    if (isPair) i++;
    else if (code >= 0xdc80 && code <= 0xdcff) {
      parts.push(Buffer.from(text.slice(start, i)), Buffer.of(code & 0xff));
      start = i + 1;
    }
  }
  parts.push(Buffer.from(text.slice(start)));
  return Buffer.concat(parts);
}

function isLow(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}

const HALVES = /(?<![\ud800-\udbff])\udced[\udca0-\udcbf][\udc80-\udcbf]/g;

/**
 * Would SQLite make another text of this one? It reads UTF-8 into a file of UTF-16 without U+FFFE and
 * U+FFFF; and what is escaped is no text at all.
 */
export function needsBytes(encoding: string, text: string): boolean {
  return !text.isWellFormed() || (encoding !== "UTF-8" && /[\ufffe\uffff]/.test(text));
}

/** The bytes of a text, escaped where it is broken, in a file of this encoding; null when it cannot hold them. */
export function bytesIn(encoding: string, escaped: string): Uint8Array | null {
  if (encoding === "UTF-8") return unescapeText(escaped);
  if (!escaped.replace(HALVES, "").isWellFormed()) return null;
  const units = escaped.replace(HALVES, (bytes) => {
    const [, middle = 0, last = 0] = [...bytes].map((byte) => byte.charCodeAt(0));
    return String.fromCharCode(0xd000 | ((middle & 0x3f) << 6) | (last & 0x3f));
  });
  const bytes = Buffer.from(units, "utf16le");
  return encoding === "UTF-16be" ? bytes.swap16() : bytes;
}

/**
 * Text whose bytes are bound. A CAST of SQLite 3.47 (Node 22.13) takes those that are bound, alone of all, for UTF-8 in
 * a file of UTF-16, too. A function passes them on as they are.
 */
export const TEXT_OF_BYTES = "CAST(substr(?, 1) AS TEXT)";

/** Text as its bytes say, in the file's encoding. */
export function decodeText(bytes: Uint8Array, encoding: string): string | BrokenText {
  const decoder = new TextDecoder(encoding.toLowerCase(), { fatal: true, ignoreBOM: true });
  try {
    return decoder.decode(bytes);
  } catch {
    const copy = Buffer.from(bytes);
    if (encoding === "UTF-8") return new BrokenText(bytes, escapeBytes(copy));
    const units = encoding === "UTF-16be" ? copy.swap16() : copy;
    return new BrokenText(bytes, escapeHalves(units.toString("utf16le")));
  }
}

function escapeHalves(text: string): string {
  return text.replace(/\p{Surrogate}/gu, (half) => {
    const code = half.charCodeAt(0);
    const bytes = [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)];
    return String.fromCharCode(...bytes.map((byte) => 0xdc00 | byte));
  });
}

/** Escapes each byte that is no part of a valid sequence, sequence by sequence. */
function escapeBytes(bytes: Buffer): string {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  for (let i = 0; i < bytes.length; ) {
    const length = sequenceLength(bytes[i] ?? 0);
    let piece: string | null = null;
    if (length > 0 && i + length <= bytes.length) {
      try {
        piece = decoder.decode(bytes.subarray(i, i + length));
      } catch {
        piece = null;
      }
    }
    text += piece ?? String.fromCharCode(0xdc00 + (bytes[i] ?? 0));
    i += piece === null ? 1 : length;
  }
  return text;
}

function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

/** Before Node 24 the driver cuts text at its first NUL; found out once, by trying. */
let cutsAtNul: boolean | undefined;

function driverCutsAtNul(db: Database): boolean {
  cutsAtNul ??= db.prepare("SELECT 'a' || char(0) || 'b' AS text").get()?.text !== "a\0b";
  return cutsAtNul;
}

export interface CellQuery {
  /** SQL expressions; each is one cell of a row. */
  readonly cells: readonly string[];
  /** From `FROM` on. Must give the same rows in the same order when run twice in one snapshot. */
  readonly from: string;
}

export interface PageLimit {
  readonly rows: number;
  /** Soft: at least one row is given. */
  readonly bytes: number;
}

export interface CellPage {
  readonly rows: readonly Cell[][];
  /** Did a limit end the page? */
  readonly cut: boolean;
}

/**
 * Reads rows with every value exact. The driver decodes text itself and loses what is not plain
 * (bytes that are not UTF-8; in older Nodes all that follows a NUL). A page that shows signs of
 * that is read again as bytes; both readings must happen in one snapshot.
 */
export function readCells(
  connection: Connection,
  query: CellQuery,
  params: readonly Bindable[],
  limit: PageLimit,
): CellPage {
  const watchNul = driverCutsAtNul(connection.db);
  const list = query.cells.map((sql, i) => `${sql} AS x${i}`);
  if (watchNul) list.push(`${nulTest(query.cells)} AS odd`);
  const statement = connection.prepare(`SELECT ${list.join(", ")} ${query.from}`);
  const rows: Cell[][] = [];
  let bytes = 0;
  let odd = false;
  let cut = false;
  for (const row of iterateArrays(statement, params)) {
    // One row too many was asked for: it only tells that there are more.
    if (rows.length === limit.rows || (rows.length > 0 && bytes >= limit.bytes)) {
      cut = true;
      break;
    }
    if (watchNul && row.pop() === 1n) odd = true;
    for (const value of row) {
      bytes += sizeOf(value);
      if (typeof value === "string" && value.includes(REPLACEMENT)) odd = true;
    }
    rows.push(row);
  }
  if (odd) patchText({ connection, query, params, mayBeCut: watchNul }, rows);
  return { rows, cut };
}

function nulTest(cells: readonly string[]): string {
  if (cells.length === 0) return "0";
  return `(${cells.map((sql) => `coalesce(instr(${sql}, char(0)) > 0, 0)`).join(" OR ")})`;
}

function sizeOf(value: Bindable): number {
  if (typeof value === "string") return value.length + 8;
  return value instanceof Uint8Array ? value.length + 8 : 8;
}

/** What the driver gives in place of bytes that are no text. */
const REPLACEMENT = "\ufffd";

interface SecondReading {
  readonly connection: Connection;
  readonly query: CellQuery;
  readonly params: readonly Bindable[];
  /** May a text have lost what follows a NUL? */
  readonly mayBeCut: boolean;
}

function patchText({ connection, query, params, mayBeCut }: SecondReading, rows: Cell[][]): void {
  const { encoding } = connection;
  const list = query.cells.map(
    (sql, i) => `CASE typeof(${sql}) WHEN 'text' THEN CAST(${sql} AS BLOB) END AS x${i}`,
  );
  const statement = connection.prepare(`SELECT ${list.join(", ")} ${query.from}`);
  let at = 0;
  for (const raw of iterateArrays(statement, params)) {
    const row = rows[at++];
    if (row === undefined) break;
    raw.forEach((bytes, i) => {
      if (!(bytes instanceof Uint8Array)) return;
      // Cell by cell, so that a text reads the same whatever stands beside it.
      if (mayBeCut || String(row[i]).includes(REPLACEMENT)) row[i] = decodeText(bytes, encoding);
    });
  }
}
