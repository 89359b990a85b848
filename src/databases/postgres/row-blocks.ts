import { TidemarkError } from "../../core/errors.ts";
import type { LinesBlock, LinesRoom } from "../../core/source.ts";

/** Signature, flags, length of an extension: https://www.postgresql.org/docs/current/sql-copy.html, Binary Format. */
const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
export const HEADER = Buffer.concat([SIGNATURE, Buffer.alloc(8)]);
/** In place of a row's number of fields. */
export const TRAILER = Buffer.from([0xff, 0xff]);

const FIELDS_BYTES = 2;
const LENGTH_BYTES = 4;

/**
 * As {@link lineBlocks}, of COPY's binary format: whole rows, without what stands before and behind all of them. Throws
 * TM-INTERNAL when they do not begin or end as they should.
 */
export async function* rowBlocks(
  chunks: AsyncIterable<Buffer>,
  { headroom, size }: LinesRoom,
): AsyncGenerator<LinesBlock> {
  const allocate = (bytes: number) => Buffer.allocUnsafeSlow(headroom + Math.max(size, bytes));
  const full = headroom + size;
  let block = allocate(size);
  /** How far the block is filled, how far with whole rows, and their number. */
  let [end, wholeEnd, rows] = [headroom, headroom, 0];
  for await (const chunk of withoutHeader(chunks)) {
    for (let at = 0; ; ) {
      // A row that is longer than a block is one by itself.
      const room = Math.max(0, (rows > 0 ? full : block.length) - end);
      const copied = chunk.copy(block, end, at, at + room);
      [end, at] = [end + copied, at + copied];
      for (let next = rowEnd(block, wholeEnd, end); next !== -1; ) {
        if (rows > 0 && next > full) break;
        [wholeEnd, rows] = [next, rows + 1];
        next = rowEnd(block, wholeEnd, end);
      }
      // There was room for all of the chunk.
      if (end < (rows > 0 ? full : block.length)) break;
      const begun = end - wholeEnd;
      const following = allocate(2 * begun);
      block.copy(following, headroom, wholeEnd, end);
      if (rows > 0) yield { bytes: block.subarray(0, wholeEnd), rows };
      [block, end, wholeEnd, rows] = [following, headroom + begun, headroom, 0];
    }
  }
  if (!block.subarray(wholeEnd, end).equals(TRAILER)) throw malformed();
  if (rows > 0) yield { bytes: block.subarray(0, wholeEnd), rows };
}

/** Where the row that begins at `at` ends; -1 when the rest of it is not there yet, or none begins. */
function rowEnd(bytes: Buffer, at: number, end: number): number {
  if (at + FIELDS_BYTES > end) return -1;
  let fields = bytes.readInt16BE(at);
  if (fields < 0) return -1;
  let next = at + FIELDS_BYTES;
  for (; fields > 0; fields--) {
    if (next + LENGTH_BYTES > end) return -1;
    // NULL has a length of -1, and no bytes.
    next += LENGTH_BYTES + Math.max(0, bytes.readInt32BE(next));
  }
  return next <= end ? next : -1;
}

async function* withoutHeader(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let before: Buffer | null = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (before === null) {
      yield chunk;
      continue;
    }
    before = Buffer.concat([before, chunk]);
    if (before.length < HEADER.length) continue;
    if (!before.subarray(0, HEADER.length).equals(HEADER)) throw malformed();
    yield before.subarray(HEADER.length);
    before = null;
  }
  if (before !== null) throw malformed();
}

function malformed(): TidemarkError {
  return new TidemarkError("TM-INTERNAL", "The server's COPY in binary is not as its manual says.");
}
