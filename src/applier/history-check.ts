import { backoff, sleep } from "../core/async.ts";
import { keys, type SourceStatus } from "../core/documents.ts";
import { type TidemarkError, toTidemarkError } from "../core/errors.ts";
import { askFence, heldOf } from "../core/fence.ts";
import { aheadOf } from "../core/rewound.ts";
import type { ApplierOptions } from "./options.ts";
import { timelineChanged } from "./timeline.ts";
import type { ApplierWork } from "./work.ts";

interface Hooks {
  readonly signal: AbortSignal;
  /** {@link HistoryCheck.throwIfFailed} has something to throw. */
  readonly onFailure: () => void;
}

/**
 * Asks the source, when a session begins, whether it has what was applied. A source that was put back to an older state, or
 * another one in its place, may send nothing for long that would tell, and then batches whose numbers have passed.
 * A relay that is away answers when it is back: what is in the queue is applied meanwhile, as far as it goes on from there.
 */
export class HistoryCheck {
  readonly #options: ApplierOptions;
  readonly #work: ApplierWork;
  readonly #hooks: Hooks;
  #asking: Promise<void> | null = null;
  #failure: TidemarkError | null = null;

  constructor(options: ApplierOptions, work: ApplierWork, hooks: Hooks) {
    this.#options = options;
    this.#work = work;
    this.#hooks = hooks;
    this.#begin();
  }

  /**
   * Call when the stream is empty: a relay that was started anew meanwhile may be that of another database. What it tells
   * may be of an earlier life, so it is only asked then.
   */
  async look(): Promise<void> {
    if (this.#asking !== null) return;
    const { from, queue } = this.#options;
    const status = (await queue.documents.get(keys.relay(from))) as SourceStatus | null;
    const timeline = status?.timeline ?? null;
    if (timeline !== null && timeline !== this.#work.progress.timeline) this.#begin();
  }

  throwIfFailed(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Resolves when nothing is asked any more, after the signal. */
  async ended(): Promise<void> {
    await this.#asking;
  }

  #begin(): void {
    this.#asking = this.#run().finally(() => {
      this.#asking = null;
    });
  }

  async #run(): Promise<void> {
    const { signal, onFailure } = this.#hooks;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        return await this.#ask();
      } catch (error) {
        const found = toTidemarkError(error);
        if (!found.retryable) {
          this.#failure = found;
          return onFailure();
        }
        this.#options.logger.debug({ err: found }, "the source could not be asked: trying again");
      }
      await sleep(backoff(attempt), signal);
    }
  }

  async #ask(): Promise<void> {
    const { sync, from, queue } = this.#options;
    const holds = heldOf(this.#work.progress);
    const answer = await askFence(queue.documents, from, { holds, signal: this.#hooks.signal });
    if (answer === null) return;
    if (answer.timeline !== holds.timeline) {
      throw timelineChanged(sync, holds.timeline, answer.timeline);
    }
    if (answer.fits) return;
    throw aheadOf(from, { sync, batch: holds.batch });
  }
}
