import { sleep } from "../core/async.ts";
import type { Logger } from "../core/log.ts";
import type { ApplierSession } from "../core/target.ts";
import type { ToldStatus } from "./told-status.ts";

const STANDBY_POLL_MS = 1_000;

interface Standby {
  readonly status: ToldStatus;
  readonly logger: Logger;
  /** Called when another one is found at work. */
  readonly onReady: () => void;
  readonly signal: AbortSignal;
}

/** The session of the one applier that works for a sync, once no other has it; null when the signal aborts before. */
export async function standBy(
  open: () => Promise<ApplierSession | null>,
  { status, logger, onReady, signal }: Standby,
): Promise<ApplierSession | null> {
  while (!signal.aborted) {
    const session = await open();
    if (session !== null) return session;
    if (status.now.state !== "standby") {
      logger.info({}, "another applier holds this sync: standing by");
      status.note({ state: "standby" });
      onReady();
    }
    await sleep(STANDBY_POLL_MS, signal);
  }
  return null;
}
