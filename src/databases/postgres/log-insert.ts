// How a function of ours writes to the change log, and wakes the relay.
import { quoteLiteral } from "./identifiers.ts";
import { LOG_SLOT, LOG_TABLES, logTable } from "./ours.ts";

/** Of all advisory locks of ours: "tide". */
const OURS = 1_953_064_037;
/** Writers share it for their transaction, a sleeping relay has it for itself (see wake.ts). */
export const WAKE_LOCK = `${OURS}, 1`;
/** The relay's lease. */
export const RELAY_LOCK = `${OURS}, 2`;
/** Of the lease holder's other sessions (see fence.ts). */
export const CONTROL_LOCK = { classid: OURS, objid: 3 };
export const CAPTURE_LOCK = { classid: OURS, objid: 4 };
export const WAKE_CHANNEL = "tidemark";

/** What of a log table the triggers write. */
const LOGGED = "(kind, row)";

/**
 * Static statements, so that each is planned once per session. The slot is a constant of their
 * plans until it moves (see ours.ts), so that a condition costs next to nothing.
 */
export function insertPerSlot(rows: string): string {
  const [zero, ...others] = LOG_TABLES;
  const branches = others.map(
    (slot, i) => `${i === 0 ? "IF" : "ELSIF"} ${isSlot(slot)} THEN\n${insertInto(slot, rows)}`,
  );
  return `${branches.join("\n")}\nELSE\n${insertInto(zero, rows)}\nEND IF;`;
}

export function insertInto(slot: number, rows: string): string {
  return `INSERT INTO ${logTable(slot)} ${LOGGED} ${rows};`;
}

export function isSlot(slot: number): string {
  return `${LOG_SLOT} OPERATOR(pg_catalog.=) ${slot}`;
}

/** The table whose trigger runs: of a partitioned one, the partition. */
const TRIGGERED = "TG_RELID";

/**
 * Logs rows of a query in which a table stands between each two of the texts. Planned anew each time, so that
 * it knows how large the table is, and by what name it goes: a function that named it would fail when it is
 * renamed, and the application's write with it. `using`: what the query has as $1, $2 and so on.
 */
export function insertByName(
  texts: readonly string[],
  {
    oid = TRIGGERED,
    using = [],
  }: { readonly oid?: string; readonly using?: readonly string[] } = {},
): string {
  const [zero, ...others] = LOG_TABLES;
  const slots = others.map((slot) => `WHEN ${isSlot(slot)} THEN '${logTable(slot)}'`).join(" ");
  const slot = `CASE ${slots} ELSE '${logTable(zero)}' END`;
  const pieces = texts.map(quoteLiteral).join(`, ${oid}::pg_catalog.regclass, `);
  const format = `pg_catalog.format('INSERT INTO %s ${LOGGED}${" %s".repeat(2 * texts.length - 1)}', ${slot}, ${pieces})`;
  return `EXECUTE ${format}${using.length === 0 ? "" : ` USING ${using.join(", ")}`};`;
}

export const SHARE_WAKE_LOCK = `pg_catalog.pg_try_advisory_xact_lock_shared(${WAKE_LOCK})`;

/** Of the server's queue of notifications: one that a stuck listener has filled fails each commit that notifies. */
export const NOTIFY_SHARE = 0.5;

/** Where nobody rings, the relay looks by itself after some seconds (see wake.ts). */
export const WAKE = `IF NOT ${SHARE_WAKE_LOCK}
AND pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) ${NOTIFY_SHARE}::pg_catalog.float8 THEN
PERFORM pg_catalog.pg_notify('${WAKE_CHANNEL}', '');
END IF;`;

/** A statement that touches no row wakes nobody. EXECUTE does not tell: whoever uses it wakes in any case. */
export const WAKE_IF_LOGGED = WAKE.replace("IF NOT", "IF FOUND AND NOT");
