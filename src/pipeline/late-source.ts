import { backoff, sleep } from "../core/async.ts";
import { isTidemarkError, type TidemarkError, toTidemarkError } from "../core/errors.ts";
import type { LateStatus } from "../core/late-status.ts";
import type { Logger } from "../core/log.ts";
import { RetryLog } from "../core/retry-log.ts";
import { isOfRights, SLOW_RETRY_MS, sleepAlive } from "../core/slow-retry.ts";
import type { Prepared } from "./prepare.ts";
import type { Worker } from "./workers.ts";

interface LateSourceOptions {
  /** Why it was passed by. */
  readonly error: TidemarkError;
  /** Looks at the source and at the targets of its syncs as a start does. */
  readonly prepare: () => Promise<Prepared>;
  /** By another sync, which may have come to it no sooner, and has tables to make there. */
  readonly isWritten: boolean;
  readonly slowRetryMs: number | undefined;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** A source that the start has passed by: looked for until it is there, for its relay and for the appliers of its syncs alike. */
export class LateSource {
  readonly #options: LateSourceOptions;
  /** Null when the signal has aborted before. Rejects with what waiting does not mend. */
  readonly found: Promise<Prepared | null>;
  /** Why it was not found yet. */
  error: TidemarkError;

  constructor(options: LateSourceOptions) {
    this.#options = options;
    this.error = options.error;
    this.found = this.#look();
    // Whoever works for it is told.
    this.found.catch(() => {});
  }

  async #look(): Promise<Prepared | null> {
    const { prepare, slowRetryMs = SLOW_RETRY_MS, signal, logger } = this.#options;
    const log = new RetryLog(logger, "this source cannot be begun with yet");
    for (let attempt = 0; !signal.aborted; attempt++) {
      log.failed(this.error);
      await sleep(isOfRights(this.error) ? slowRetryMs : backoff(attempt), signal);
      if (signal.aborted) break;
      try {
        return await prepare();
      } catch (failure) {
        if (signal.aborted) break;
        this.error = toTidemarkError(failure);
        if (!mayPass(this.error, this.#options)) throw this.error;
      }
    }
    return null;
  }
}

function mayPass(
  error: TidemarkError,
  { isWritten }: Pick<LateSourceOptions, "isWritten">,
): boolean {
  if (isWritten && isTidemarkError(error, "TM-TABLE-MISSING")) return true;
  // An applier apart waits for what the relay tells of the source.
  return error.retryable || isOfRights(error) || isTidemarkError(error, "TM-WAIT-TIMEOUT");
}

/** In place of a relay, or an applier, of a source that is looked for: tells of that, and works once it is found. */
export class LateWorker implements Worker {
  readonly #late: LateSource;
  readonly #status: LateStatus;
  readonly #workerOf: (found: Prepared) => Worker;
  readonly #stop = new AbortController();
  #worker: Worker | null = null;

  constructor(late: LateSource, status: LateStatus, workerOf: (found: Prepared) => Worker) {
    this.#late = late;
    this.#status = status;
    this.#workerOf = workerOf;
  }

  stop(): void {
    this.#stop.abort();
    this.#worker?.stop();
  }

  async run(onReady: () => void): Promise<void> {
    const found = await this.#wait(onReady);
    if (found === null || this.#stop.signal.aborted) {
      await this.#status.tellUnlessOther("stopped", this.#late.error);
      return;
    }
    this.#worker = this.#workerOf(found);
    await this.#worker.run(onReady);
  }

  async #wait(onReady: () => void): Promise<Prepared | null> {
    const { signal } = this.#stop;
    const settled = new AbortController();
    const beating = this.#beat(onReady, AbortSignal.any([signal, settled.signal]));
    const stopped = new Promise<null>((resolve) => {
      signal.addEventListener("abort", () => resolve(null), { once: true });
    });
    try {
      return await Promise.race([this.#late.found, stopped]);
    } catch (failure) {
      settled.abort();
      await beating;
      await this.#status.tellUnlessOther("stopped", toTidemarkError(failure));
      throw failure;
    } finally {
      settled.abort();
      await beating;
    }
  }

  /** Also while it is looked for, which may take longer than who is silent is believed. */
  async #beat(onReady: () => void, signal: AbortSignal): Promise<void> {
    const beat = () => this.#status.tellUnlessOther("running", this.#late.error);
    await beat();
    onReady();
    await sleepAlive(Number.POSITIVE_INFINITY, signal, beat);
  }
}
