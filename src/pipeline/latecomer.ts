import { leased } from "../applier/altered.ts";
import type { Applier } from "../applier/applier.ts";
import { backoff } from "../core/async.ts";
import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import { keys, UNKNOWN_SYNC } from "../core/documents.ts";
import { toTidemarkError } from "../core/errors.ts";
import { LateStatus } from "../core/late-status.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import { RetryLog } from "../core/retry-log.ts";
import { isOfRights, SLOW_RETRY_MS, sleepAlive } from "../core/slow-retry.ts";
import { type Databases, using } from "./connect.ts";
import { refuseAltered } from "./fit.ts";
import type { PassedSync } from "./prepare.ts";
import type { PreparedSync } from "./prepare-target.ts";
import type { Worker } from "./workers.ts";

interface LatecomerOptions {
  readonly passed: PassedSync;
  readonly databases: Databases;
  readonly definition: PipelineDefinition;
  readonly queue: Queue;
  readonly slowRetryMs: number | undefined;
  readonly logger: Logger;
  readonly applierOf: (sync: PreparedSync) => Applier;
}

/**
 * In place of the applier of a sync that the start has passed by. What may pass is waited out, and the applier begun then;
 * of all else it tells that the sync has stopped and why, as if it had stopped while it ran.
 */
export class Latecomer implements Worker {
  readonly #options: LatecomerOptions;
  readonly #stop = new AbortController();
  #applier: Applier | null = null;
  readonly #status: LateStatus;

  constructor(options: LatecomerOptions) {
    this.#options = options;
    const { queue, passed, logger } = options;
    this.#status = lateSync(passed.definition, queue, logger);
  }

  stop(): void {
    this.#stop.abort();
    this.#applier?.stop();
  }

  async run(onReady: () => void): Promise<void> {
    const { passed, logger, slowRetryMs = SLOW_RETRY_MS } = this.#options;
    const { signal } = this.#stop;
    const log = new RetryLog(logger, "this sync cannot start yet");
    let { error } = passed;
    for (let attempt = 0; !signal.aborted; attempt++) {
      if (!error.retryable && !isOfRights(error)) {
        if (await this.#isFree()) await this.#status.tell("stopped", error);
        onReady();
        throw error;
      }
      const ms = error.retryable ? backoff(attempt) : slowRetryMs;
      log.failed(error);
      const why = error;
      const beat = () => this.#status.tellUnlessOther("running", why);
      await beat();
      onReady();
      await sleepAlive(ms, signal, beat);
      if (signal.aborted) break;
      try {
        this.#applier = this.#options.applierOf(await this.#prepare());
      } catch (failure) {
        error = toTidemarkError(failure);
        continue;
      }
      if (signal.aborted) break;
      await this.#applier.run(onReady);
      return;
    }
    await this.#status.tellUnlessOther("stopped", error);
  }

  async #prepare(): Promise<PreparedSync> {
    const { passed, databases, definition, logger } = this.#options;
    const found = await passed.prepare({ create: false });
    await refuseAltered(found, databases, { ...definition, logger });
    return passed.prepare({ create: true });
  }

  /** Is nobody else at work? */
  async #isFree(): Promise<boolean> {
    const { databases, passed, queue } = this.#options;
    const { name, to } = passed.definition;
    try {
      return await using(databases.openTarget(to, queue), async (target) => {
        const session = await leased(target, name);
        await session?.close();
        return session !== null;
      });
    } catch {
      // Nobody can be at work at what cannot be opened.
      return true;
    }
  }
}

export function lateSync(sync: SyncDefinition, queue: Queue, logger: Logger): LateStatus {
  const { name, from, to } = sync;
  return new LateStatus(keys.applier(name), { ...UNKNOWN_SYNC, name, from, to }, queue, logger);
}
