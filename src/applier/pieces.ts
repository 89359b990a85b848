import { ReadAhead } from "../core/async.ts";
import { type Piece, PieceReader } from "../core/message.ts";
import type { Position } from "../core/position.ts";
import type { QueueMessage, QueueStream } from "../core/queue.ts";
import type { FalseStarts } from "./false-starts.ts";

/** Read ahead of the target: one or two pieces are enough to keep it busy, and decoded they are large. */
const READ_AHEAD_PIECES = 16;
const READ_AHEAD_BYTES = 512 * 1024;
/** A row of megabytes is held once: as the target takes it, and not while the next one is decoded. */
const ALONE_BYTES = 4 * 1024 * 1024;

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
  return new ReadAhead(readPieces(options.falseStarts.passBy(messages)), {
    items: READ_AHEAD_PIECES,
    weight: READ_AHEAD_BYTES,
    weigh: ({ bytes }) => bytes,
    alone: ALONE_BYTES,
  });
}

/**
 * When messages last came, fragments too, of which one piece may have hundreds; or were asked for again: what nobody
 * reads, as the target has a row of megabytes, is no silence.
 */
export class Arrivals {
  #at = performance.now();
  #behindSince: number | null = null;

  async *note(messages: AsyncIterable<QueueMessage>): AsyncGenerator<QueueMessage> {
    for await (const message of messages) {
      this.#at = performance.now();
      yield message;
      this.#at = performance.now();
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
