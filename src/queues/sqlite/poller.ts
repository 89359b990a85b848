import { FileHints } from "../../core/file-hints.ts";

const FIRST_DELAY_MS = 1;
const GROWTH = 2;
/** With hints from the file system, polling is only for hints that were lost. */
const MAX_DELAY_HINTED_MS = 250;
const MAX_DELAY_MS = 20;

/**
 * Finds out what other processes commit. The file system tells when the WAL is written, a moment before
 * the commit can be seen; so a hint starts a quick poll that slows down while nothing comes. Where there
 * are no hints, the poll alone does it.
 */
export class Poller {
  readonly #hints: FileHints;
  readonly #look: () => boolean;
  readonly #isAwaited: () => boolean;
  #timer: NodeJS.Timeout | null = null;
  #delay = FIRST_DELAY_MS;

  /** `look` tells whether anything was new. */
  constructor(walPath: string, look: () => boolean, isAwaited: () => boolean) {
    this.#hints = new FileHints(walPath, () => this.#hurry());
    this.#look = look;
    this.#isAwaited = isAwaited;
  }

  /** Polls until nobody waits any more. */
  start(): void {
    if (this.#timer !== null) return;
    this.#delay = FIRST_DELAY_MS;
    this.#schedule();
  }

  /** The file is another one now. */
  restart(): void {
    this.stop();
    if (this.#isAwaited()) this.start();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#hints.close();
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      const slowest = this.#hints.reliable ? MAX_DELAY_HINTED_MS : MAX_DELAY_MS;
      this.#delay = this.#look() ? FIRST_DELAY_MS : Math.min(slowest, this.#delay * GROWTH);
      // Looking may have found another file, and started anew.
      if (this.#timer === null && this.#isAwaited()) this.#schedule();
    }, this.#delay);
  }

  #hurry(): void {
    if (this.#timer === null || this.#delay === FIRST_DELAY_MS) return;
    clearTimeout(this.#timer);
    this.#delay = FIRST_DELAY_MS;
    this.#schedule();
  }
}
