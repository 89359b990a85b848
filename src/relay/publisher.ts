import { ReadAhead, sleep } from "../core/async.ts";
import type { Change } from "../core/change.ts";
import { isTidemarkError, TidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import type { Logger } from "../core/log.ts";
import { type CopyInfo, type Envelope, encodeLines, encodePieces } from "../core/message.ts";
import { type BatchHeader, type Position, START } from "../core/position.ts";
import {
  isComplete,
  isSameMark,
  type Queue,
  type QueueMessage,
  type QueueStream,
  type StreamTail,
} from "../core/queue.ts";
import { rowAsChange } from "../core/row-lines.ts";
import type { ChangeLog, Chunk, ChunkPages, ChunkRows } from "../core/source.ts";

export interface PublisherOptions {
  readonly source: string;
  readonly queue: Queue;
  readonly stream: QueueStream;
  readonly maxStreamBytes: number;
  /** May a batch that is larger pass it? */
  readonly isBoundSoft: boolean;
  readonly log: ChangeLog;
  readonly logger: Logger;
  readonly room: Room;
  readonly signal: AbortSignal;
  /** Called when an append has failed that nobody waits for. */
  readonly onFailure: () => void;
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

/**
 * Keeps the stream equal to the batches of the source: appends what the stream lacks, in order,
 * each append guarded by the tail it believes in. Any doubt about the tail is settled by reading
 * it again and filling in from the change log (G5), never by guessing.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  #tail: StreamTail = { sequence: 0, mark: null };
  /** The append under way. The next batch may be cut meanwhile, but what follows in the stream waits for it. */
  #appending: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | null = null;
  /** What the stream may hold beyond its bound, for what is being sent. */
  #allowedBytes = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** Waits for the append under way; throws what an earlier one threw. */
  async settle(): Promise<void> {
    await this.#appending;
    this.throwIfFailed();
  }

  /** Nothing is under way any more when it resolves. */
  async close(): Promise<void> {
    await this.#appending;
  }

  throwIfFailed(): void {
    if (this.#failure !== null) throw this.#failure.error;
  }

  /** Does the stream still end where this publisher left it? */
  async inStep(): Promise<boolean> {
    await this.settle();
    const tail = await this.#options.stream.tail();
    return tail.sequence === this.#tail.sequence;
  }

  /**
   * Brings the stream up to the newest batch: after a start, a conflict, or a loss in the queue.
   * `oldestNeeded` is where to begin when the stream is empty or of another timeline.
   * Throws TM-SOURCE-REWOUND when the stream is ahead of the source.
   */
  async reconcile(oldestNeeded: number): Promise<void> {
    const { log, stream, logger } = this.#options;
    await this.settle();
    this.#tail = await stream.tail();
    const last = (await log.batches.last())?.batch ?? 0;
    // A queue may lose messages that all have confirmed: those are in no log any more, nor needed.
    let next = Math.max(this.#nextAfterTail(oldestNeeded), oldestNeeded);
    if (this.#tail.mark !== null && this.#tail.mark.timeline !== log.timeline) {
      logger.warn(
        { was: this.#tail.mark.timeline, is: log.timeline },
        "new timeline: stream reset",
      );
      await stream.reset();
      this.#tail = await stream.tail();
      next = oldestNeeded;
    } else if ((this.#tail.mark?.batch ?? 0) > last) {
      throw rewound(this.#options.source, this.#tail.mark?.batch ?? 0, last);
    } else if (next === oldestNeeded && this.#isCutOff()) {
      // What was cut off in the middle is never confirmed: with it a small queue would stay full for good.
      await stream.reset();
      this.#tail = await stream.tail();
    }
    if (next <= last) logger.info({ from: next, to: last }, "publishing batches the stream lacks");
    for (let batch = next; batch <= last; batch++) {
      // Not merely left undone: what would be appended next must not leave a hole.
      if (this.#options.signal.aborted) throw new TidemarkError("TM-INTERNAL", "Stopping.");
      await this.#republish(batch);
    }
  }

  /** Empties the stream, so that {@link reconcile} sends batches again: readers pass by what they have. */
  async empty(): Promise<void> {
    await this.settle();
    await this.#options.stream.reset();
    failpoint("stream-emptied");
  }

  /** Resolves when the batch was read and handed to the queue; see {@link settle}. */
  async publishBatch(header: BatchHeader, pages: AsyncIterable<readonly Change[]>): Promise<void> {
    const { source, queue } = this.#options;
    const envelope: Envelope = { source, header, chunk: 0, copy: null };
    await this.#publish(envelope, encodePieces(envelope, pages, queue.limits.maxMessageBytes));
  }

  /**
   * Publishes a chunk right after the batch it is as of. `readTo`: how far the one it is for has read;
   * in a stream that was emptied the tail alone would number chunks as others before, already passed.
   */
  async publishChunk(
    header: BatchHeader,
    chunk: Chunk,
    { copy, readTo }: { readonly copy: CopyInfo; readonly readTo: Position },
  ): Promise<void> {
    await this.settle();
    const before = [this.#tail.mark, readTo].map((place) =>
      place !== null && place.batch === header.batch ? place.chunk : 0,
    );
    const { source, queue } = this.#options;
    const { maxMessageBytes } = queue.limits;
    const envelope: Envelope = { source, header, chunk: Math.max(...before) + 1, copy };
    const { layout, content } = chunk;
    const pieces =
      content.kind === "lines"
        ? encodeLines(envelope, layout, content, maxMessageBytes)
        : encodePieces(envelope, chunkPages(layout, content), maxMessageBytes);
    await this.#publish(envelope, pieces);
  }

  #nextAfterTail(oldestNeeded: number): number {
    const mark = this.#tail.mark;
    if (mark === null) return oldestNeeded;
    // A batch cut off in the middle is sent again whole: its pieces need not fall as they did.
    return mark.chunk === 0 && !isComplete(mark) ? mark.batch : mark.batch + 1;
  }

  #isCutOff(): boolean {
    return this.#tail.mark !== null && !isComplete(this.#tail.mark);
  }

  async #republish(batch: number): Promise<void> {
    const { log, source } = this.#options;
    const header = await log.batches.header(batch);
    if (header === null) {
      throw new TidemarkError(
        "TM-BATCH-PURGED",
        `Batch ${batch} of ${source} is missing in the queue and no longer in the change log.`,
        { fix: "Copy the tables anew: see docs/errors/TM-BATCH-PURGED.md.", details: { batch } },
      );
    }
    await this.publishBatch(header, log.batches.pages(batch));
  }

  async #publish(envelope: Envelope, pieces: AsyncIterable<QueueMessage[]>): Promise<void> {
    const { header, copy } = envelope;
    const what =
      copy === null
        ? `Batch ${header.batch}, which travels whole,`
        : `A row of ${copy.table}, or all of them where it has no key,`;
    if (this.#allowedBytes > 0) {
      await this.settle();
      await this.#allow(0);
    }
    let bytes = 0;
    let end: Position | null = null;
    // Reading and encoding the next piece overlaps the append of this one.
    for await (const messages of new ReadAhead(pieces, 2)) {
      await this.settle();
      end ??= endOf(this.#tail);
      if (bytes > 0) failpoint("batch-half-sent");
      this.#appending = this.#append(messages, { what, batch: header.batch, bytes, end });
      for (const { body } of messages) bytes += body.length;
    }
  }

  /** Never rejects: who comes next is told. */
  async #append(messages: readonly QueueMessage[], sent: Sent): Promise<void> {
    try {
      const tail = await this.#whenRoom(messages, sent);
      failpoint("piece-sent");
      this.#options.room.found();
      this.#tail = tail;
    } catch (error) {
      this.#failure = { error };
      this.#options.onFailure();
    }
  }

  async #allow(bytes: number): Promise<void> {
    await this.#options.stream.allow(bytes);
    this.#allowedBytes = bytes;
  }

  /** A full queue holds back the relay; the change log goes on growing safely meanwhile. */
  async #whenRoom(messages: readonly QueueMessage[], sent: Sent): Promise<StreamTail> {
    const { signal, logger, stream, room } = this.#options;
    let rest = messages;
    for (let attempt = 0; ; attempt++) {
      try {
        return await stream.append(this.#tail, rest);
      } catch (error) {
        if (!isTidemarkError(error, "TM-QUEUE-FULL") || signal.aborted) throw error;
        rest = await this.#unsent(rest);
        if (await this.#stretch(messages, sent)) continue;
        if (attempt > FULL_ATTEMPTS) throw error;
        if (attempt === 0) logger.warn({}, "the queue is full: waiting for targets to confirm");
        // Whoever opens the stream meanwhile sets its bound again.
        if (this.#allowedBytes > 0) await this.#allow(this.#allowedBytes);
        if (!(await room.make(sent.end))) throw error;
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
  async #stretch(messages: readonly QueueMessage[], sent: Sent): Promise<boolean> {
    const { logger, maxStreamBytes, isBoundSoft } = this.#options;
    const own = messages.reduce((sum, { body }) => sum + body.length, 0);
    const bound = Math.max(maxStreamBytes, this.#allowedBytes);
    const never = sent.bytes > bound / 2 || sent.bytes + own > bound;
    if (never && !isBoundSoft) throw tooLarge(sent, maxStreamBytes);
    if (sent.bytes + own <= bound / 2 || !isBoundSoft) return false;
    logger.warn(
      { batch: sent.batch, bytes: sent.bytes, bound: maxStreamBytes },
      "a batch that fills the queue by itself passes its bound",
    );
    await this.#allow(2 * Math.max(bound, sent.bytes + own));
    return true;
  }
}

/** After these the relay begins anew, which also purges, and gives up whoever passes the retention bound. */
const FULL_ATTEMPTS = 20;
const FULL_PAUSE_MS = 100;

/** What is being sent: for people, its batch, how much of it is in the stream, and where that ended before it. */
interface Sent {
  readonly what: string;
  readonly batch: number;
  readonly bytes: number;
  readonly end: Position;
}

/** The last batch or chunk that stands whole in the stream, or would without what was cut off. */
function endOf({ mark }: StreamTail): Position {
  if (mark === null) return START;
  if (isComplete(mark)) return { batch: mark.batch, chunk: mark.chunk };
  return {
    batch: mark.chunk === 0 ? mark.batch - 1 : mark.batch,
    chunk: Math.max(0, mark.chunk - 1),
  };
}

function tooLarge({ what, batch }: Sent, maxStreamBytes: number): TidemarkError {
  return new TidemarkError(
    "TM-QUEUE-LIMIT",
    `${what} does not fit into the queue, which is bounded to ${maxStreamBytes} bytes.`,
    {
      fix: "Raise queue.maxSize in the config (queue: { url: …, maxSize: 8GB }) and start again.",
      details: { batch, maxStreamBytes },
    },
  );
}

async function* chunkPages(
  layout: number,
  content: ChunkRows | ChunkPages,
): AsyncGenerator<readonly Change[]> {
  const pages = content.kind === "rows" ? [content] : content.pages;
  for await (const { rows, filters } of pages) {
    yield rows.map((row, index) => rowAsChange(layout, row, filters[index] ?? []));
  }
}

function rewound(source: string, published: number, last: number): TidemarkError {
  return new TidemarkError(
    "TM-SOURCE-REWOUND",
    `Batch ${published} of ${source} was published, but the source knows batches only up to ${last}: it was restored to an earlier time, or this is another database.`,
    { fix: "See docs/errors/TM-SOURCE-REWOUND.md.", details: { published, last } },
  );
}
