// Somebody who looks at a database all the time, beside the test. What a test wants to have been seen it waits
// for: on a busy machine a look may take as long as all that was to be looked at.
import { sleep } from "../../src/core/async.ts";
import { PATIENCE_MS } from "./test-bed.ts";

export class Watcher {
  readonly #stop = new AbortController();
  readonly #end: Promise<void>;
  #looks = 0;

  /** `look` is called again `pauseMs` after it has resolved. What it throws is thrown to whoever waits, and by stop(). */
  constructor(look: () => Promise<void>, pauseMs: number) {
    this.#end = this.#run(look, pauseMs);
    this.#end.catch(() => {});
  }

  /** Resolves after a look that began after this call. */
  looked(): Promise<void> {
    const before = this.#looks;
    // The first of them may be under way.
    return this.until(() => this.#looks >= before + 2);
  }

  /** Resolves when enough has been seen, or when a look has failed throws what it threw. */
  async until(met: () => boolean): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    while (!met()) {
      if (performance.now() > end) throw new Error("What was waited for has not been seen.");
      await Promise.race([this.#end, sleep(5)]);
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#end;
  }

  async #run(look: () => Promise<void>, pauseMs: number): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await look();
      this.#looks++;
      await sleep(pauseMs, signal);
    }
  }
}
