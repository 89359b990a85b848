import { setTimeout as sleep } from "node:timers/promises";
import { TidemarkError } from "../../core/errors.ts";
import type { Connection } from "./connection.ts";
import { sqlState } from "./errors.ts";

export const LOCK_TIMEOUT_MS = 250;
const GIVE_UP_AFTER_MS = 300_000;
const LOCK_NOT_AVAILABLE = "55P03";
const DEADLOCK = "40P01";

export const BEGIN_SHORT_LOCKS = `BEGIN; SET LOCAL lock_timeout TO ${LOCK_TIMEOUT_MS}`;

/**
 * Runs `work` with a short lock_timeout, which does each of its DDL statements {@link againWhileLocked}: one that waits
 * for a table's lock makes every later writer wait behind it, so it may wait only for a moment.
 */
export async function withShortLocks<T>(
  connection: Connection,
  work: () => Promise<T>,
): Promise<T> {
  await connection.script(`SET lock_timeout TO ${LOCK_TIMEOUT_MS}`);
  try {
    return await work();
  } finally {
    if (!connection.lost) await connection.script("SET lock_timeout TO 0");
  }
}

/** Of a statement within {@link withShortLocks}, or a transaction that begins with {@link BEGIN_SHORT_LOCKS}. */
export async function againWhileLocked<T>(what: string, work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + GIVE_UP_AFTER_MS;
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (![LOCK_NOT_AVAILABLE, DEADLOCK].includes(sqlState(error))) throw error;
      if (performance.now() > deadline) throw stillLocked(what, error);
      await sleep(Math.min(2_000, 100 * 2 ** Math.min(attempt, 5)));
    }
  }
}

function stillLocked(what: string, cause: unknown): TidemarkError {
  return new TidemarkError(
    "TM-CAPTURE-MISSING",
    `${what} is locked by another transaction and stays so.`,
    {
      fix: "SELECT pid, xact_start, query FROM pg_stat_activity WHERE state <> 'idle' ORDER BY xact_start; end the oldest. A prepared one is no session's: SELECT gid, prepared FROM pg_prepared_xacts; ROLLBACK PREPARED '<gid>' or COMMIT PREPARED '<gid>'.",
      cause,
    },
  );
}
