import { FOR_CONDITIONS } from "./settings.ts";

/**
 * What every session of ours has, whatever the role or the database is set to (ALTER ROLE … SET).
 * Output formats are part of the canonical text of values, and so is how it is read back; the
 * path is closed so that no one's function or operator is called in place of a built-in one. What
 * is asked in a transaction after a lock (pins.ts, ours.ts) must be answered as of that moment.
 * Sequential scans are off because the log's statistics are of the time before its last TRUNCATE;
 * bitmap scans, because they collect all that fits before the first row; parallel workers, because
 * starting them costs the server more than our statements do.
 */
const SETTINGS: readonly (readonly [name: string, value: string])[] = [
  ["client_encoding", "UTF8"],
  ["TimeZone", "UTC"],
  ["DateStyle", "ISO, YMD"],
  ["IntervalStyle", "iso_8601"],
  ["bytea_output", "hex"],
  ["extra_float_digits", "1"],
  // Among them: a document is content, too, and not the other way round; NULL in an array is no text of four letters.
  ...FOR_CONDITIONS,
  ["lc_monetary", "C"],
  ["quote_all_identifiers", "off"],
  ["search_path", "pg_catalog"],
  ["row_security", "off"],
  ["default_transaction_isolation", "read committed"],
  ["statement_timeout", "0"],
  ["lock_timeout", "0"],
  ["idle_in_transaction_session_timeout", "0"],
  // A machine that vanishes without a word still holds its lease: the server finds out in half a
  // minute instead of two hours. (No user timeout: a reader held back by a full queue is not gone.)
  ["tcp_keepalives_idle", "10"],
  ["tcp_keepalives_interval", "5"],
  ["tcp_keepalives_count", "4"],
  ["synchronous_commit", "on"],
  ["enable_seqscan", "off"],
  ["enable_bitmapscan", "off"],
  ["max_parallel_workers_per_gather", "0"],
  ["jit", "off"],
];
/** Set where the server knows them: PostgreSQL 14 and 17 on. */
const LATER: readonly (readonly [name: string, value: string])[] = [
  ["idle_session_timeout", "0"],
  ["transaction_timeout", "0"],
];

/**
 * One statement, which tells the server's process and version, and sets all of this. With `only` it sets nothing where
 * that is not the number of the process: a server's session that a pooler hands on is the application's.
 * Nothing in it is looked up by the path, which may still be anyone's.
 */
export function configuring(only: number | null): string {
  const rows = (settings: typeof SETTINGS, isLater: boolean) =>
    settings.map(([name, value]) => `('${name}', '${value}', ${isLater})`);
  const isOurs =
    only === null ? "true" : `pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) (${only})`;
  return `SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version_num'), (
  SELECT pg_catalog.count(pg_catalog.set_config(s.name, s.value, false))
  FROM (VALUES ${[...rows(SETTINGS, false), ...rows(LATER, true)].join(", ")}) AS s(name, value, is_later)
  WHERE ${isOurs} AND (NOT s.is_later OR pg_catalog.current_setting(s.name, true) IS NOT NULL))`;
}
