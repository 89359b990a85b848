// The test's own way to a queue that has just come back: a broker may not answer before its health check looked at it.
import { backoff, sleep } from "../../../src/core/async.ts";
import type { PipelineDefinition } from "../../../src/core/definition.ts";
import { toTidemarkError } from "../../../src/core/errors.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { Queue } from "../../../src/core/queue.ts";
import { openQueue } from "../../../src/pipeline/queue.ts";

/** Tries until it is open, or until it is aborted: then with the error of the last attempt. */
export async function openPatiently(
  { queue }: PipelineDefinition,
  signal: AbortSignal,
): Promise<Queue> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await openQueue(queue, silentLogger);
    } catch (error) {
      if (!toTidemarkError(error).retryable || signal.aborted) throw error;
      await sleep(backoff(attempt), signal);
    }
  }
}
