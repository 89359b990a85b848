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

/** With what a reader is to know of the copy that it is of. */
export interface CopiedChunk {
  readonly chunk: Chunk;
  readonly copy: CopyInfo;
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
    const what = () => `Batch ${header.batch}, which travels whole,`;
    await this.#publish(what, encodePieces(envelope, pages, queue.limits.maxMessageBytes));
  }

  /**
   * Publishes chunks right after the batch they are as of, all for one sync. `readTo`: how far that has read; in a
   * stream that was emptied the tail alone would number chunks as others before, already passed.
   */
  async publishChunks(
    header: BatchHeader,
    chunks: readonly CopiedChunk[],
    readTo: Position,
  ): Promise<void> {
    await this.settle();
    const before = [this.#mark, readTo].map((place) =>
      place !== null && place.batch === header.batch ? place.chunk : 0,
    );
    const first = Math.max(...before) + 1;
    const what = ({ chunk }: Mark) => whatIsCopied(chunks[chunk - first]?.copy);
    await this.#publish(what, joined(this.#piecesOf(header, chunks, first)));
  }

  async *#piecesOf(
    header: BatchHeader,
    chunks: readonly CopiedChunk[],
    first: number,
  ): AsyncGenerator<QueueMessage[]> {
    const { source, queue } = this.#options;
    const { maxMessageBytes } = queue.limits;
    for (const [i, { chunk, copy }] of chunks.entries()) {
      const envelope: Envelope = { source, header, chunk: first + i, copy };
      const { layout, content } = chunk;
      yield* content.kind === "lines"
        ? encodeLines(envelope, layout, content, maxMessageBytes)
        : encodePieces(envelope, chunkPages(layout, content), maxMessageBytes);
    }
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

  /** `what`: tells people what it is that begins with a message of this mark. */
  async #publish(
    what: (first: Mark) => string,
    pieces: AsyncIterable<QueueMessage[]>,
  ): Promise<void> {
    const { appender } = this.#options;
    // Reading and encoding the next piece overlaps the append of this one.
    for await (const messages of new ReadAhead(pieces, 2)) {
      await this.settle();
      const [first] = messages;
      if (first?.mark.piece !== 0) failpoint("batch-half-sent");
      else await appender.begin({ what: what(first.mark), batch: first.mark.batch });
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

/** Chunks of one piece each in few appends: a queue far away answers each slowly, and one on a disk syncs it. */
async function* joined(pieces: AsyncIterable<QueueMessage[]>): AsyncGenerator<QueueMessage[]> {
  let held: QueueMessage[] = [];
  let bytes = 0;
  for await (const messages of pieces) {
    const own = messages.reduce((sum, { body }) => sum + body.length, 0);
    const isWhole = messages.every(({ mark }) => mark.piece === 0 && mark.last);
    if (held.length > 0 && (!isWhole || bytes + own > JOINED_BYTES)) {
      yield held;
      [held, bytes] = [[], 0];
    }
    if (isWhole) [held, bytes] = [[...held, ...messages], bytes + own];
    else yield messages;
  }
  if (held.length > 0) yield held;
}

/** As much as a piece of other chunks. */
const JOINED_BYTES = 256 * 1024;

function whatIsCopied(copy: CopyInfo | undefined): string {
  return `A row of ${copy?.table}, or all of them where it has no key,`;
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
