import { TidemarkError } from "../../core/errors.ts";
import type { Connection } from "./connection.ts";
import { sqlState } from "./errors.ts";

const END_TIMEOUT_MS = 5_000;
const LOCK_NOT_AVAILABLE = "55P03";
const INSUFFICIENT_PRIVILEGE = "42501";

/** Two integers, as `pg_locks` shows them. */
export interface SessionLock {
  readonly classid: number;
  readonly objid: number;
}

/**
 * Takes an advisory lock, for as long as the session lasts, that only the holder of the relay's lease asks for. A
 * relay that has lost that lease with its first session may have others, and not know yet: whoever has the
 * lock is such a one, and is ended before anything is read that it could still change.
 * Throws TM-RELAY-FENCED when it stays.
 */
export async function takeFromFenced(connection: Connection, lock: SessionLock): Promise<void> {
  const { classid, objid } = lock;
  const terminate = `SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = ${classid} AND l.objid = ${objid} AND l.granted`;
  const [row] = await connection.rows(`SELECT pg_try_advisory_lock(${classid}, ${objid})`);
  if (row?.[0] === "t") return;
  try {
    await connection.rows(terminate);
  } catch (error) {
    // Another role's, of which it may end by itself meanwhile.
    if (sqlState(error) !== INSUFFICIENT_PRIVILEGE) throw error;
  }
  try {
    await connection.transaction("BEGIN", async () => {
      await connection.script(`SET LOCAL lock_timeout TO ${END_TIMEOUT_MS}`);
      await connection.rows(`SELECT pg_advisory_lock(${classid}, ${objid})`);
    });
  } catch (cause) {
    if (sqlState(cause) !== LOCK_NOT_AVAILABLE) throw cause;
    throw new TidemarkError(
      "TM-RELAY-FENCED",
      `A relay that has lost its lease on database "${connection.database}" has a session that does not end.`,
      {
        cause,
        fix: `In that database, as the owner of the session or a superuser: ${terminate}. It is tried again by itself.`,
      },
    );
  }
}
