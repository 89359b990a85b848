import { backoff, sleep } from "../core/async.ts";
import type { Logger } from "../core/log.ts";
import { RetryLog } from "../core/retry-log.ts";

/**
 * Writes a document in the background, newest value only: commits never wait for the queue, and a
 * slow queue gets fewer notices, not later ones. A write that fails is tried again until it succeeds
 * or a newer value takes its place: others wait for what stands here, and no other event may follow.
 */
export class LatestWriter<T> {
  readonly #put: (value: T) => Promise<void>;
  readonly #log: RetryLog;
  readonly #closing = new AbortController();
  #latest: { readonly value: T } | null = null;
  #next: { readonly value: T } | null = null;
  #writing: Promise<void> | null = null;

  /** `put` writes the document; its key is for the log. */
  constructor(put: (value: T) => Promise<void>, key: string, logger: Logger) {
    this.#put = put;
    this.#log = new RetryLog(logger, `the document ${key} could not be written`);
  }

  put(value: T): void {
    this.#latest = { value };
    this.#next = this.#latest;
    this.#writing ??= this.#write();
  }

  /** Writes the newest value once more: a queue that was emptied has lost it. */
  renew(): void {
    if (this.#latest !== null) this.put(this.#latest.value);
  }

  /** Resolves when the newest value is written, or {@link close} has tried in vain. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Tries a last time to write what is not written yet. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#writing;
  }

  async #write(): Promise<void> {
    // A turn of the event loop lets several commits in a row share one write.
    await Promise.resolve();
    for (let attempt = 0; this.#next !== null; ) {
      const current = this.#next;
      this.#next = null;
      const last = this.#closing.signal.aborted;
      try {
        await this.#put(current.value);
        attempt = 0;
        this.#log.succeeded();
      } catch (error) {
        this.#log.failed(error);
        if (last) break;
        this.#next ??= current;
        await sleep(backoff(attempt++), this.#closing.signal);
      }
    }
    this.#writing = null;
  }
}
