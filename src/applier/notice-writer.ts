import { keys, type Notice } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Documents } from "../core/queue.ts";
import { LatestWriter } from "./latest-writer.ts";

export interface NoticeWriterOptions {
  readonly sync: string;
  readonly documents: Documents;
  /** Without a lease two may work, and each may tell: then nothing is guarded. */
  readonly isLeased: boolean;
  readonly logger: Logger;
  readonly onWritten: () => void;
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
  #revision = 0;
  /** Sent since the revision was learnt, with an answer that is not known: one of them may stand. */
  readonly #sent = new Set<string>();
  #failure: TidemarkError | null = null;

  private constructor(options: NoticeWriterOptions) {
    const { sync, logger } = options;
    this.#options = options;
    this.#key = keys.progress(sync);
    this.#writer = new LatestWriter((notice) => this.#write(notice), this.#key, logger);
  }

  /** Call with the lease taken. It must be shown to be held once more before the first notice. */
  static async open(options: NoticeWriterOptions): Promise<NoticeWriter> {
    const writer = new NoticeWriter(options);
    await writer.#see();
    return writer;
  }

  put(notice: Notice): void {
    this.#writer.put(notice);
  }

  /** Writes the newest notice once more. */
  renew(): void {
    this.#writer.renew();
  }

  /** Takes away what an earlier target has told. The lease must be shown to be held after that, as after {@link open}. */
  async clear(): Promise<void> {
    await this.#options.documents.remove(this.#key);
    await this.#see();
  }

  /** Resolves when the newest notice is written. Throws as {@link throwIfFailed}. */
  async settled(): Promise<void> {
    await this.#writer.settled();
    this.throwIfFailed();
  }

  /** Throws TM-QUEUE-CONFLICT when another one has written, or the queue was emptied: begin anew with the lease. */
  throwIfFailed(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Tries a last time to write what is not written yet. */
  close(): Promise<void> {
    return this.#writer.close();
  }

  async #see(): Promise<void> {
    this.#revision = (await this.#options.documents.read(this.#key)).revision;
  }

  async #write(notice: Notice): Promise<void> {
    if (this.#sent.size > 0) await this.#lookForSent();
    if (this.#failure !== null) return;
    const { documents, isLeased, onWritten } = this.#options;
    if (isLeased) {
      this.#sent.add(JSON.stringify(notice));
      this.#revision = await documents.replace(this.#key, notice, this.#revision);
      this.#sent.clear();
    } else {
      await documents.put(this.#key, notice);
    }
    onWritten();
  }

  async #lookForSent(): Promise<void> {
    const { value, revision } = await this.#options.documents.read(this.#key);
    if (revision === this.#revision) return;
    if (this.#sent.has(JSON.stringify(value))) {
      this.#revision = revision;
      return;
    }
    const { sync } = this.#options;
    this.#failure ??= new TidemarkError(
      "TM-QUEUE-CONFLICT",
      `What the queue says of how far ${sync} has come is not what this applier wrote: another one took over, or the queue has lost it.`,
      { details: { sync } },
    );
  }
}
