import { sleep } from "../core/async.ts";
import { isTidemarkError, TidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import type { Logger } from "../core/log.ts";
import { type Position, START } from "../core/position.ts";
import {
  isComplete,
  isSameMark,
  type QueueMessage,
  type QueueStream,
  type StreamTail,
} from "../core/queue.ts";

export interface AppenderOptions {
  readonly stream: QueueStream;
  readonly maxStreamBytes: number;
  /** May a batch that is larger pass it? */
  readonly isBoundSoft: boolean;
  readonly room: Room;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** What becomes of a full stream. */
export interface Room {
  /**
   * Takes out what nobody needs any more. `end`: where the stream ended before what finds no room. False when the
   * relay has to begin anew first.
   */
  make(end: Position): Promise<boolean>;
  /** What was to be sent is in the stream. */
  found(): void;
}

/** What is being sent, for people, and its batch. */
export interface Sending {
  readonly what: string;
  readonly batch: number;
}

/** Appends to the stream behind the tail that it believes in, when there is room. */
export class Appender {
  readonly #options: AppenderOptions;
  #tail: StreamTail = { sequence: 0, mark: null };
  #sending: Sending = { what: "", batch: 0 };
  /** Of what is being sent, how much is in the stream. */
  #sentBytes = 0;
  /** Where the stream ended before it. */
  #end: Position = START;
  /** What the stream may hold beyond its bound, for what is being sent. */
  #allowedBytes = 0;

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  get tail(): StreamTail {
    return this.#tail;
  }

  /** Believes what the stream says. */
  async readTail(): Promise<StreamTail> {
    this.#tail = await this.#options.stream.tail();
    return this.#tail;
  }

  /** Another batch or chunk is to come: the bound is what it was. */
  async begin(sending: Sending): Promise<void> {
    this.#sending = sending;
    this.#sentBytes = 0;
    this.#end = endOf(this.#tail);
    if (this.#allowedBytes > 0) await this.#allow(0);
  }

  /** A full queue holds back the relay; the change log goes on growing safely meanwhile. */
  async append(messages: readonly QueueMessage[]): Promise<void> {
    const { signal, logger, stream, room } = this.#options;
    // Before they are given away: a queue frees what it has stored.
    const bytes = bytesOf(messages);
    let rest = messages;
    for (let attempt = 0; ; attempt++) {
      try {
        const tail = await stream.append(this.#tail, rest);
        failpoint("piece-sent");
        room.found();
        this.#tail = tail;
        this.#sentBytes += bytes;
        return;
      } catch (error) {
        if (!isTidemarkError(error, "TM-QUEUE-FULL") || signal.aborted) throw error;
        rest = await this.#unsent(rest);
        // Where the stream is within its bound, what is to be sent is not too large for it.
        if (error.details.isWithinBound !== true && (await this.#stretch(bytes))) continue;
        if (attempt > FULL_ATTEMPTS) throw error;
        if (attempt === 0) logger.warn({}, "the queue is full: waiting for targets to confirm");
        // A stream that was made anew meanwhile has its own bound.
        if (this.#allowedBytes > 0) await this.#allow(this.#allowedBytes);
        if (!(await room.make(this.#end))) throw error;
        await sleep(FULL_PAUSE_MS, signal);
      }
    }
  }

  /** Which of these a full stream did not take: it may have stored the first of them. */
  async #unsent(messages: readonly QueueMessage[]): Promise<readonly QueueMessage[]> {
    const tail = await this.#options.stream.tail();
    const taken = tail.sequence - this.#tail.sequence;
    const last = messages[taken - 1]?.mark;
    // What another relay has sent is found out by the next append.
    if (last === undefined || tail.mark === null || !isSameMark(last, tail.mark)) return messages;
    this.#tail = tail;
    return messages.slice(taken);
  }

  /**
   * A batch is trimmed only when it is confirmed whole: one that fills the queue by itself never will be. True when
   * the bound was raised for it. Throws TM-QUEUE-LIMIT where somebody has set that.
   */
  async #stretch(ownBytes: number): Promise<boolean> {
    const { logger, maxStreamBytes, isBoundSoft } = this.#options;
    const sentBytes = this.#sentBytes;
    const bound = Math.max(maxStreamBytes, this.#allowedBytes);
    const isFull = sentBytes > bound / 2 || sentBytes + ownBytes > bound;
    if (isFull && !isBoundSoft) throw tooLarge(this.#sending, maxStreamBytes);
    if (sentBytes + ownBytes <= bound / 2 || !isBoundSoft) return false;
    logger.warn(
      { batch: this.#sending.batch, bytes: sentBytes, bound: maxStreamBytes },
      "a batch that fills the queue by itself passes its bound",
    );
    await this.#allow(2 * Math.max(bound, sentBytes + ownBytes));
    return true;
  }

  async #allow(bytes: number): Promise<void> {
    await this.#options.stream.allow(bytes);
    this.#allowedBytes = bytes;
  }
}

/** After these the relay begins anew, which also purges, and gives up whoever passes the retention bound. */
const FULL_ATTEMPTS = 20;
const FULL_PAUSE_MS = 100;

/** The last batch or chunk that stands whole in the stream, or would without what was cut off. */
function endOf({ mark }: StreamTail): Position {
  if (mark === null) return START;
  if (isComplete(mark)) return { batch: mark.batch, chunk: mark.chunk };
  return {
    batch: mark.chunk === 0 ? mark.batch - 1 : mark.batch,
    chunk: Math.max(0, mark.chunk - 1),
  };
}

function tooLarge({ what, batch }: Sending, maxStreamBytes: number): TidemarkError {
  return new TidemarkError(
    "TM-QUEUE-LIMIT",
    `${what} does not fit into the queue, which is bounded to ${maxStreamBytes} bytes.`,
    {
      fix: "Raise queue.maxSize in the config (queue: { url: …, maxSize: 8GB }) and start again.",
      details: { batch, maxStreamBytes },
    },
  );
}

function bytesOf(messages: readonly QueueMessage[]): number {
  return messages.reduce((sum, { body }) => sum + body.length, 0);
}
