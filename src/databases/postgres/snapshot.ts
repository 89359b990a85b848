import { LOG_COLUMNS, LOG_TABLES, logTable } from "./ours.ts";

/** A pg_snapshot, taken apart: transactions below xmin are over, those from xmax on had not begun. */
export interface SnapshotParts {
  /** `xmin:xmax:xip,…` as PostgreSQL prints it: the definition of a batch. */
  readonly text: string;
  readonly xmax: string;
  /** The number before xmax: every transaction above it had not begun. */
  readonly newest: string;
  /** In progress, as an array literal. */
  readonly inProgress: string;
}

export function parseSnapshot(text: string): SnapshotParts {
  const [, xmax = "0", running] = text.split(":");
  return { text, xmax, newest: String(BigInt(xmax) - 1n), inProgress: `{${running ?? ""}}` };
}

/** How many transactions in progress had not begun in an earlier snapshot: each overtaken by one that ended. */
export function countOvertaken(now: SnapshotParts, before: SnapshotParts): number {
  const [, , running = ""] = now.text.split(":");
  const first = BigInt(before.xmax);
  return running.split(",").filter((xid) => xid !== "" && BigInt(xid) >= first).length;
}

/**
 * Which transactions can be seen now and could not in an earlier snapshot: `gaps`, the open ranges
 * between those still running, from that snapshot's newest up to now; and `late`, those it had
 * in progress that have ended. Common table expressions, for the two below.
 *
 * Every range is an index condition of its own, which no plan can turn into a scan of the whole
 * index (an OR of the two can, and was: each look then cost as much as the log was long). Running
 * transactions are left out by number, so that one that has written a million rows is not walked
 * through, row by invisible row, each time another commits. There is no lower bound on id:
 * transactions above xmax may already have drawn their ids when the snapshot was taken.
 */
export function unseenTransactions(newest: string, inProgress: string): string {
  return `running AS MATERIALIZED (
  SELECT pg_snapshot_xip(pg_current_snapshot()) AS xid
), gaps AS MATERIALIZED (
  SELECT xid AS after, lead(xid, 1, pg_snapshot_xmax(pg_current_snapshot())) OVER (ORDER BY xid) AS before
  FROM (SELECT ${newest} AS xid UNION ALL SELECT xid FROM running WHERE xid > ${newest}) ends
), late AS MATERIALIZED (
  SELECT xid FROM unnest(${inProgress}) AS xid WHERE xid <> ALL (ARRAY(SELECT xid FROM running))
)`;
}

/** Their log rows, whatever table they stand in: any `limit` of them, not in order. */
export function unseenRows(limit: number): string {
  return `SELECT * FROM (
  SELECT rows.* FROM gaps CROSS JOIN LATERAL (
    ${inEachTable(LOG_COLUMNS, "xid > gaps.after AND xid < gaps.before")} LIMIT ${limit}
  ) rows
  UNION ALL
  ${inEachTable(LOG_COLUMNS, "xid = ANY (ARRAY(SELECT xid FROM late))")}
) unseen LIMIT ${limit}`;
}

function inEachTable(columns: string, condition: string): string {
  return LOG_TABLES.map(
    (slot) => `SELECT ${columns} FROM ${logTable(slot)} WHERE ${condition}`,
  ).join("\n    UNION ALL ");
}

/**
 * The rows between two stored snapshots: visible in `to`, not in `from`. A pure function of the two
 * and of rows that never change. (Rows of a rolled back transaction are nowhere to be seen.)
 */
export function rowsBetween(from: SnapshotParts, to: SnapshotParts): string {
  const visible = `pg_visible_in_snapshot(xid, '${to.text}'::pg_snapshot)`;
  return [
    `xid >= '${from.xmax}'::xid8 AND xid < '${to.xmax}'::xid8 AND ${visible}`,
    `xid = ANY ('${from.inProgress}'::xid8[]) AND ${visible}`,
  ]
    .map((condition) => inEachTable(LOG_COLUMNS, condition))
    .join("\nUNION ALL\n");
}

/** Does the table hold no row but of transactions that the snapshot shows? */
export function allSeen(table: string, xmax: string, inProgress: string): string {
  return `NOT EXISTS (SELECT FROM ${table} WHERE xid >= ${xmax})
  AND NOT EXISTS (SELECT FROM ${table} WHERE xid = ANY (${inProgress}))`;
}
