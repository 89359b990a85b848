import { sleep } from "../core/async.ts";
import { TidemarkError, toTidemarkError } from "../core/errors.ts";
import { askFence } from "../core/fence.ts";
import type { ApplierOptions } from "./options.ts";
import { resyncAll } from "./resync.ts";

/** A relay that is at work, or just beginning, has answered by then. */
const SILENCE_MS = 3_000;

/**
 * Is the source still on the history that the sync has followed? Only the relay that now holds the source knows. Waits
 * until it answers, and calls `tell` meanwhile with what is waited for, with null when it has come; false when the signal
 * aborts before.
 * Throws TM-TIMELINE-CHANGED.
 */
export async function confirmTimeline(
  { sync, from, queue, logger }: Pick<ApplierOptions, "sync" | "from" | "queue" | "logger">,
  followed: string,
  { signal, tell }: Waiting,
): Promise<boolean> {
  const answered = new AbortController();
  let isSaid = false;
  const telling = whileSilent(AbortSignal.any([signal, answered.signal]), () => {
    const error = unanswered(from, followed);
    if (!isSaid) logger.warn({}, error.message);
    isSaid = true;
    tell(error);
  });
  try {
    const answer = await askFence(queue.documents, from, { anywhere: true, signal });
    if (answer !== null && answer.timeline !== followed) {
      throw timelineChanged(sync, followed, answer.timeline);
    }
    if (isSaid) tell(null);
    return answer !== null;
  } finally {
    answered.abort();
    await telling;
  }
}

interface Waiting {
  readonly signal: AbortSignal;
  readonly tell: (error: TidemarkError | null) => void;
}

/**
 * The queue holds what is of another timeline. That is no proof: another source's relay may have left it there, by a
 * mistake that is mended since, and the right one has yet to clear it away. See {@link ascertain}.
 */
export function otherTimeline(sync: string, followed: string, found: string): TidemarkError {
  const message = `${sync} followed timeline ${followed} of its source; the queue is on ${found}.`;
  return new TidemarkError("TM-TIMELINE-CHANGED", message, { details: { followed, found } });
}

/**
 * What an error of an applier is: that of another timeline is not for the queue to say, but for the relay, which `confirm`
 * asks. Null when stopped before it was known.
 */
export async function ascertain(
  error: TidemarkError,
  confirm: (followed: string) => Promise<boolean>,
): Promise<TidemarkError | null> {
  const { followed } = error.details;
  if (error.code !== "TM-TIMELINE-CHANGED" || typeof followed !== "string") return error;
  try {
    return (await confirm(followed)) ? leftOver(error) : null;
  } catch (failure) {
    return toTidemarkError(failure);
  }
}

/** The relay has emptied the stream of what was not its own before it answered. */
function leftOver(error: TidemarkError): TidemarkError {
  const message = `${error.message} That was left there: the relay says that its source is on the one before.`;
  return new TidemarkError("TM-APPLY-RETRY", message, { cause: error });
}

/** The relay says so. */
export function timelineChanged(sync: string, followed: string, found: string): TidemarkError {
  return new TidemarkError(
    "TM-TIMELINE-CHANGED",
    `${sync} followed timeline ${followed} of its source; the source now is on ${found}: it was created anew or restored.`,
    {
      fix: `If this is the right source, copy the tables anew: ${resyncAll(sync)}. If it is not, correct its URL.`,
    },
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
