import { ReadAhead } from "../core/async.ts";
import type { Change } from "../core/change.ts";
import { TidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import type { Logger } from "../core/log.ts";
import { type CopyInfo, type Envelope, encodeLines, encodePieces } from "../core/message.ts";
import type { BatchHeader, Position } from "../core/position.ts";
import {
  isComplete,
  type Mark,
  type Queue,
  type QueueMessage,
  type QueueStream,
} from "../core/queue.ts";
import { rewound } from "../core/rewound.ts";
import { type ChangesPage, rowAsChange } from "../core/row-lines.ts";
import type { ChangeLog, Chunk, ChunkPages, ChunkRows } from "../core/source.ts";
import type { Appender } from "./appender.ts";

export interface PublisherOptions {
  readonly source: string;
  readonly queue: Queue;
  readonly stream: QueueStream;
  readonly appender: Appender;
  readonly log: ChangeLog;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Called when an append has failed that nobody waits for. */
  readonly onFailure: () => void;
}

/**
 * Keeps the stream equal to the batches of the source: appends what the stream lacks, in order,
 * each append guarded by the tail it believes in. Any doubt about the tail is settled by reading
 * it again and filling in from the change log (G5), never by guessing.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  /** The append under way. The next batch may be cut meanwhile, but what follows in the stream waits for it. */
  #appending: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | null = null;

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
    return tail.sequence === this.#options.appender.tail.sequence;
  }

  /**
   * Brings the stream up to the newest batch: after a start, a conflict, or a loss in the queue.
   * `oldestNeeded` is where to begin when the stream is empty or of another timeline.
   * Throws TM-SOURCE-REWOUND when the stream is ahead of the source.
   */
  async reconcile(oldestNeeded: number): Promise<void> {
    const { log, stream, logger, appender } = this.#options;
    await this.settle();
    await appender.readTail();
    const last = (await log.batches.last())?.batch ?? 0;
    // A queue may lose messages that all have confirmed: those are in no log any more, nor needed.
    let next = Math.max(this.#nextAfterTail(oldestNeeded), oldestNeeded);
    const mark = this.#mark;
    if (mark !== null && mark.timeline !== log.timeline) {
      logger.warn({ was: mark.timeline, is: log.timeline }, "new timeline: stream reset");
      await stream.reset();
      await appender.readTail();
      next = oldestNeeded;
    } else if (mark !== null && mark.batch > last) {
      const published = mark.batch;
      throw rewound(
        `Batch ${published} of ${this.#options.source} was published, but the source knows batches only up to ${last}: it was restored to an earlier time, or this is another database.`,
        { published, last },
      );
    } else if (next === oldestNeeded && mark !== null && !isComplete(mark)) {
      // What was cut off in the middle is never confirmed: with it a small queue would stay full for good.
      await stream.reset();
      await appender.readTail();
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
  async publishBatch(header: BatchHeader, pages: AsyncIterable<ChangesPage>): Promise<void> {
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
    const before = [this.#mark, readTo].map((place) =>
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
    const mark = this.#mark;
    if (mark === null) return oldestNeeded;
    // A batch cut off in the middle is sent again whole: its pieces need not fall as they did.
    return mark.chunk === 0 && !isComplete(mark) ? mark.batch : mark.batch + 1;
  }

  /** Of the last message in the stream. */
  get #mark(): Mark | null {
    return this.#options.appender.tail.mark;
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
    const { appender } = this.#options;
    const { header, copy } = envelope;
    const what =
      copy === null
        ? `Batch ${header.batch}, which travels whole,`
        : `A row of ${copy.table}, or all of them where it has no key,`;
    let isBegun = false;
    // Reading and encoding the next piece overlaps the append of this one.
    for await (const messages of new ReadAhead(pieces, 2)) {
      await this.settle();
      if (isBegun) failpoint("batch-half-sent");
      else await appender.begin({ what, batch: header.batch });
      isBegun = true;
      this.#appending = this.#append(messages);
    }
  }

  /** Never rejects: who comes next is told. */
  async #append(messages: readonly QueueMessage[]): Promise<void> {
    try {
      await this.#options.appender.append(messages);
    } catch (error) {
      this.#failure = { error };
      this.#options.onFailure();
    }
  }
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
