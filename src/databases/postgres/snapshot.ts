import { LOG_TABLES, logTable } from "./ours.ts";

/** A pg_snapshot, taken apart: transactions below xmin are over, those from xmax on had not begun. */
export interface SnapshotParts {
  /** `xmin:xmax:xip,…` as PostgreSQL prints it: the definition of a batch. */
  readonly text: string;
  readonly xmax: string;
  /** In progress, as an array literal. */
  readonly inProgress: string;
}

export function parseSnapshot(text: string): SnapshotParts {
  const [, xmax, running] = text.split(":");
  return { text, xmax: xmax ?? "0", inProgress: `{${running ?? ""}}` };
}

const COLUMNS = "id, xid, at, layout, op, key, row, filters, origin";

/**
 * Log rows that a snapshot does not show, whatever table they stand in. Two index ranges: all
 * transactions from xmax on, and by name those that were in progress. There is no lower bound on
 * id: transactions above xmax may already have drawn their ids when the snapshot was taken.
 */
export function unseenRows(xmax: string, inProgress: string): string {
  return LOG_TABLES.map(
    (slot) =>
      `SELECT ${COLUMNS} FROM ${logTable(slot)} WHERE xid >= ${xmax} OR xid = ANY (${inProgress})`,
  ).join("\nUNION ALL\n");
}

export function unseenExists(xmax: string, inProgress: string): string {
  return LOG_TABLES.map(
    (slot) =>
      `EXISTS (SELECT FROM ${logTable(slot)} WHERE xid >= ${xmax} OR xid = ANY (${inProgress}))`,
  ).join(" OR ");
}

/**
 * The rows between two stored snapshots: visible in `to`, not in `from`. A pure function of the two
 * and of rows that never change. (Rows of a rolled back transaction are nowhere to be seen.)
 */
export function rowsBetween(from: SnapshotParts, to: SnapshotParts): string {
  const xid = (text: string) => `'${text}'::xid8`;
  return LOG_TABLES.map(
    (slot) => `SELECT ${COLUMNS} FROM ${logTable(slot)}
WHERE ((xid >= ${xid(from.xmax)} AND xid < ${xid(to.xmax)}) OR xid = ANY ('${from.inProgress}'::xid8[]))
  AND pg_visible_in_snapshot(xid, '${to.text}'::pg_snapshot)`,
  ).join("\nUNION ALL\n");
}
