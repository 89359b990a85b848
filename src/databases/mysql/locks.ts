import { sleep } from "../../core/async.ts";
import type { Logger } from "../../core/log.ts";
import type { Session } from "./connection.ts";
import { errorNumber } from "./errors.ts";

/** So long a statement waits for a table that is in use, in {@link withShortLocks}. */
export const LOCK_SECONDS = 1;
const LOG_EVERY_MS = 10_000;

/** `work`: triggers are made or dropped, each of them in {@link againWhileHeld}; or tables are looked at, for so many seconds. */
export async function withShortLocks<T>(
  session: Session,
  work: () => Promise<T>,
  seconds: number = LOCK_SECONDS,
): Promise<T> {
  await session.run(`SET lock_wait_timeout = ${seconds}`);
  try {
    return await work();
  } finally {
    // A session that is lost is told of by what failed in it.
    await session.run("SET lock_wait_timeout = 60").catch(() => {});
  }
}

/**
 * While CREATE TRIGGER or DROP TRIGGER waits for an open transaction, every new statement on the table waits behind
 * it: so it waits a second at most, lets the writers through, and tries again for as long as the
 * transaction is open. No timeout may decide that it has ended.
 */
export async function againWhileHeld<T>(
  table: string,
  logger: Logger,
  work: () => Promise<T>,
): Promise<T> {
  let toldAt = performance.now();
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isHeld(error)) throw error;
      if (performance.now() - toldAt > LOG_EVERY_MS) {
        toldAt = performance.now();
        logger.warn({ table }, "waiting for a transaction that has written the table to end");
      }
      await sleep(Math.min(5_000, 200 * 1.5 ** attempt));
    }
  }
}

/** Does a transaction hold what is asked for? */
export function isHeld(error: unknown): boolean {
  return [LOCK_TIMEOUT, DEADLOCK].includes(errorNumber(error) ?? 0);
}

export const LOCK_TIMEOUT = 1205;
const DEADLOCK = 1213;
