import { keys, type RefusalDocument } from "../core/documents.ts";
import type { Logger } from "../core/log.ts";
import type { Documents, QueueStream } from "../core/queue.ts";
import type { ChangeLog, LogStats } from "../core/source.ts";
import type { Mailbox } from "./mailbox.ts";

export interface RetentionOptions {
  readonly source: string;
  readonly log: ChangeLog;
  readonly stream: QueueStream;
  readonly documents: Documents;
  readonly mailbox: Mailbox;
  readonly maxLogBytes: number;
  readonly logger: Logger;
}

/**
 * Decides what of the log may go: what every subscriber has confirmed, or, at the bound, what the
 * slowest one still needed; that one is then told so (G7: the source's disk is never filled).
 */
export class Retention {
  readonly #options: RetentionOptions;
  #confirmed = new Map<string, number>();
  #trimmed = 0;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    this.#confirmed = new Map(await this.#options.log.subscribers.list());
  }

  get subscribers(): readonly string[] {
    return [...this.#confirmed.keys()];
  }

  /** The first batch that some subscriber may still need. */
  get oldestNeeded(): number {
    return Math.min(...this.#confirmed.values(), Number.MAX_SAFE_INTEGER) + 1;
  }

  /** From here on the log is kept for this sync. */
  async subscribe(sync: string, from: number): Promise<void> {
    await this.#options.log.subscribers.set(sync, from);
    this.#confirmed.set(sync, from);
    await this.#options.documents.remove(keys.refusal(this.#options.source, sync));
  }

  /**
   * Takes in confirmations, purges, trims. Call about once a second.
   * `copying`: chunks that follow the last confirmed batch may not have been read yet.
   */
  async tend(copying: boolean): Promise<LogStats> {
    await this.#takeConfirmations();
    const stats = await this.#options.log.stats();
    if (stats.bytes > this.#options.maxLogBytes) await this.#expireSlowest(stats);
    await this.#purge(copying);
    return stats;
  }

  async #takeConfirmations(): Promise<void> {
    const { log, mailbox } = this.#options;
    for (const [sync, known] of this.#confirmed) {
      const notice = mailbox.progressOf(sync);
      // A notice of another timeline says nothing about this one's numbers.
      if (notice === undefined || notice.timeline !== log.timeline) continue;
      if (notice.position.batch <= known) continue;
      await log.subscribers.set(sync, notice.position.batch);
      this.#confirmed.set(sync, notice.position.batch);
    }
  }

  async #purge(copying: boolean): Promise<void> {
    const { log, stream } = this.#options;
    if (this.#confirmed.size === 0) return;
    const upTo = this.oldestNeeded - 1;
    if (upTo <= 0) return;
    // Rotation frees space only some time after a purge: asking again with the same number lets it go on.
    await log.batches.purge(upTo);
    // Who has confirmed a batch has passed the chunks of the batches before it, but not its own.
    const trimmable = copying ? upTo - 1 : upTo;
    if (trimmable > this.#trimmed) await stream.trim(trimmable);
    this.#trimmed = trimmable;
  }

  async #expireSlowest(stats: LogStats): Promise<void> {
    const { documents, source, log, logger, maxLogBytes } = this.#options;
    const last = (await log.batches.last())?.batch ?? 0;
    const slowest = [...this.#confirmed].sort((a, b) => a[1] - b[1])[0];
    // Nothing is gained where the log is large only because it has not been rotated yet.
    if (slowest === undefined || slowest[1] >= last) return;
    const [sync, confirmed] = slowest;
    const message = `The change log of ${source} passed its bound (${stats.bytes} of ${maxLogBytes} bytes); ${sync} had confirmed only batch ${confirmed}.`;
    logger.error({ sync, confirmed, bytes: stats.bytes }, "retention bound: sync must copy anew");
    const refusal: RefusalDocument = { at: new Date().toISOString(), from: confirmed + 1, message };
    await documents.put(keys.refusal(source, sync), refusal);
    await log.subscribers.remove(sync);
    this.#confirmed.delete(sync);
  }
}
