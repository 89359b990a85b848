import type { Logger } from "./log.ts";

/** An outage of a night is tried again ten thousand times: so many lines would hide what led to it. */
const AGAIN_MS = 60_000;

/**
 * Tells of what fails and is tried again: at once when it begins or fails in another way, else once a minute, with the
 * number of failures so far.
 */
export class RetryLog {
  readonly #logger: Logger;
  readonly #message: string;
  #failures = 0;
  #told: { readonly why: string; readonly atMs: number } | null = null;

  constructor(logger: Logger, message: string) {
    this.#logger = logger;
    this.#message = message;
  }

  failed(error: unknown, nowMs = performance.now()): void {
    this.#failures++;
    const why = error instanceof Error ? error.message : String(error);
    if (why === this.#told?.why && nowMs - this.#told.atMs < AGAIN_MS) return;
    this.#told = { why, atMs: nowMs };
    const failures = this.#failures > 1 ? { failures: this.#failures } : {};
    this.#logger.warn({ err: error, ...failures }, `${this.#message}: trying again`);
  }

  /** What fails next is another outage. */
  succeeded(): void {
    this.#failures = 0;
    this.#told = null;
  }
}
