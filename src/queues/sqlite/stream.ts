import { TidemarkError } from "../../core/errors.ts";
import type { Position } from "../../core/position.ts";
import type { Mark, QueueMessage, QueueStream, StreamStats, StreamTail } from "../../core/queue.ts";
import type { QueueConnection } from "./connection.ts";
import type { QueueDatabase } from "./database.ts";
import {
  createStream,
  decodeMark,
  deleteSlice,
  encodeMark,
  findStream,
  hasRowsBelowFloor,
  insertMessages,
  messageBytes,
  messagesAfter,
  type StoredMessage,
  type StreamRow,
  sequenceAfter,
  setEmpty,
  setFloor,
} from "./messages.ts";
import { giveBackPages } from "./space.ts";
import { messagesOf, type Topic } from "./wakeup.ts";

/** Of one message. Larger pieces travel as fragments; a reader of one blocks nobody for long. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
/** What one read or one transaction handles at once. */
const SLICE_BYTES = 2 * 1024 * 1024;

export class SqliteStream implements QueueStream {
  readonly #connection: QueueConnection;
  readonly #source: string;
  readonly #topic: Topic;
  readonly #maxBytes: number;
  #allowedBytes = 0;

  constructor(connection: QueueConnection, source: string, maxBytes: number) {
    this.#connection = connection;
    this.#source = source;
    this.#topic = messagesOf(source);
    this.#maxBytes = maxBytes;
  }

  tail(): Promise<StreamTail> {
    return this.#connection.read((database) => tailOf(findStream(database, this.#source)));
  }

  async append(after: StreamTail, messages: readonly QueueMessage[]): Promise<StreamTail> {
    for (const message of messages) this.#refuseTooLarge(message);
    let tail = after;
    let rest = messages;
    do {
      const slice = takeSlice(rest);
      rest = rest.slice(slice.length);
      const bytes = slice.reduce((sum, message) => sum + messageBytes(message), 0);
      const guard = tail;
      // What fits is stored even when not all does: the error comes after the commit.
      const stored = await this.#connection.write(this.#topic, bytes, (database) =>
        this.#appendSlice(database, guard, slice),
      );
      if (stored.taken < slice.length) throw this.#full();
      tail = stored.tail;
    } while (rest.length > 0);
    for (const message of messages) message.release?.();
    return tail;
  }

  async *read(after: Position, signal: AbortSignal): AsyncGenerator<QueueMessage> {
    const connection = this.#connection;
    const ended = AbortSignal.any([signal, connection.closed]);
    let cursor: Cursor | null = null;
    while (!ended.aborted) {
      const seen = connection.wakeup.version(this.#topic);
      const page = await connection.read((database) =>
        this.#page(database, cursor, connection.generation, after),
      );
      cursor = page.cursor;
      for (const { sequence: _, ...message } of page.messages) {
        if (ended.aborted) return;
        yield message;
      }
      // A long backlog must leave room for everything else that this process does.
      if (page.messages.length > 0) await new Promise((resolve) => setImmediate(resolve));
      else await connection.changed(this.#topic, seen, ended);
    }
  }

  async trim(batch: number, chunk = Number.MAX_SAFE_INTEGER): Promise<void> {
    const upTo = { batch, chunk };
    const connection = this.#connection;
    const needed = await connection.read((database) => {
      const stream = findStream(database, this.#source);
      return stream !== null && this.#floorFor(database, stream, upTo) > stream.floor;
    });
    if (needed) {
      await connection.write(null, 0, (database) => {
        const stream = findStream(database, this.#source);
        if (stream === null) return;
        const floor = this.#floorFor(database, stream, upTo);
        if (floor > stream.floor) setFloor(database, stream, floor);
      });
    }
    await this.#deleteFloored();
  }

  async reset(): Promise<void> {
    await this.#connection.write(this.#topic, 0, (database) => {
      setEmpty(
        database,
        findStream(database, this.#source) ?? createStream(database, this.#source),
      );
    });
    await this.#deleteFloored();
  }

  async allow(bytes: number): Promise<void> {
    this.#allowedBytes = bytes;
  }

  stats(): Promise<StreamStats> {
    return this.#connection.read((database) => {
      const stream = findStream(database, this.#source);
      if (stream === null) return { messages: 0, bytes: 0 };
      return { messages: stream.tail - stream.floor, bytes: stream.bytes };
    });
  }

  #appendSlice(
    database: QueueDatabase,
    after: StreamTail,
    slice: readonly QueueMessage[],
  ): { taken: number; tail: StreamTail } {
    const stream = findStream(database, this.#source) ?? createStream(database, this.#source);
    // The mark is compared as well: a file that was deleted and filled anew may have come to the
    // same sequence with other messages.
    const guard = after.mark === null ? null : encodeMark(after.mark);
    if (stream.tail !== after.sequence || stream.mark !== guard)
      throw this.#conflict(after, stream);
    const fitting = this.#fitting(stream, slice);
    insertMessages(database, stream, fitting);
    const mark: Mark | null = fitting.at(-1)?.mark ?? after.mark;
    return {
      taken: fitting.length,
      tail: { sequence: stream.tail + fitting.length, mark },
    };
  }

  #fitting(stream: StreamRow, slice: readonly QueueMessage[]): readonly QueueMessage[] {
    const bound = Math.max(this.#maxBytes, this.#allowedBytes);
    let bytes = stream.bytes;
    const end = slice.findIndex((message) => {
      bytes += messageBytes(message);
      return bytes > bound;
    });
    return end < 0 ? slice : slice.slice(0, end);
  }

  /**
   * The next messages for a reader. It begins by position and goes on by sequence: after a reset
   * the sequences go on, so it meets what is sent again, whatever its positions.
   */
  #page(
    database: QueueDatabase,
    cursor: Cursor | null,
    generation: number,
    after: Position,
  ): { messages: StoredMessage[]; cursor: Cursor | null } {
    const stream = findStream(database, this.#source);
    if (stream === null) return { messages: [], cursor: renewed(cursor, generation) };
    let from = renewed(cursor, generation)?.sequence ?? null;
    if (from === null) {
      const first = sequenceAfter(database, stream, after);
      if (first > stream.tail) return { messages: [], cursor: null };
      from = first - 1;
    }
    const messages = messagesAfter(database, stream, from, SLICE_BYTES);
    return { messages, cursor: { generation, sequence: messages.at(-1)?.sequence ?? from } };
  }

  /** The last sequence that goes when everything up to a position goes. */
  #floorFor(database: QueueDatabase, stream: StreamRow, upTo: Position): number {
    return sequenceAfter(database, stream, upTo) - 1;
  }

  /** In slices: each is a short transaction, and others get their turn in between. */
  async #deleteFloored(): Promise<void> {
    const connection = this.#connection;
    const more = () =>
      connection.write(null, SLICE_BYTES, (database) => {
        const stream = findStream(database, this.#source);
        return stream !== null && deleteSlice(database, stream, SLICE_BYTES);
      });
    if (!(await this.#hasFloored())) return;
    while (await more());
    await giveBackPages(connection);
  }

  #hasFloored(): Promise<boolean> {
    return this.#connection.read((database) => {
      const stream = findStream(database, this.#source);
      return stream !== null && stream.bytes > 0 && hasRowsBelowFloor(database, stream);
    });
  }

  #refuseTooLarge(message: QueueMessage): void {
    if (message.body.length <= MAX_MESSAGE_BYTES) return;
    throw new TidemarkError(
      "TM-QUEUE-LIMIT",
      `A message of ${message.body.length} bytes is larger than the queue takes (${MAX_MESSAGE_BYTES}).`,
      { details: { source: this.#source } },
    );
  }

  #conflict(after: StreamTail, stream: StreamRow): TidemarkError {
    return new TidemarkError(
      "TM-QUEUE-CONFLICT",
      `The stream of "${this.#source}" ends at ${stream.tail}, not at ${after.sequence}: another relay writes to it.`,
      { details: { source: this.#source } },
    );
  }

  #full(): TidemarkError {
    return new TidemarkError(
      "TM-QUEUE-FULL",
      `The stream of "${this.#source}" has reached its bound of ${this.#maxBytes} bytes.`,
      {
        fix: "Start the targets that lag behind, or raise `queue.maxSize`.",
        details: { source: this.#source, maxStreamBytes: this.#maxBytes },
      },
    );
  }
}

/** Where a reader is, and in which file: in another one sequences mean nothing. */
interface Cursor {
  readonly generation: number;
  readonly sequence: number;
}

/** A reader that was under way in a file that is gone takes the new one from its beginning. */
function renewed(cursor: Cursor | null, generation: number): Cursor | null {
  if (cursor === null || cursor.generation === generation) return cursor;
  return { generation, sequence: 0 };
}

function tailOf(stream: StreamRow | null): StreamTail {
  if (stream === null) return { sequence: 0, mark: null };
  return {
    sequence: stream.tail,
    mark: stream.mark === null ? null : decodeMark(stream.mark),
  };
}

/** At least one message, if there is one. */
function takeSlice(messages: readonly QueueMessage[]): readonly QueueMessage[] {
  let bytes = 0;
  const end = messages.findIndex((message, index) => {
    bytes += messageBytes(message);
    return index > 0 && bytes > SLICE_BYTES;
  });
  return end < 0 ? messages : messages.slice(0, end);
}
