import { sleep } from "../core/async.ts";
import { toTidemarkError } from "../core/errors.ts";
import type { PipelineStatus } from "../pipeline/status.ts";

/**
 * Shows a status twice a second until the signal aborts. Whoever shows it decides how often it prints.
 * A queue that is away for a while is no reason to end: the last status stays until it is back.
 */
export async function watchStatus(
  read: () => Promise<PipelineStatus>,
  view: { update(status: PipelineStatus): void },
  signal: AbortSignal,
  everyMs = 500,
): Promise<void> {
  while (!signal.aborted) {
    try {
      view.update(await read());
    } catch (error) {
      if (!toTidemarkError(error).retryable) throw error;
    }
    await sleep(everyMs, signal);
  }
}
