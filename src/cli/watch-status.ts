import { sleep } from "../core/async.ts";
import type { PipelineStatus } from "../pipeline/status.ts";

/** Shows a status twice a second until the signal aborts. Whoever shows it decides how often it prints. */
export async function watchStatus(
  read: () => Promise<PipelineStatus>,
  view: { update(status: PipelineStatus): void },
  signal: AbortSignal,
  everyMs = 500,
): Promise<void> {
  while (!signal.aborted) {
    view.update(await read());
    await sleep(everyMs, signal);
  }
}
