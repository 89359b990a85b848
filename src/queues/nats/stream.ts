import { randomUUID } from "node:crypto";
import type { StreamInfo } from "@nats-io/jetstream";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import type { Position } from "../../core/position.ts";
import type { QueueMessage, QueueStream, StreamStats, StreamTail } from "../../core/queue.ts";
import { BatchEnds } from "./batch-ends.ts";
import { LEAST_PAYLOAD, REQUEST_TIMEOUT_MS } from "./client.ts";
import type { QueueConnection } from "./connection.ts";
import { isStoreFailed, toQueueError } from "./errors.ts";
import { sequenceAfter, storedAt } from "./log.ts";
import { decodeMark, encodeMark, MARK_HEADER, RESET_HEADER } from "./marks.ts";
import { streamName, streamSubject } from "./names.ts";
import { readStream } from "./reader.ts";
import {
  ensureStream,
  isBroken,
  removeBroken,
  type StreamSettings,
  updateBound,
} from "./settings.ts";

/** Of the largest message the server takes, what the mark and the server's own headers may need. */
const HEADER_ROOM_BYTES = 4096;
/** NATS's own default, whatever the server takes: what is on its way holds up all that is behind it. */
const MOST_BYTES = 1024 * 1024;
/** On their way at once, of one append: at most so much, at first as much as one message may be. */
const WINDOW_MESSAGES = 64;
const WINDOW_BYTES = 8 * 1024 * 1024;
/** The window is twice as large when all of it was answered sooner than this, half as large when later. */
const SOON_MS = 250;
const LATE_MS = 1_000;
/** The slowest connection that is waited for, and the longest: as long as until a dead one is found out. */
const SLOWEST_BYTES_IN_MS = 100;
const LONGEST_TIMEOUT_MS = 15_000;

/** The server gives a message whole, though only its mark is wanted: those of so many bytes are not asked for again. */
const LARGE_BYTES = 64 * 1024;

/** Of a server that has come to take less than the least, what is sent is refused, with what mends it. */
export function maxMessageBytes({ maxPayload }: QueueConnection): number {
  return Math.max(LEAST_PAYLOAD, Math.min(maxPayload, MOST_BYTES)) - HEADER_ROOM_BYTES;
}

export class NatsStream implements QueueStream {
  readonly #connection: QueueConnection;
  readonly #source: string;
  readonly #name: string;
  readonly #subject: string;
  readonly #settings: StreamSettings;
  readonly #maxBytes: number;
  /** The largest message that the server took when this was opened. */
  readonly #maxMessageBytes: number;
  readonly #ends = new BatchEnds();
  /** What this connection has shown to carry in less than a second. */
  #windowBytes = MOST_BYTES;
  #allowedBytes = 0;
  /** The end as it was last told, where that took a large message. */
  #lastLarge: { readonly id: string; readonly tail: StreamTail } | null = null;
  /** Is the bound what it should be, as far as we know? */
  #isBoundRight = true;

  private constructor(connection: QueueConnection, source: string, maxBytes: number) {
    const { prefix, replicas } = connection.location;
    this.#connection = connection;
    this.#source = source;
    this.#maxBytes = maxBytes;
    this.#maxMessageBytes = maxMessageBytes(connection);
    this.#name = streamName(prefix, source);
    this.#subject = streamSubject(prefix, source);
    this.#settings = {
      name: this.#name,
      description: "Tidemark: batches of one source",
      subjects: [this.#subject],
      storage: "file",
      retention: "limits",
      // A full stream refuses; it never drops what is not confirmed.
      discard: "new",
      max_bytes: maxBytes,
      max_age: 0,
      num_replicas: replicas,
      // Ids only chain messages; nothing is ever taken for a duplicate, so none need be remembered.
      duplicate_window: 1_000_000_000,
      allow_direct: true,
    };
  }

  static async open(
    connection: QueueConnection,
    source: string,
    maxBytes: number,
  ): Promise<NatsStream> {
    const stream = new NatsStream(connection, source, maxBytes);
    // Only ever raised by who may not be the one that appends: what is stored meanwhile would not be counted.
    const info = await stream.#inspect();
    const { max_bytes } = info.config;
    if (max_bytes > 0 && max_bytes < maxBytes) await updateBound(connection, info, maxBytes);
    else stream.#isBoundRight = max_bytes === maxBytes;
    return stream;
  }

  async tail(): Promise<StreamTail> {
    for (let missing = 0; ; ) {
      const { state, created } = await this.#inspect();
      const sequence = state.last_seq;
      if (state.messages === 0) return { sequence, mark: null };
      // The time tells it from another one of this number, in a stream that was restored or made anew.
      const id = `${created} ${sequence} ${state.last_ts}`;
      if (id === this.#lastLarge?.id) return this.#lastLarge.tail;
      const stored = await storedAt(this.#connection, this.#name, sequence);
      if (stored !== null) {
        const tail = { sequence, mark: decodeMark(stored.header.get(MARK_HEADER)) };
        this.#lastLarge = stored.data.length >= LARGE_BYTES ? { id, tail } : null;
        return tail;
      }
      // Not there: emptied between the two questions. But once more, with the same end, it is lost.
      if (sequence === missing) await removeBroken(this.#connection, this.#name);
      missing = sequence;
    }
  }

  async append(after: StreamTail, messages: readonly QueueMessage[]): Promise<StreamTail> {
    for (const message of messages) this.#refuseTooLarge(message);
    if (messages.length === 0) return this.#guarded(after);
    if (!this.#isBoundRight) await this.#updateBound();
    let { sequence, mark } = after;
    const chain = new Chain();
    for (let rest = messages; rest.length > 0; ) {
      const window = takeWindow(rest, this.#windowBytes);
      rest = rest.slice(window.length);
      await this.#publish(sequence, window, chain);
      sequence += window.length;
      mark = window.at(-1)?.mark ?? mark;
    }
    return { sequence, mark };
  }

  read(after: Position, signal: AbortSignal): AsyncGenerator<QueueMessage> {
    return readStream(this.#connection, {
      inspect: () => this.#inspect(),
      after,
      signal: AbortSignal.any([signal, this.#connection.closed]),
    });
  }

  async trim(batch: number, chunk?: number): Promise<void> {
    const info = await this.#inspect();
    const { first_seq, last_seq, messages } = info.state;
    if (messages <= 1) return;
    const position = { batch, chunk: chunk ?? Number.MAX_SAFE_INTEGER };
    const known = chunk === undefined ? this.#ends.after(batch) : null;
    const keepFrom = known ?? (await sequenceAfter(this.#connection, info, position));
    // The last message stays: it is what tells the tail.
    const seq = Math.min(keepFrom, last_seq);
    if (seq <= first_seq) return;
    await this.#connection.call(this.#name, ({ manager }) =>
      manager.streams.purge(this.#name, { seq }),
    );
  }

  /**
   * Empties the stream and leaves a message without a mark: it takes a number, so that a relay which
   * does not know of the reset cannot append behind it.
   */
  async reset(): Promise<void> {
    this.#ends.clear();
    for (;;) {
      await this.#connection.call(this.#name, async ({ manager }) => {
        await this.#inspect();
        await manager.streams.purge(this.#name);
      });
      const { state } = await this.#inspect();
      try {
        await this.#publishReset(state.last_seq);
        return;
      } catch (error) {
        // Somebody appended in between: empty again.
        if (!isTidemarkError(error, "TM-QUEUE-CONFLICT")) throw error;
      }
    }
  }

  async allow(bytes: number): Promise<void> {
    this.#allowedBytes = bytes;
    await this.#updateBound();
  }

  async stats(): Promise<StreamStats> {
    const { state } = await this.#inspect();
    return { messages: state.messages, bytes: state.bytes };
  }

  /** Nothing may be on its way of ours. */
  async #updateBound(): Promise<void> {
    const bound = Math.max(this.#maxBytes, this.#allowedBytes);
    this.#isBoundRight = await updateBound(this.#connection, await this.#inspect(), bound);
  }

  async #inspect(): Promise<StreamInfo> {
    const info = await ensureStream(this.#connection, this.#settings);
    this.#ends.belongTo(info.created);
    return info;
  }

  /** All on their way at once; the server takes them in order, and none behind one that it refused. */
  async #publish(sequence: number, window: readonly QueueMessage[], chain: Chain): Promise<void> {
    const bytes = bytesOf(window);
    const timeout = Math.min(LONGEST_TIMEOUT_MS, REQUEST_TIMEOUT_MS + bytes / SLOWEST_BYTES_IN_MS);
    const begunAt = performance.now();
    const outcomes = await this.#connection.call(this.#name, async ({ jetstream, headers }) => {
      return Promise.allSettled(
        window.map(({ mark, body }, index) => {
          const header = headers();
          header.set(MARK_HEADER, encodeMark(mark));
          const { msgID, lastMsgID } = chain.next();
          return jetstream.publish(this.#subject, body, {
            headers: header,
            timeout,
            msgID,
            expect: {
              streamName: this.#name,
              lastSequence: sequence + index,
              ...(lastMsgID === null ? {} : { lastMsgID }),
            },
          });
        }),
      );
    });
    for (const [index, outcome] of outcomes.entries()) {
      const { mark, body } = window[index] as QueueMessage;
      if (outcome.status === "rejected") await this.#explain(outcome.reason, body.length);
      else this.#ends.add(mark.batch, outcome.value.seq);
    }
    this.#fitWindow(bytes, performance.now() - begunAt);
  }

  /** One that was hardly used tells nothing of what fits into it. */
  #fitWindow(bytes: number, tookMs: number): void {
    if (tookMs > LATE_MS) this.#windowBytes = Math.max(MOST_BYTES, this.#windowBytes / 2);
    else if (tookMs < SOON_MS && bytes > this.#windowBytes / 2)
      this.#windowBytes = Math.min(WINDOW_BYTES, this.#windowBytes * 2);
  }

  /** Why a message of so many bytes was refused. */
  async #explain(reason: unknown, bytes: number): Promise<never> {
    if (isStoreFailed(reason) && (await isBroken(this.#connection, this.#settings, bytes))) {
      await removeBroken(this.#connection, this.#name);
      throw new TidemarkError(
        "TM-QUEUE-CONFLICT",
        `The stream of "${this.#source}" could not write its files and is made anew.`,
        { cause: reason },
      );
    }
    throw toQueueError(reason, `source "${this.#source}"`);
  }

  async #publishReset(lastSequence: number): Promise<void> {
    await this.#connection.call(this.#name, ({ jetstream, headers }) => {
      const header = headers();
      header.set(RESET_HEADER, "1");
      return jetstream.publish(this.#subject, new Uint8Array(0), {
        headers: header,
        expect: { streamName: this.#name, lastSequence },
      });
    });
  }

  async #guarded(after: StreamTail): Promise<StreamTail> {
    const { state } = await this.#inspect();
    if (state.last_seq === after.sequence) return after;
    throw new TidemarkError(
      "TM-QUEUE-CONFLICT",
      `The stream of "${this.#source}" ends at ${state.last_seq}, not at ${after.sequence}.`,
    );
  }

  #refuseTooLarge(message: QueueMessage): void {
    const limit = maxMessageBytes(this.#connection);
    if (message.body.length <= limit) return;
    // Cut for the server as it was: cut anew it will fit.
    if (message.body.length <= this.#maxMessageBytes) {
      throw new TidemarkError(
        "TM-CONNECTION-LOST",
        `NATS takes smaller messages than before (${limit} bytes).`,
        { details: { source: this.#source } },
      );
    }
    throw new TidemarkError(
      "TM-QUEUE-LIMIT",
      `A message of ${message.body.length} bytes is larger than NATS takes (${limit}).`,
      { fix: "Raise max_payload of the server.", details: { source: this.#source } },
    );
  }
}

/**
 * Ties the messages of one append together. The sequence alone does not: when the first is refused
 * because another relay was quicker, the stream may by then be just as long as the third expects.
 * So each but the first also names the one before, by an id that no other append can have.
 */
class Chain {
  readonly #append = randomUUID();
  #count = 0;

  next(): { msgID: string; lastMsgID: string | null } {
    const lastMsgID = this.#count === 0 ? null : `${this.#append}-${this.#count}`;
    return { msgID: `${this.#append}-${++this.#count}`, lastMsgID };
  }
}

/** At least one message, if there is one. */
function takeWindow(messages: readonly QueueMessage[], most: number): readonly QueueMessage[] {
  let bytes = 0;
  const end = messages.findIndex(({ body }, index) => {
    bytes += body.length;
    return index > 0 && (index >= WINDOW_MESSAGES || bytes > most);
  });
  return end < 0 ? messages : messages.slice(0, end);
}

function bytesOf(messages: readonly QueueMessage[]): number {
  return messages.reduce((sum, { body }) => sum + body.length, 0);
}
