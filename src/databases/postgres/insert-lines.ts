import type { TransactionOf } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import { freeMemory } from "../../core/free-memory.ts";
import { formatField, parseLine, type RowLines } from "../../core/row-lines.ts";
import type { LinesBlock } from "../../core/source.ts";
import type { LogDecoder } from "./log-rows.ts";
import { inUtc } from "./utc.ts";

const TAB = 0x09;
const NEWLINE = 0x0a;
const QUOTE = 0x22;
const OPEN = 0x28;
const CLOSE = 0x29;
const COMMA = 0x2c;
const ZERO = 0x30;
const INSERT = 0x49;
const BACKSLASH = 0x5c;
const UPPER_N = 0x4e;
const PLUS = 0x2b;

/** Rows go on in pieces of about so many bytes. */
const PIECE_BYTES = 256 * 1024;
/** A target needs a few round trips for each run: less is not worth them. */
const LEAST_BYTES = 16 * 1024;

/** A run of rows that one transaction inserted into one table. */
interface Run {
  /** `xid` and `kind` of each of its lines. */
  readonly xid: Buffer;
  readonly kind: Buffer;
  readonly layout: number;
  /** How many columns a row has, and which of them are printed in the time zone of their writer. */
  readonly width: number;
  readonly zoned: ReadonlySet<number>;
  readonly insertedBy: TransactionOf;
  readonly bytes: Buffer;
  end: number;
  rows: number;
}

/**
 * Lines of the log (`id, xid, logged_at, kind, row`, as COPY prints them) that are rows inserted by one
 * transaction into one table become lines of a row each (core/row-lines.ts), without a value of them becoming
 * an object: a transaction of a million rows costs a fraction of what it does change by change.
 *
 * The row in the log is a composite value as `record_out` prints it. Where COPY has escaped something in it, its fields
 * are read as everywhere else.
 */
export class InsertLines {
  readonly #decoder: LogDecoder;
  readonly #batch: number;
  #run: Run | null = null;

  constructor(decoder: LogDecoder, batch: number) {
    this.#decoder = decoder;
    this.#batch = batch;
  }

  /**
   * Takes a block whole, its memory too; or not at all: then its changes are to be read one by one. What it gives
   * goes before them, and before the block.
   */
  take(block: LinesBlock): { readonly taken: boolean; readonly before: RowLines | null } {
    const first = headOf(block.bytes, 0);
    const run = this.#run;
    const goesOn =
      run !== null &&
      run.end + mostBytes(block, run.width) <= run.bytes.length &&
      isOfRun(block.bytes, first, run);
    const into = goesOn ? run : this.#begin(block, first);
    if (into === null || !this.#append(block, into)) return { taken: false, before: this.finish() };
    freeMemory(block.bytes);
    if (goesOn) return { taken: true, before: null };
    const before = this.finish();
    this.#run = into;
    return { taken: true, before };
  }

  /** The run so far; null when there is none. */
  finish(): RowLines | null {
    const run = this.#run;
    this.#run = null;
    if (run === null) return null;
    const { layout, rows, insertedBy, bytes } = run;
    return {
      ...{ layout, rows, insertedBy, filtered: false, bytes: bytes.subarray(0, run.end) },
      release: () => freeMemory(bytes),
    };
  }

  /** Null where the first and the last line are not inserts of one transaction into a table that can go on so. */
  #begin(block: LinesBlock, first: LineHead): Run | null {
    const { bytes } = block;
    if (bytes.length < LEAST_BYTES || bytes[first.row - 2] !== INSERT) return null;
    const kind = Buffer.from(bytes.subarray(first.kind, first.row - 1));
    const layout = this.#decoder.streamable(kind.toString("latin1", 0, kind.length - 1));
    if (layout === null) return null;
    const xid = Buffer.from(bytes.subarray(first.xid, first.at - 1));
    const last = headOf(bytes, bytes.lastIndexOf(NEWLINE, bytes.length - 2) + 1);
    if (!isOfRun(bytes, last, { xid, kind })) return null;
    const { id, width, zoned } = layout;
    return {
      ...{ xid, kind, layout: id, width, zoned },
      insertedBy: { transaction: xid.toString("latin1"), origin: null, hops: [] },
      bytes: Buffer.allocUnsafeSlow(Math.max(PIECE_BYTES, mostBytes(block, width))),
      end: 0,
      rows: 0,
    };
  }

  /** False, and nothing is done, when a line is of something else, or holds no row. */
  #append({ bytes, rows }: LinesBlock, run: Run): boolean {
    const begun = run.end;
    let [at, lines] = [0, 0];
    for (; at < bytes.length; lines++) {
      const head = headOf(bytes, at);
      const isOne = isOfRun(bytes, head, run);
      let next = isOne ? writeRow(bytes, head.row, run) : -1;
      if (isOne && next === -1) next = this.#writeSlowly(bytes, at, run);
      if (next === -1) {
        run.end = begun;
        return false;
      }
      at = next;
    }
    if (lines !== rows) throw new TidemarkError("TM-INTERNAL", "Rows of the log were miscounted.");
    run.rows += rows;
    return true;
  }

  /**
   * A line with something escaped in it, or one that has not the columns of the layout: then it throws. -1 where the
   * row was logged without what it holds, since the table stood otherwise at that time.
   */
  #writeSlowly(bytes: Buffer, at: number, run: Run): number {
    const end = bytes.indexOf(NEWLINE, at);
    const line = parseLine(bytes.toString("utf8", at, end));
    const row = this.#decoder.change(line, this.#batch).row as readonly (string | null)[] | null;
    if (row === null) return -1;
    const text = `${row.map(formatField).join("\t")}\n`;
    const room = run.bytes.length - run.end;
    if (Buffer.byteLength(text, "utf8") > room) {
      throw new TidemarkError("TM-INTERNAL", "A row of the log is longer as a line.");
    }
    run.end += run.bytes.write(text, run.end, "utf8");
    return end + 1;
  }
}

/** A row grows only by its NULLs: `\N` for nothing. */
function mostBytes({ bytes, rows }: LinesBlock, width: number): number {
  return bytes.length + 2 * rows * width;
}

/** Where the fields of a line begin. */
interface LineHead {
  readonly xid: number;
  /** Of `logged_at`. */
  readonly at: number;
  readonly kind: number;
  readonly row: number;
}

function headOf(bytes: Buffer, line: number): LineHead {
  const xid = bytes.indexOf(TAB, line) + 1;
  const at = bytes.indexOf(TAB, xid) + 1;
  const kind = bytes.indexOf(TAB, at) + 1;
  const row = bytes.indexOf(TAB, kind) + 1;
  return { xid, at, kind, row };
}

function isOfRun(
  bytes: Buffer,
  { xid, at, kind, row }: LineHead,
  run: Pick<Run, "xid" | "kind">,
): boolean {
  return isSame(bytes, xid, at - 1, run.xid) && isSame(bytes, kind, row - 1, run.kind);
}

function isSame(bytes: Buffer, from: number, to: number, other: Buffer): boolean {
  if (to - from !== other.length) return false;
  for (let i = 0; i < other.length; i++) if (bytes[from + i] !== other[i]) return false;
  return true;
}

/**
 * Writes one row as a line and gives where the next line of the log begins. -1, and nothing is written, where
 * something is escaped, or the row has not so many columns.
 */
function writeRow(from: Buffer, start: number, run: Run): number {
  const { bytes: to, width, zoned } = run;
  let [at, out] = [start, run.end];
  if (from[at++] !== OPEN) return -1;
  for (let column = 0; column < width; column++) {
    const field = out;
    if (from[at] === QUOTE) {
      at++;
      for (;;) {
        const byte = from[at++] as number;
        if (byte === BACKSLASH || byte === NEWLINE) return -1;
        if (byte === QUOTE) {
          if (from[at] !== QUOTE) break;
          at++;
        }
        to[out++] = byte;
      }
    } else {
      for (;;) {
        const byte = from[at] as number;
        if (byte === COMMA || byte === CLOSE) break;
        if (byte === BACKSLASH || byte === NEWLINE) return -1;
        to[out++] = byte;
        at++;
      }
      if (out === field) {
        to[out++] = BACKSLASH;
        to[out++] = UPPER_N;
      }
    }
    if (zoned.has(column) && !isUtc(to, out)) {
      out = field + to.write(inUtc(to.toString("latin1", field, out)), field, "latin1");
    }
    const isLast = column === width - 1;
    if (from[at++] !== (isLast ? CLOSE : COMMA)) return -1;
    to[out++] = isLast ? NEWLINE : TAB;
  }
  if (from[at++] !== NEWLINE) return -1;
  run.end = out;
  return at;
}

/** See {@link inUtc}. */
function isUtc(bytes: Buffer, end: number): boolean {
  return bytes[end - 1] === ZERO && bytes[end - 2] === ZERO && bytes[end - 3] === PLUS;
}
