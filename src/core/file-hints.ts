import { existsSync, type FSWatcher, watch } from "node:fs";

/**
 * Tells when a file is written, as far as the file system tells. A hint, not a promise: some file systems
 * tell nothing, and a file made anew under the same name is another one. Who needs to know looks as well,
 * only less often.
 */
export class FileHints {
  readonly #path: string;
  readonly #onWrite: () => void;
  #watcher: FSWatcher | null = null;

  constructor(path: string, onWrite: () => void) {
    this.#path = path;
    this.#onWrite = onWrite;
  }

  /** May a write be expected to be told? Begins to watch, where that has not been possible before. */
  get reliable(): boolean {
    this.#watcher ??= this.#watch();
    return this.#watcher !== null;
  }

  /** As `reliable`, and so is what was never there. */
  get reliableOrAbsent(): boolean {
    // Asked first: to watch what is not there costs an exception, and this is asked at every look.
    return this.#watcher !== null || !existsSync(this.#path) || this.reliable;
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = null;
  }

  #watch(): FSWatcher | null {
    try {
      const watcher = watch(this.#path, { persistent: false }, this.#onWrite);
      watcher.on("error", () => {
        watcher.close();
        if (this.#watcher === watcher) this.#watcher = null;
      });
      return watcher;
    } catch {
      return null; // no such file yet, or no more watches to be had
    }
  }
}
