import type { Notice } from "../core/documents.ts";
import { type TidemarkError, toTidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import type { ApplierSession } from "../core/target.ts";
import type { NoticeWriter } from "./notice-writer.ts";

/** So often at most the target is asked to make durable what was committed: each time costs it a sync. */
const EVERY_MS = 25;
/**
 * While tables are being copied: nobody can wait for the end of a batch then, and each time there are megabytes to
 * write that were just copied in, while the session takes in no others.
 */
const COPYING_EVERY_MS = 250;

/**
 * Tells what is applied once a crash of the target cannot take it back: a notice is what the relay
 * purges by, and what those who wait take for the end of it.
 */
export class Confirmer {
  readonly #session: ApplierSession;
  readonly #notices: NoticeWriter;
  #waiting: Notice | null = null;
  #flushedAt = Number.NEGATIVE_INFINITY;
  readonly #flushing = new Set<Promise<void>>();
  /** Flushes are numbered: one that was begun earlier may end later, and must not take a newer notice back. */
  #begun = 0;
  #told = 0;
  #failure: TidemarkError | null = null;

  constructor(session: ApplierSession, notices: NoticeWriter) {
    this.#session = session;
    this.#notices = notices;
  }

  /** Call after each commit, before the next transaction begins. */
  committed(notice: Notice): void {
    this.#waiting = notice;
    if (this.dueInMs <= 0) this.flush();
  }

  /** How long until {@link flush} shall be called; without end when nothing waits to be told. */
  get dueInMs(): number {
    if (this.#waiting === null) return Number.POSITIVE_INFINITY;
    const everyMs = this.#waiting.tablesPending > 0 ? COPYING_EVERY_MS : EVERY_MS;
    return Math.max(0, this.#flushedAt + everyMs - performance.now());
  }

  /** Call between transactions. What comes next at the target need not wait for it. */
  flush(): void {
    const notice = this.#waiting;
    if (notice === null) return;
    this.#waiting = null;
    this.#flushedAt = performance.now();
    const flushing = this.#tellWhenDurable(notice, ++this.#begun);
    this.#flushing.add(flushing);
    void flushing.then(() => this.#flushing.delete(flushing));
  }

  /** Resolves when the last notice stands in the queue, or cannot be told. */
  async told(): Promise<void> {
    this.flush();
    await Promise.all(this.#flushing);
    await this.#notices.written();
  }

  /** The target may have lost what it had committed: only its own progress can tell. */
  throwIfFailed(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Tells the last notice once more: a queue that was emptied has lost it. */
  renew(): void {
    this.#notices.renew();
  }

  /** See {@link NoticeWriter.regain}. */
  regain(): Promise<void> {
    return this.#notices.regain();
  }

  /** Tells the last one. Not while a transaction is open. */
  async close(): Promise<void> {
    this.flush();
    await Promise.all(this.#flushing);
  }

  async #tellWhenDurable(notice: Notice, number: number): Promise<void> {
    try {
      await this.#session.flush();
      if (this.#failure !== null || number < this.#told) return;
      this.#told = number;
      failpoint("notice-due");
      this.#notices.put(notice);
    } catch (error) {
      this.#failure ??= toTidemarkError(error);
    }
  }
}
