import { sleep } from "../core/async.ts";
import { TidemarkError } from "../core/errors.ts";
import { askFence } from "../core/fence.ts";
import type { ApplierOptions } from "./options.ts";

/** A relay that is at work, or just beginning, has answered by then. */
const SILENCE_MS = 3_000;

/**
 * Is the source still on the history that the sync has followed? Only the relay that now holds the source knows. Waits
 * until it answers, and calls `tell` meanwhile with what is waited for; false when the signal aborts before.
 * Throws TM-TIMELINE-CHANGED.
 */
export async function confirmTimeline(
  { sync, from, queue }: Pick<ApplierOptions, "sync" | "from" | "queue">,
  followed: string,
  { signal, tell }: { readonly signal: AbortSignal; readonly tell: (error: TidemarkError) => void },
): Promise<boolean> {
  const answered = new AbortController();
  const telling = whileSilent(AbortSignal.any([signal, answered.signal]), () =>
    tell(unanswered(from, followed)),
  );
  try {
    const answer = await askFence(queue.documents, from, { anywhere: true, signal });
    if (answer === null) return false;
    if (answer.timeline === followed) return true;
    throw timelineChanged(sync, followed, answer.timeline);
  } finally {
    answered.abort();
    await telling;
  }
}

export function timelineChanged(sync: string, followed: string, found: string): TidemarkError {
  return new TidemarkError(
    "TM-TIMELINE-CHANGED",
    `${sync} followed timeline ${followed} of its source; the source now is on ${found}: it was created anew or restored.`,
    { fix: "The target must be copied anew: see docs/errors/TM-TIMELINE-CHANGED.md." },
  );
}

function unanswered(source: string, followed: string): TidemarkError {
  return new TidemarkError(
    "TM-APPLY-RETRY",
    `Waiting for the relay of "${source}" to say whether its source still is on timeline ${followed}: it does not answer.`,
    { fix: "Start it, if it is not at work: tidemark status." },
  );
}

async function whileSilent(signal: AbortSignal, tell: () => void): Promise<void> {
  for (;;) {
    await sleep(SILENCE_MS, signal);
    if (signal.aborted) return;
    tell();
  }
}
