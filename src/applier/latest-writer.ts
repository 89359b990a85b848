import type { Logger } from "../core/log.ts";
import type { Documents } from "../core/queue.ts";

/**
 * Writes a document in the background, newest value only: commits never wait for the queue, and a
 * slow queue gets fewer notices, not later ones.
 */
export class LatestWriter {
  readonly #documents: Documents;
  readonly #key: string;
  readonly #logger: Logger;
  #next: { readonly value: unknown } | null = null;
  #writing: Promise<void> | null = null;

  constructor(documents: Documents, key: string, logger: Logger) {
    this.#documents = documents;
    this.#key = key;
    this.#logger = logger;
  }

  put(value: unknown): void {
    this.#next = { value };
    this.#writing ??= this.#write();
  }

  /** Resolves when everything put so far is written (or was superseded). */
  async flush(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    // A turn of the event loop lets several commits in a row share one write.
    await Promise.resolve();
    while (this.#next !== null) {
      const { value } = this.#next;
      this.#next = null;
      try {
        await this.#documents.put(this.#key, value);
      } catch (error) {
        // The value is state: the next commit or heartbeat writes it again.
        this.#logger.warn({ err: error, key: this.#key }, "a document could not be written");
      }
    }
    this.#writing = null;
  }
}
