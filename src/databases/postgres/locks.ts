import { setTimeout as sleep } from "node:timers/promises";
import { TidemarkError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { Connection } from "./connection.ts";
import { sqlState } from "./errors.ts";

export const LOCK_TIMEOUT_MS = 250;
const GIVE_UP_AFTER_MS = 300_000;
const LOG_EVERY_MS = 10_000;
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

interface Asked {
  /** For people: `Table public.t`. */
  readonly what: string;
  readonly logger: Logger;
  /** After so long it is given up. */
  readonly forMs?: number;
}

/**
 * Of a statement within {@link withShortLocks}, or a transaction that begins with {@link BEGIN_SHORT_LOCKS}. Given up, it
 * throws TM-TABLE-HELD: who has to go on in any case tries again.
 */
export async function againWhileLocked<T>(
  { what, logger, forMs = GIVE_UP_AFTER_MS }: Asked,
  work: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  let toldAt = startedAt;
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (![LOCK_NOT_AVAILABLE, DEADLOCK].includes(sqlState(error))) throw error;
      const now = performance.now();
      if (now - startedAt > forMs) throw stillLocked(what, error);
      if (now - toldAt > LOG_EVERY_MS) {
        toldAt = now;
        logger.warn({ what, end: END_IT }, "waiting for a transaction that has it locked to end");
      }
      await sleep(Math.min(2_000, 100 * 2 ** Math.min(attempt, 5)));
    }
  }
}

const END_IT =
  "SELECT pid, xact_start, query FROM pg_stat_activity WHERE state <> 'idle' ORDER BY xact_start; end the oldest. A prepared one is no session's: SELECT gid, prepared FROM pg_prepared_xacts; ROLLBACK PREPARED '<gid>' or COMMIT PREPARED '<gid>'.";

function stillLocked(what: string, cause: unknown): TidemarkError {
  return new TidemarkError(
    "TM-TABLE-HELD",
    `${what} is locked by another transaction and stays so.`,
    { fix: END_IT, cause },
  );
}
