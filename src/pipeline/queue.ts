import type { QueueDefinition } from "../core/definition.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import { queueAdapterFor } from "./registry.ts";

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
