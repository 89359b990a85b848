import type { Logger } from "../core/log.ts";

/** A relay or an applier. */
export interface Worker {
  run(onReady: () => void): Promise<void>;
  stop(): void;
}

interface Entry {
  readonly name: string;
  readonly role: "relay" | "applier";
  readonly source: string;
  readonly worker: Worker;
}

/**
 * Runs the workers of a process side by side. One that fails for good takes along only those that
 * cannot work without it; when none is left, `finished` rejects with the last failure: the one that ended it all.
 */
export class Workers {
  readonly #logger: Logger;
  readonly #running = new Map<Entry, Promise<void>>();
  readonly #ready: Promise<void>[] = [];
  readonly #finished = Promise.withResolvers<void>();
  #failure: { readonly error: unknown } | null = null;
  #stopping = false;

  constructor(logger: Logger) {
    this.#logger = logger;
    // Whoever never looks at `finished` must not be ended by an unhandled rejection.
    this.#finished.promise.catch(() => {});
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Resolves when every worker added is at work or standing by; rejects when one fails first. */
  get ready(): Promise<void> {
    return Promise.all(this.#ready).then(() => {});
  }

  add(entry: Entry): void {
    const ready = Promise.withResolvers<void>();
    this.#ready.push(ready.promise);
    ready.promise.catch(() => {});
    const run = entry.worker
      .run(() => ready.resolve())
      .then(
        () => ready.resolve(),
        (error: unknown) => {
          ready.reject(error);
          this.#onFailure(entry, error);
        },
      );
    this.#running.set(
      entry,
      run.then(() => this.#onEnd(entry)),
    );
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const running = [...this.#running];
    for (const [{ worker }] of running) worker.stop();
    await Promise.all(running.map(([, ended]) => ended));
    this.#settle();
  }

  #onFailure(failed: Entry, error: unknown): void {
    if (!this.#stopping) this.#failure = { error };
    else this.#failure ??= { error };
    const told = "stopped for good, until it is mended and started again";
    this.#logger.error({ err: error, worker: failed.name }, told);
    for (const [{ role, source, worker }] of this.#running) {
      const dependent = failed.role === "relay" && role === "applier" && source === failed.source;
      if (dependent) worker.stop();
    }
  }

  #onEnd(ended: Entry): void {
    this.#running.delete(ended);
    const rest = [...this.#running.keys()];
    // A relay goes on alone only where it was started alone.
    if (ended.role === "applier" && !rest.some(({ role }) => role === "applier")) {
      for (const { worker } of rest) worker.stop();
    }
    if (rest.length === 0 && !this.#stopping) this.#settle();
  }

  #settle(): void {
    if (this.#failure === null) this.#finished.resolve();
    else this.#finished.reject(this.#failure.error);
  }
}
