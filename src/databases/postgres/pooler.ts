import { randomInt, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { TidemarkError } from "../../core/errors.ts";

/** The slice of a connected session of the driver that is needed to find out what stands behind it. */
export interface Session {
  readonly processID: number | null;
  query(config: { readonly text: string; readonly rowMode: "array" }): Promise<unknown>;
  on(event: "notification", listener: (message?: { readonly channel: string }) => void): unknown;
  on(event: "end", listener: () => void): unknown;
}

export interface OtherSession extends Session {
  /** At once, also while it waits for an answer. */
  leave(): void;
}

/** A busy server still hands on a notification in a fraction of it. */
const HEARD_WITHIN_MS = 10_000;
/** As long as connecting may take: a pool that is used up makes its next session wait with the first statement. */
const ANSWERED_WITHIN_MS = 15_000;
const RESET_WITHIN_MS = 5_000;
const LOOK_EVERY_MS = 20;
const KEY_END = 2 ** 31;
const FIX =
  "Point the URL at the server itself, or at a pool in session mode (PgBouncer: pool_mode = session).";

/**
 * Is there a pooler between? Throws where it would hand the server's process of this session to others: those would have
 * our settings (search_path, session_replication_role), and we would not have our locks. Nothing may be set before it is
 * known, since it would be set for the application.
 *
 * A pooler greets with a number of its own in place of the process's. What it does with an idle session no setting
 * tells, and two sessions that happen upon two processes prove nothing. But what a server says of its own accord reaches
 * an idle session only where the process is kept for it: so this session listens, and another one, made by
 * `openOther`, notifies.
 *
 * Throws TM-SERVER-UNSUPPORTED, and TM-CONNECT-FAILED where the pool has no second session for us.
 */
export async function behindPooler(
  session: Session,
  openOther: () => Promise<OtherSession>,
  database: string,
): Promise<boolean> {
  const pid = await ask(session, "SELECT pg_catalog.pg_backend_pid()");
  if (String(session.processID) === pid) return false;
  const other = await openOther();
  try {
    if (!(await isKept(session, other, pid, database))) throw handedOn(database);
    await assertReset(session, other, database);
  } finally {
    other.leave();
  }
  return true;
}

async function isKept(
  session: Session,
  other: Session,
  pid: string | undefined,
  database: string,
): Promise<boolean> {
  const asked = ask(other, "SELECT pg_catalog.pg_backend_pid()");
  const otherPid = await within(ANSWERED_WITHIN_MS, asked);
  if (otherPid === null) throw usedUp(database);
  if (otherPid === pid) return false;
  const channel = `tidemark_probe_${randomUUID().replaceAll("-", "")}`;
  const heard = new Promise<true>((resolve, reject) => {
    session.on("notification", (message) => {
      if (message?.channel === channel) resolve(true);
    });
    session.on("end", () => reject(new Error("Connection terminated")));
  });
  heard.catch(() => {});
  await ask(session, `LISTEN ${channel}`);
  try {
    await ask(other, `SELECT pg_catalog.pg_notify('${channel}', '')`);
    return (await within(HEARD_WITHIN_MS, heard)) === true;
  } finally {
    await ask(session, `UNLISTEN ${channel}`);
  }
}

/**
 * Of a process that is given to the next session as it was left: our leases would outlive us there, and our settings be
 * the application's.
 */
async function assertReset(session: Session, other: OtherSession, database: string): Promise<void> {
  const [first, second] = [randomInt(KEY_END), randomInt(KEY_END)];
  await ask(other, `SELECT pg_catalog.pg_advisory_lock(${first}, ${second})`);
  other.leave();
  const deadline = performance.now() + RESET_WITHIN_MS;
  while (
    (await ask(
      session,
      `SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND classid = ${first} AND objid = ${second}`,
    )) !== undefined
  ) {
    if (performance.now() > deadline) throw notReset(database);
    await sleep(LOOK_EVERY_MS);
  }
}

/** The first value of the answer. */
async function ask(session: Session, text: string): Promise<string | undefined> {
  const { rows } = (await session.query({ text, rowMode: "array" })) as { rows: string[][] };
  return rows[0]?.[0];
}

/** Null when it takes longer. */
async function within<T>(ms: number, answer: Promise<T>): Promise<T | null> {
  const ended = new AbortController();
  try {
    const late = sleep(ms, null, { signal: ended.signal });
    late.catch(() => {});
    answer.catch(() => {});
    return await Promise.race([answer, late]);
  } finally {
    ended.abort();
  }
}

function handedOn(database: string): TidemarkError {
  return new TidemarkError(
    "TM-SERVER-UNSUPPORTED",
    `Between Tidemark and database "${database}" stands a pooler that does not keep a session of the server for each of ours (transaction or statement mode): leases and wake-ups would be lost, and what we set would be set for the application.`,
    { fix: FIX },
  );
}

function notReset(database: string): TidemarkError {
  return new TidemarkError(
    "TM-SERVER-UNSUPPORTED",
    `The pooler before database "${database}" does not reset a session of the server before it gives it to the next: locks and settings of ours would stay.`,
    { fix: "PgBouncer: server_reset_query = DISCARD ALL; or point the URL at the server itself." },
  );
}

function usedUp(database: string): TidemarkError {
  return new TidemarkError(
    "TM-CONNECT-FAILED",
    `The pooler before database "${database}" gives us no further session within ${ANSWERED_WITHIN_MS / 1000} seconds: its pool is used up.`,
    {
      fix: "Give the role of the URL a pool of its own (a source takes up to 7 sessions, a target 4; PgBouncer: pool_size), or point the URL at the server itself.",
    },
  );
}
