import { crc32 } from "node:zlib";
import type { Change, Operation, TransactionOf } from "./change.ts";
import { TidemarkError } from "./errors.ts";
import { freeMemory } from "./free-memory.ts";
import { type ChangeMaker, readWireText, type WireChange } from "./message-text.ts";
import type { BatchHeader } from "./position.ts";
import type { Mark, QueueMessage } from "./queue.ts";
import {
  type ChangesPage,
  decodeLines,
  filterLetters,
  NEWLINE,
  parseFilters,
  type RowLines,
} from "./row-lines.ts";
import type { ChunkLines } from "./source.ts";
import { isTagged, type Row } from "./value.ts";

/**
 * The message format (docs/reference/message.md, message.schema.json).
 *
 * A batch or a chunk travels as *pieces*, each a JSON text that can be read by itself; a piece
 * larger than the queue's limit travels as *fragments* of its bytes. Rows of a chunk may stand behind
 * the JSON as lines (core/row-lines.ts), parted from it by a newline, which JSON as we write it never
 * holds. Readers refuse a major version that they do not know.
 */
const MESSAGE_VERSION = 1;
/** Of a piece whose rows are in binary: who does not know them must not take them for lines. */
const BINARY_VERSION = 2;

/** Pieces are closed at about this many characters; small enough to stay flat, large enough to batch. */
const PIECE_CHARACTERS = 256 * 1024;

/** Of the number of lines in a piece. */
const COUNT_CHARACTERS = 10;

/** Pieces with lines: nothing is decoded of them, so larger ones cost no more memory. Fits a megabyte. */
const LINES_BYTES = 900 * 1024;

/** What a chunk message says of the copy it belongs to. */
export interface CopyInfo {
  /** The sync that asked; others pass the chunk by. */
  readonly sync: string;
  /** Identity of the copy and of the attempt at it, as asked. */
  readonly copy: string;
  readonly attempt: number;
  /** Source table, as formatTable gives it. */
  readonly table: string;
  /** Cursor of the chunk before; null for the first. */
  readonly after: string | null;
  /** Cursor of this chunk. */
  readonly cursor: string;
  readonly done: boolean;
  readonly estimatedRows: number | null;
}

/** A decoded piece. */
export interface Piece {
  readonly mark: Mark;
  /** Size of its text: what holding it costs, about. */
  readonly bytes: number;
  readonly source: string;
  /** Of the batch; for a chunk, of the batch it is as of. */
  readonly header: BatchHeader;
  /** Null for a batch's own changes. */
  readonly copy: CopyInfo | null;
  /** How many changes it holds. */
  readonly count: number;
  /** For a chunk: one insert for each row copied. Decoded from the lines, where it holds such, at each call. */
  readonly changes: readonly Change[];
  readonly lines: RowLines | null;
}

export interface Envelope {
  readonly source: string;
  readonly header: BatchHeader;
  readonly chunk: number;
  readonly copy: CopyInfo | null;
}

type WireTransaction = [id: string | null, origin: string | null, hops: readonly string[]];

const OPS: Record<Operation, string> = { insert: "i", update: "u", delete: "d", truncate: "t" };
const OP_NAMES = new Map(Object.entries(OPS).map(([name, op]) => [op, name as Operation]));

/** Encodes changes into messages, each yielded group being the fragments of one piece. */
export function encodePieces(
  envelope: Envelope,
  pages: AsyncIterable<ChangesPage>,
  maxMessageBytes: number,
): AsyncGenerator<QueueMessage[]> {
  const bodies = bodiesOfChanges(encodeHead(envelope), pages);
  return releasable(toPieces(envelope, bodies, maxMessageBytes));
}

/** The rows of a chunk, untouched, cut into pieces at the ends of lines. */
export function encodeLines(
  envelope: Envelope,
  layout: number,
  content: ChunkLines,
  maxMessageBytes: number,
): AsyncGenerator<QueueMessage[]> {
  const { filtered, binary = false } = content;
  const version = binary ? BINARY_VERSION : MESSAGE_VERSION;
  const format = binary ? ',"binary":true' : "";
  const head = `${encodeHead(envelope, version)},"layout":${layout},"filtered":${filtered}${format}`;
  return releasable(toPieces(envelope, bodiesOfLines(head, content), maxMessageBytes));
}

/** Fragments share the memory of their piece: it goes with the last of them. */
async function* releasable(pieces: AsyncIterable<QueueMessage[]>): AsyncGenerator<QueueMessage[]> {
  for await (const messages of pieces) {
    const last = messages.pop() as QueueMessage;
    yield [...messages, { ...last, release: () => freeMemory(last.body) }];
  }
}

/** The last piece is known only at the end, so one is held back: memory is two pieces and a page. */
async function* toPieces(
  envelope: Envelope,
  bodies: AsyncIterable<Buffer>,
  maxMessageBytes: number,
): AsyncGenerator<QueueMessage[]> {
  let held: Buffer | null = null;
  let piece = 0;
  for await (const body of bodies) {
    if (held !== null) yield toMessages(envelope, held, piece++, false, maxMessageBytes);
    held = body;
  }
  if (held !== null) yield toMessages(envelope, held, piece, true, maxMessageBytes);
}

/** At least one body, be it empty. */
async function* bodiesOfChanges(
  head: string,
  pages: AsyncIterable<ChangesPage>,
): AsyncGenerator<Buffer> {
  let isFirst = true;
  let body = new PieceBuilder(head);
  for await (const page of pages) {
    if ("bytes" in page) {
      if (!body.empty) yield Buffer.from(body.finish(), "utf8");
      body = new PieceBuilder(head);
      yield bodyOfInserts(head, page);
      isFirst = false;
      continue;
    }
    for (const change of page) {
      body.add(change);
      if (body.length < PIECE_CHARACTERS) continue;
      yield Buffer.from(body.finish(), "utf8");
      isFirst = false;
      body = new PieceBuilder(head);
    }
  }
  if (isFirst || !body.empty) yield Buffer.from(body.finish(), "utf8");
}

/** At least one body, be it empty. */
async function* bodiesOfLines(head: string, content: ChunkLines): AsyncGenerator<Buffer> {
  // As long for each number, so that the room for it is known before the lines are.
  const before = (rows: number) => `${head},"lines":${String(rows).padStart(COUNT_CHARACTERS)}}\n`;
  const headroom = Buffer.byteLength(before(0), "utf8");
  let isFirst = true;
  for await (const { bytes, rows } of content.blocks({ headroom, size: LINES_BYTES })) {
    bytes.write(before(rows), "utf8");
    yield bytes;
    isFirst = false;
  }
  if (isFirst) yield Buffer.from(before(0), "utf8");
}

/** Rows as lines, and the transaction that inserted them. */
function bodyOfInserts(head: string, lines: RowLines): Buffer {
  const { layout, filtered, rows, bytes, insertedBy } = lines;
  const { transaction = null, origin = null, hops = NO_HOPS } = insertedBy ?? {};
  const transactions: WireTransaction[] = [[transaction, origin, hops]];
  const more = JSON.stringify({ layout, filtered, transactions, lines: rows });
  const body = Buffer.concat([Buffer.from(`${head},${more.slice(1)}\n`, "utf8"), bytes]);
  lines.release?.();
  return body;
}

function encodeHead({ source, header, copy }: Envelope, version = MESSAGE_VERSION): string {
  const head = JSON.stringify({ v: version, source, header, copy });
  return head.slice(0, -1);
}

/** Collects one piece and writes its JSON at once, which is quicker than change by change. */
class PieceBuilder {
  readonly #head: string;
  readonly #transactions: WireTransaction[] = [];
  readonly #changes: WireChange[] = [];
  #last: Change | null = null;
  /** About as many characters as the JSON will have. */
  length = 0;

  constructor(head: string) {
    this.#head = head;
  }

  get empty(): boolean {
    return this.#changes.length === 0;
  }

  add(change: Change): void {
    this.#changes.push([
      change.layout,
      OPS[change.op],
      this.#transactionOf(change),
      change.keyBefore,
      change.row,
      change.rowBefore,
      change.filters.length === 0 ? "" : filterLetters(change.filters),
    ]);
    this.length += CHANGE_CHARACTERS + lengthOf(change.keyBefore);
    this.length += lengthOf(change.row) + lengthOf(change.rowBefore);
  }

  finish(): string {
    const transactions = JSON.stringify(this.#transactions);
    return `${this.#head},"transactions":${transactions},"changes":${JSON.stringify(this.#changes)}}`;
  }

  #transactionOf(change: Change): number {
    const last = this.#last;
    const same =
      last !== null &&
      last.transaction === change.transaction &&
      last.origin === change.origin &&
      last.hops.length === change.hops.length &&
      last.hops.every((hop, index) => hop === change.hops[index]);
    if (!same) this.#transactions.push([change.transaction, change.origin, change.hops]);
    this.#last = change;
    return this.#transactions.length - 1;
  }
}

/** What a change takes beside its values. */
const CHANGE_CHARACTERS = 32;

function lengthOf(row: Row | null): number {
  if (row === null) return 0;
  let length = 0;
  for (const value of row) {
    if (typeof value === "string") length += value.length + 3;
    else length += isTagged(value) ? value[1].length + 12 : 6;
  }
  return length;
}

function toMessages(
  { header, chunk }: Envelope,
  bytes: Buffer,
  piece: number,
  last: boolean,
  maxMessageBytes: number,
): QueueMessage[] {
  const fragments = Math.max(1, Math.ceil(bytes.length / maxMessageBytes));
  let checksum = 0;
  return Array.from({ length: fragments }, (_, fragment) => {
    const body = bytes.subarray(fragment * maxMessageBytes, (fragment + 1) * maxMessageBytes);
    const { timeline, batch } = header;
    checksum = crc32(body, checksum);
    return { mark: { timeline, batch, chunk, piece, fragment, fragments, last, checksum }, body };
  });
}

/** Puts fragments together and decodes pieces. Throws TM-MESSAGE-CORRUPT, TM-MESSAGE-VERSION. */
export class PieceReader {
  #fragments: Uint8Array[] = [];
  /** Of the fragments before: goes on from one to the next, so that none of another piece can follow. */
  #checksum = 0;

  /** The piece that this message completes; null while fragments are missing. */
  push(message: QueueMessage): Piece | null {
    const { mark, body } = message;
    // A resend may begin while a piece was half there: only a run 0, 1, 2 … makes a piece.
    if (mark.fragment === 0) this.#fragments = [];
    if (mark.fragment !== this.#fragments.length) throw corrupt(mark, "a fragment is missing");
    this.#checksum = crc32(body, mark.fragment === 0 ? 0 : this.#checksum);
    if (this.#checksum !== mark.checksum) throw corrupt(mark, "its checksum does not match");
    this.#fragments.push(body);
    if (this.#fragments.length < mark.fragments) return null;
    const isWhole = mark.fragments === 1;
    const bytes = isWhole ? body : Buffer.concat(this.#fragments);
    this.#fragments = [];
    return decodePiece(mark, bytes, isWhole ? message.release : undefined);
  }
}

function decodePiece(mark: Mark, body: Uint8Array, release: QueueMessage["release"]): Piece {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
  const end = bytes.indexOf(NEWLINE);
  const wire = parse(mark, bytes.toString("utf8", 0, end === -1 ? bytes.length : end));
  const known = "binary" in wire ? BINARY_VERSION : MESSAGE_VERSION;
  if (wire.v !== known) {
    throw new TidemarkError(
      "TM-MESSAGE-VERSION",
      `Batch ${mark.batch} is written in message format ${wire.v}; this program reads up to ${BINARY_VERSION}.`,
      {
        fix: "Run the version of Tidemark that the relay runs; where it was put back to this one, begin with an empty queue: see docs/errors/TM-MESSAGE-VERSION.md.",
      },
    );
  }
  const { source, header, copy } = wire;
  const common = { mark, bytes: bytes.length, source, header, copy };
  if ("changes" in wire) {
    const { changes } = wire;
    return { ...common, count: changes.length, changes, lines: null };
  }
  const { layout, filtered, binary, lines: rows, transactions } = wire;
  const lines: RowLines = {
    ...{ layout, filtered, binary, rows, bytes: bytes.subarray(end + 1) },
    insertedBy: copy === null ? transactionOf(transactions ?? [], 0) : undefined,
    ...(release && { release }),
  };
  return {
    ...common,
    count: rows,
    lines,
    get changes() {
      return decodeLines(lines);
    },
  };
}

interface WireHead {
  readonly v: number;
  readonly source: string;
  readonly header: BatchHeader;
  readonly copy: CopyInfo | null;
}

interface WireChangesHead extends WireHead {
  readonly transactions: readonly WireTransaction[];
}

interface ReadChanges extends WireHead {
  readonly changes: readonly Change[];
}

interface WireLines extends WireHead {
  readonly layout: number;
  readonly filtered: boolean;
  readonly binary?: boolean;
  /** One, of a batch's own rows. */
  readonly transactions?: readonly WireTransaction[];
  readonly lines: number;
}

function parse(mark: Mark, text: string): ReadChanges | WireLines {
  try {
    const read = readWireText(text, changeMaker);
    if (read !== null) return { ...read.head, changes: read.changes };
    const wire = JSON.parse(text) as WireLines | (WireChangesHead & { changes: WireChange[] });
    if (!("changes" in wire)) return wire;
    const make = changeMaker(wire);
    return { ...wire, changes: wire.changes.map((change) => make(...change)) };
  } catch (cause) {
    throw corrupt(mark, "it is not JSON", cause);
  }
}

const NO_HOPS: readonly string[] = [];

function transactionOf(transactions: readonly WireTransaction[], index: number): TransactionOf {
  const of = transactions[index];
  if (of === undefined) return { transaction: null, origin: null, hops: NO_HOPS };
  return { transaction: of[0], origin: of[1], hops: of[2] };
}

function changeMaker({ transactions }: WireChangesHead): ChangeMaker<Change> {
  // biome-ignore lint/complexity/useMaxParams: they are the fields of a change, in the order of the format.
  return (layout, op, index, keyBefore, row, rowBefore, filters) => {
    const { transaction, origin, hops } = transactionOf(transactions, index);
    return {
      layout,
      op: OP_NAMES.get(op) ?? "insert",
      keyBefore,
      row,
      rowBefore,
      filters: parseFilters(filters),
      transaction,
      origin,
      hops,
    };
  };
}

function corrupt(mark: Mark, why: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    "TM-MESSAGE-CORRUPT",
    `A message of batch ${mark.batch} (piece ${mark.piece}) cannot be read: ${why}.`,
    { cause, details: { batch: mark.batch, piece: mark.piece } },
  );
}
