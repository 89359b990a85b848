import { sleep } from "../../core/async.ts";
import type { Logger } from "../../core/log.ts";
import type { InSession } from "./abreast.ts";
import { type Session, TABLE_LOCK_SECONDS } from "./connection.ts";
import { errorNumber } from "./errors.ts";

/** So long a statement waits for a table that is in use, where it waits. */
export const LOCK_SECONDS = 1;
const LOG_EVERY_MS = 10_000;
/** So long a table that is in use is asked for without waiting before it is waited for, and after that again. */
const YIELDING_MS = 5_000;
const PAUSES = { firstMs: 200, growth: 1.5, longestMs: 5_000 };
/** Between attempts that hold nobody up. */
const SHORT_PAUSES = { firstMs: 10, growth: 1.2, longestMs: 1_000 };

/** `work`: tables are looked at, for so many seconds. */
export function withShortLocks<T>(
  session: Session,
  work: () => Promise<T>,
  seconds: number,
): Promise<T> {
  return withTableLocks(session, { seconds, back: TABLE_LOCK_SECONDS }, work);
}

/** `work`: triggers are made or dropped, each of them in {@link againWhileHeld}. */
export function givingWay<T>(session: Session, work: () => Promise<T>): Promise<T> {
  return withShortLocks(session, work, session.flavour.leastTableWait);
}

async function withTableLocks<T>(
  session: Session,
  { seconds, back }: { readonly seconds: number; readonly back: number },
  work: () => Promise<T>,
): Promise<T> {
  await session.run(`SET lock_wait_timeout = ${seconds}`);
  try {
    return await work();
  } finally {
    // A session that is lost is told of by what failed in it.
    await session.run(`SET lock_wait_timeout = ${back}`).catch(() => {});
  }
}

interface Asked {
  readonly table: string;
  /** Has begun {@link givingWay}, as have those that `use` gives. */
  readonly session: Session;
  readonly use: InSession;
  readonly logger: Logger;
  /** Of all that is done to the table. */
  readonly yielding?: Yielding;
  /** After so long it is given up; default never. */
  readonly forMs?: number;
}

/** How long a table has been asked for in vain. */
export class Yielding {
  #since: number | null = null;

  met(): void {
    this.#since ??= performance.now();
  }

  begin(): void {
    this.#since = performance.now();
  }

  get isOver(): boolean {
    return this.#since !== null && performance.now() - this.#since > YIELDING_MS;
  }
}

/**
 * Tries for as long as a transaction has the table: no timeout may decide that it has ended. Given up, it throws what
 * {@link isHeld} knows.
 *
 * While CREATE TRIGGER or DROP TRIGGER waits for an open transaction, every new statement on the table waits behind
 * it. Where that is a statement of the very transaction, which has read the table and now writes it, neither goes on, and the
 * server ends the application's, never ours (error 1213). So ours does not wait where it can fail at once. A table that
 * is never free would not be had that way: from time to time it is waited for, a second at most.
 */
export async function againWhileHeld<T>(
  { table, session, use, logger, yielding = new Yielding(), forMs = Infinity }: Asked,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { leastTableWait } = session.flavour;
  const pauses = leastTableWait === 0 ? SHORT_PAUSES : PAUSES;
  const locks = { seconds: LOCK_SECONDS, back: leastTableWait };
  const startedAt = performance.now();
  let toldAt = startedAt;
  for (let attempt = 0; ; attempt++) {
    const waits = leastTableWait === 0 && yielding.isOver;
    try {
      return await use((each) =>
        waits ? withTableLocks(each, locks, () => work(each)) : work(each),
      );
    } catch (error) {
      if (!isHeld(error) || performance.now() - startedAt >= forMs) throw error;
      if (waits) yielding.begin();
      else yielding.met();
      if (performance.now() - toldAt > LOG_EVERY_MS) {
        toldAt = performance.now();
        logger.warn({ table }, "waiting for a transaction that has written the table to end");
      }
      await sleep(Math.min(pauses.longestMs, pauses.firstMs * pauses.growth ** attempt));
    }
  }
}

/** Does a transaction hold what is asked for? */
export function isHeld(error: unknown): boolean {
  return [LOCK_TIMEOUT, DEADLOCK].includes(errorNumber(error) ?? 0);
}

export const LOCK_TIMEOUT = 1205;
const DEADLOCK = 1213;
