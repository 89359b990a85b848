import { sleep } from "../core/async.ts";
import type { QueueDefinition } from "../core/definition.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import { queueAdapterFor } from "./registry.ts";

const LOOK_AGAIN_MS = 500;

/** Opens the queue of a definition. Throws as {@link QueueAdapter.open}. */
export function openQueue(definition: QueueDefinition, logger: Logger): Promise<Queue> {
  const { url, maxStreamBytes } = definition;
  return queueAdapterFor(url).open({ url, maxStreamBytes, logger });
}

/** Throws where {@link openQueue} could not make a queue that is not there yet. */
export function checkMakeable({ url }: QueueDefinition): void {
  queueAdapterFor(url).checkMakeable?.(url);
}

/** Null where there is none yet: who only looks makes none. */
export async function openStanding(
  definition: QueueDefinition,
  logger: Logger,
): Promise<Queue | null> {
  const isThere = queueAdapterFor(definition.url).exists?.(definition.url) ?? true;
  return isThere ? openQueue(definition, logger) : null;
}

interface AwaitOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told once where there is none yet. */
  readonly onWait?: () => void;
}

/** As {@link openStanding}, of one that a run may make only now: null when the signal aborts before. Throws as {@link checkMakeable} besides. */
export async function awaitQueue(
  definition: QueueDefinition,
  logger: Logger,
  { signal, onWait }: AwaitOptions,
): Promise<Queue | null> {
  for (let looks = 0; signal?.aborted !== true; looks++) {
    const queue = await openStanding(definition, logger);
    if (queue !== null) return queue;
    checkMakeable(definition);
    if (looks === 0) onWait?.();
    await sleep(LOOK_AGAIN_MS, signal);
  }
  return null;
}
