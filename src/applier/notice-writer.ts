import { backoff, sleep } from "../core/async.ts";
import { keys, type Notice } from "../core/documents.ts";
import { isTidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Documents, StandingDocument } from "../core/queue.ts";
import { LatestWriter } from "./latest-writer.ts";

export interface NoticeWriterOptions {
  readonly sync: string;
  readonly documents: Documents;
  /** Asks the target something in the session that holds the lease; throws when that is lost. */
  readonly proveLease: () => Promise<unknown>;
  readonly logger: Logger;
  readonly onWritten: () => void;
  /** {@link NoticeWriter.regain} is due. */
  readonly onOutdated: () => void;
}

/**
 * Writes the notices of one session of a target, each in place of the one before it and of nothing else. An applier
 * that has lost its lease does not know it yet, and what it writes may be under way for long: it must not take back
 * what another one has told since. So the order is: see what stands, then make sure of the lease, then write; a lease
 * that was lost in between was taken by somebody who writes later than what was seen.
 */
export class NoticeWriter {
  readonly #options: NoticeWriterOptions;
  readonly #key: string;
  readonly #writer: LatestWriter<Notice>;
  /** What stands, as far as this writer knows. */
  #revision: number;
  /** Sent since the revision was learnt, with an answer that is not known: one of them may stand. */
  readonly #sent = new Set<string>();
  /** Does something else stand there? Nothing is written until {@link regain}. */
  #outdated = false;

  /** Call with the lease taken. It must be shown to be held once more before the first notice. */
  static async open(options: NoticeWriterOptions): Promise<NoticeWriter> {
    return new NoticeWriter(options, await options.documents.read(keys.progress(options.sync)));
  }

  private constructor(options: NoticeWriterOptions, { revision }: StandingDocument) {
    this.#options = options;
    this.#key = keys.progress(options.sync);
    this.#revision = revision;
    const put = (notice: Notice) => this.#write(notice);
    this.#writer = new LatestWriter(put, this.#key, options.logger);
  }

  put(notice: Notice): void {
    this.#writer.put(notice);
  }

  /** Writes the newest notice once more: a queue that was emptied has lost it. */
  renew(): void {
    this.#writer.renew();
  }

  /** Takes away what an earlier target has told. The lease must be shown to be held after that, as after {@link open}. */
  async clear(): Promise<void> {
    const { documents } = this.#options;
    const { value, revision } = await documents.read(this.#key);
    if (value === null && revision === this.#revision) return;
    await documents.remove(this.#key, this.#revision);
    this.#revision = (await documents.read(this.#key)).revision;
  }

  /**
   * Call between two transactions. Where another one has written, or the queue has lost what stood: makes sure of the
   * lease and writes the newest notice once more. Throws what `proveLease` throws; while the queue does not answer
   * nothing is done.
   */
  async regain(): Promise<void> {
    if (!this.#outdated) return;
    const { documents, proveLease, logger } = this.#options;
    let seen: StandingDocument;
    try {
      seen = await documents.read(this.#key);
    } catch (error) {
      logger.warn({ err: error, key: this.#key }, "a document could not be read");
      return;
    }
    await proveLease();
    this.#revision = seen.revision;
    this.#sent.clear();
    this.#outdated = false;
    this.#writer.renew();
  }

  /** Resolves when the newest notice is written, or another one was found to stand there. Asks the target nothing. */
  written(): Promise<void> {
    return this.#writer.settled();
  }

  /** Resolves when the newest notice is written. Call between two transactions; throws as {@link regain}. */
  async settled(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      await this.#writer.settled();
      if (!this.#outdated) return;
      if (attempt > 0) await sleep(backoff(attempt - 1));
      await this.regain();
    }
  }

  /** Tries a last time to write what is not written yet. Not while a transaction is open. */
  async close(): Promise<void> {
    await this.#writer.close();
    try {
      await this.regain();
    } catch (error) {
      // Whoever has the lease now tells.
      this.#options.logger.debug({ err: error }, "the last notice was left to others");
    }
    await this.#writer.settled();
  }

  async #write(notice: Notice): Promise<void> {
    if (this.#outdated) return;
    if (this.#sent.size > 0 && !(await this.#isOursStanding())) return;
    const { documents, onWritten } = this.#options;
    const replace = () => documents.replace(this.#key, notice, this.#revision);
    this.#sent.add(JSON.stringify(notice));
    try {
      this.#revision = await replace();
    } catch (error) {
      if (!isTidemarkError(error, "TM-QUEUE-CONFLICT")) throw error;
      if (!(await this.#isOursStanding())) return;
      this.#revision = await replace();
    }
    this.#sent.clear();
    onWritten();
  }

  async #isOursStanding(): Promise<boolean> {
    const { value, revision } = await this.#options.documents.read(this.#key);
    if (revision === this.#revision) return true;
    if (this.#sent.has(JSON.stringify(value))) {
      this.#revision = revision;
      return true;
    }
    const { sync, logger, onOutdated } = this.#options;
    logger.info(
      { sync },
      "what the queue says of this sync is not what was told last: telling it anew",
    );
    this.#outdated = true;
    onOutdated();
    return false;
  }
}
