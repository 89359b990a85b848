import { sleep } from "../core/async.ts";
import { toTidemarkError } from "../core/errors.ts";
import type { PipelineStatus } from "../pipeline/status.ts";
import type { Output } from "./output.ts";

const QUIET_EVERY_MS = 2_000;

interface WatchOptions {
  readonly output: Pick<Output, "isBehind">;
  readonly everyMs?: number;
  readonly live?: boolean;
}

/**
 * Shows a status every so often until the signal aborts, twice a second by default; less often while
 * nothing moves and nobody looks at a live screen. Whoever shows it decides how often it prints. A queue that is away for a while is no reason to end: the last status stays until it is back.
 * Who does not read what was printed is shown nothing new: the next one will tell all.
 */
export async function watchStatus(
  read: () => Promise<PipelineStatus>,
  view: { update(status: PipelineStatus): void },
  signal: AbortSignal,
  { output, everyMs = 500, live = true }: WatchOptions,
): Promise<void> {
  let shown = "";
  let pauseMs = everyMs;
  while (!signal.aborted) {
    try {
      const status = await read();
      if (!output.isBehind) view.update(status);
      const now = progressOf(status);
      pauseMs = live || now !== shown ? everyMs : Math.max(everyMs, QUIET_EVERY_MS);
      shown = now;
    } catch (error) {
      if (!toTidemarkError(error).retryable) throw error;
    }
    await sleep(pauseMs, signal);
  }
}

function progressOf({ sources, syncs }: PipelineStatus): string {
  const cut = sources.map(({ state, batch }) => [state, batch]);
  const applied = syncs.map((sync) => [sync.state, sync.changesApplied, sync.rowsCopied]);
  return JSON.stringify([cut, applied]);
}
