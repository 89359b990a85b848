import { TidemarkError } from "../core/errors.ts";
import { comparePositions } from "../core/position.ts";
import type { ApplierSession, Progress } from "../core/target.ts";

/**
 * Is the target where it was left? A standby that has taken its place behind the same address, or a backup that was put
 * back, of all or of a table, may be in an earlier state, which nothing tells while the source is quiet; and waiters are told what was. A
 * session that is asked now and then also stays alive where what stands between ends those that are silent.
 * Throws TM-APPLY-RETRY, or that the session is lost.
 */
export async function assertNotPutBack(session: ApplierSession, progress: Progress): Promise<void> {
  // What is kept apart from the rows tells nothing of them.
  if (session.mayHoldMore === true) return;
  const { timeline, position, hash } = await session.loadPlace();
  const same =
    timeline === progress.timeline &&
    comparePositions(position, progress.position) === 0 &&
    hash === progress.hash;
  if (same) return session.assertNoneReplaced?.();
  throw new TidemarkError(
    "TM-APPLY-RETRY",
    `The target is at batch ${position.batch} and not at ${progress.position.batch} any more: it was put back.`,
  );
}
