import { sleep } from "./async.ts";
import { isTidemarkError, type TidemarkError } from "./errors.ts";

/** Each try may count as one with a wrong password, and servers lock accounts for many of these. */
export const SLOW_RETRY_MS = 30_000;
const BEAT_MS = 3_000;

/**
 * A password or a right that was taken away is mostly put right again, at the server, by people; nothing here is to be
 * changed for it. Who has worked before tries again, so that nobody need restart what works on beside it.
 */
export function isOfRights(error: TidemarkError): boolean {
  return isTidemarkError(error, "TM-AUTH-FAILED", "TM-GRANT-MISSING");
}

/** Sleeps, and gives signs of life meanwhile. */
export async function sleepAlive(
  ms: number,
  signal: AbortSignal,
  beat: () => Promise<void> | void,
): Promise<void> {
  const until = performance.now() + ms;
  for (let left = ms; left > 0 && !signal.aborted; left = until - performance.now()) {
    await sleep(Math.min(left, BEAT_MS), signal);
    if (!signal.aborted) await beat();
  }
}
