import { NEWLINE } from "../../core/row-lines.ts";
import type { LinesBlock, LinesRoom } from "../../core/source.ts";

/**
 * Bytes that come cut anywhere, as blocks of whole lines, each with room before them. What stands behind the last
 * newline of all is no line.
 */
export async function* lineBlocks(
  chunks: AsyncIterable<Buffer>,
  { headroom, size }: LinesRoom,
): AsyncGenerator<LinesBlock> {
  const allocate = (bytes: number) => Buffer.allocUnsafeSlow(headroom + Math.max(size, bytes));
  let block = allocate(size);
  /** How far the block is filled, how far with whole lines, and their number. */
  let [end, wholeEnd, rows] = [headroom, headroom, 0];
  for await (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) {
      const fitting = linesThatFit(chunk, at, headroom + size - end);
      end += chunk.copy(block, end, at, fitting.end);
      if (fitting.count > 0) [wholeEnd, rows] = [end, rows + fitting.count];
      at = fitting.end;
      // The part of a line that is here; all of it where the chunk has its end.
      const newline = chunk.indexOf(NEWLINE, at);
      const next = newline === -1 ? chunk.length : newline + 1;
      if (end + next - at > (rows > 0 ? headroom + size : block.length)) {
        const begun = end - wholeEnd;
        const following = allocate(2 * (begun + next - at));
        block.copy(following, headroom, wholeEnd, end);
        // Whoever takes it may give its memory back before asking for the next one.
        if (rows > 0) yield { bytes: block.subarray(0, wholeEnd), rows };
        [block, end, wholeEnd, rows] = [following, headroom + begun, headroom, 0];
      }
      end += chunk.copy(block, end, at, next);
      if (newline !== -1) [wholeEnd, rows] = [end, rows + 1];
      at = next;
    }
  }
  if (rows > 0) yield { bytes: block.subarray(0, wholeEnd), rows };
}

/** Where the last line ends that the room takes, and how many there are. */
function linesThatFit(chunk: Buffer, at: number, room: number): { end: number; count: number } {
  let [end, count] = [at, 0];
  for (;;) {
    const next = chunk.indexOf(NEWLINE, end) + 1;
    if (next === 0 || next - at > room) return { end, count };
    [end, count] = [next, count + 1];
  }
}
