import { ReadAhead, sleep } from "../core/async.ts";
import { isTidemarkError } from "../core/errors.ts";
import { type Piece, PieceReader } from "../core/message.ts";
import type { Mark, QueueMessage, QueueStream } from "../core/queue.ts";
import { type Fresh, Unrepeated } from "./unrepeated.ts";

/** Batches that a reader of a stream will not be given any more, or not whole. */
export interface Gap {
  readonly source: string;
  /** The first of them, and the last. */
  readonly from: number;
  readonly to: number;
}

/** So long what is missing is awaited: an applier that lacks it has it sent again. Then it is looked for once more. */
const PATIENCE_MS = 3_000;
const AHEAD_PIECES = 4;

export interface FollowOptions {
  readonly source: string;
  /** The end of the stream a moment ago, to be given only what comes from now on; null: from what it still holds. */
  readonly after: Mark | null;
  readonly signal: AbortSignal;
  /** May throw. */
  readonly onGap: (gap: Gap) => void;
  /** For tests. */
  readonly patienceMs?: number;
}

/** The changes of a stream, in order and each once, for a reader whom the queue keeps nothing for. */
export async function* follow(
  stream: QueueStream,
  { source, after, signal, onGap, patienceMs = PATIENCE_MS }: FollowOptions,
): AsyncGenerator<Fresh & { readonly piece: Piece }> {
  const unrepeated = new Unrepeated(after);
  /**
   * Between asking for the end and being given what follows it batches come and go: those went before "from now on".
   * It begins with the first piece, or where nothing follows the end.
   */
  let hasBegun = after === null;
  const passTo = (next: Pick<Mark, "timeline" | "batch">) => {
    const from = unrepeated.passTo(next);
    if (from !== null && hasBegun) onGap({ source, from, to: next.batch - 1 });
  };
  const begin = (mark: Mark) => {
    if (unrepeated.isAhead(mark)) passTo(mark);
    // A chunk follows its batch.
    else if (mark.chunk > 0 && unrepeated.lacks(mark)) passTo({ ...mark, batch: mark.batch + 1 });
    hasBegun = true;
  };
  /** Was what is missing awaited already, and looked for? */
  let isAwaited = false;
  while (!signal.aborted) {
    const reading = new AbortController();
    const both = AbortSignal.any([signal, reading.signal]);
    const pieces = new ReadAhead(readPieces(stream.read(unrepeated.position, both)), AHEAD_PIECES);
    let quietSince = performance.now();
    try {
      for (;;) {
        if (!(await pieces.available(patienceMs / 3))) {
          const { mark } = await stream.tail();
          if (!unrepeated.lacks(mark)) {
            hasBegun = true;
            quietSince = performance.now();
          } else if (performance.now() - quietSince >= patienceMs) {
            if (!isAwaited) break;
            const { timeline, batch } = mark as Mark;
            passTo({ timeline, batch: batch + 1 });
            isAwaited = false;
          }
          continue;
        }
        const piece = await pieces.next();
        if (piece === null) return;
        if (piece === DAMAGED) unrepeated.lose();
        else {
          if (!hasBegun) begin(piece.mark);
          if (unrepeated.isAhead(piece.mark)) {
            if (!isAwaited) break;
            passTo(piece.mark);
          }
          const { batch } = unrepeated.position;
          const fresh = unrepeated.take(piece);
          if (fresh.length > 0 || unrepeated.position.batch !== batch) isAwaited = false;
          for (const each of fresh) yield { ...each, piece };
        }
        // Only now: whoever reads may have been long at it.
        quietSince = performance.now();
      }
    } finally {
      reading.abort();
      await pieces.close();
    }
    isAwaited = true;
    await sleep(patienceMs, signal);
  }
}

const DAMAGED = "damaged";

async function* readPieces(
  messages: AsyncIterable<QueueMessage>,
): AsyncGenerator<Piece | typeof DAMAGED> {
  const reader = new PieceReader();
  for await (const message of messages) {
    try {
      const piece = reader.push(message);
      if (piece !== null) yield piece;
    } catch (error) {
      if (!isTidemarkError(error, "TM-MESSAGE-CORRUPT")) throw error;
      // It is sent again, since no applier gets past it.
      yield DAMAGED;
    }
  }
}
