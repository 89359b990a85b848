import { ReadAhead } from "../core/async.ts";
import { type Piece, PieceReader } from "../core/message.ts";
import type { Position } from "../core/position.ts";
import type { QueueMessage, QueueStream } from "../core/queue.ts";

/** Read ahead of the target: one or two pieces are enough to keep it busy, and decoded they are large. */
const READ_AHEAD_PIECES = 16;
const READ_AHEAD_BYTES = 512 * 1024;

/** The pieces of a stream behind `position`, read ahead of whoever takes them. */
export function readAhead(
  stream: QueueStream,
  position: Position,
  options: {
    readonly arrivals: Arrivals;
    readonly falseStarts: FalseStarts;
    readonly signal: AbortSignal;
  },
): ReadAhead<Piece> {
  const messages = options.arrivals.note(stream.read(position, options.signal));
  return new ReadAhead(readPieces(fromTrueStart(messages, options.falseStarts)), {
    items: READ_AHEAD_PIECES,
    weight: READ_AHEAD_BYTES,
    weigh: ({ bytes }) => bytes,
  });
}

/**
 * Beginnings of a batch that lead nowhere: the relay died after each and sent the batch again from
 * its start, and the stream cannot forget them. Whoever reads from there meets them every time.
 */
export interface FalseStarts {
  readonly batch: number;
  readonly count: number;
}

export const NO_FALSE_STARTS: FalseStarts = { batch: 0, count: 0 };

async function* fromTrueStart(
  messages: AsyncIterable<QueueMessage>,
  { batch, count }: FalseStarts,
): AsyncGenerator<QueueMessage> {
  let starts = 0;
  for await (const message of messages) {
    const { mark } = message;
    const isOfIt = mark.batch === batch && mark.chunk === 0;
    if (isOfIt && mark.piece === 0 && mark.fragment === 0) starts++;
    if (!isOfIt || starts > count) yield message;
  }
}

/** When messages last came: fragments too, of which one piece may have hundreds. */
export class Arrivals {
  #at = performance.now();
  #behindSince: number | null = null;

  async *note(messages: AsyncIterable<QueueMessage>): AsyncGenerator<QueueMessage> {
    for await (const message of messages) {
      this.#at = performance.now();
      yield message;
    }
  }

  get quietMs(): number {
    return performance.now() - this.#at;
  }

  /** How long nothing has come although something should; 0 when not `behind`. */
  silentMs(behind: boolean): number {
    const now = performance.now();
    this.#behindSince = behind ? (this.#behindSince ?? now) : null;
    return this.#behindSince === null ? 0 : now - Math.max(this.#behindSince, this.#at);
  }
}

async function* readPieces(messages: AsyncIterable<QueueMessage>): AsyncGenerator<Piece> {
  const reader = new PieceReader();
  for await (const message of messages) {
    const piece = reader.push(message);
    if (piece !== null) yield piece;
  }
}
