import { SET_FOR_CONDITIONS } from "./settings.ts";

/**
 * What every session of ours has, whatever the role or the database is set to (ALTER ROLE … SET).
 * Output formats are part of the canonical text of values, and so is how it is read back; the
 * path is closed so that no one's function or operator is called in place of a built-in one. What
 * is asked in a transaction after a lock (pins.ts, ours.ts) must be answered as of that moment.
 * Sequential scans are off because the log's statistics are of the time before its last TRUNCATE;
 * bitmap scans, because they collect all that fits before the first row; parallel workers, because
 * starting them costs the server more than our statements do.
 */
export const SESSION_SETTINGS: readonly string[] = [
  "SET client_encoding TO 'UTF8'",
  "SET TimeZone TO 'UTC'",
  "SET DateStyle TO 'ISO, YMD'",
  "SET IntervalStyle TO 'iso_8601'",
  "SET bytea_output TO 'hex'",
  "SET extra_float_digits TO 1",
  // Among them: a document is content, too, and not the other way round; NULL in an array is no text of four letters.
  ...SET_FOR_CONDITIONS,
  "SET lc_monetary TO 'C'",
  "SET quote_all_identifiers TO off",
  "SET search_path TO pg_catalog",
  "SET row_security TO off",
  "SET default_transaction_isolation TO 'read committed'",
  "SET statement_timeout TO 0",
  "SET lock_timeout TO 0",
  "SET idle_in_transaction_session_timeout TO 0",
  // Of PostgreSQL 14 and 17 on.
  `SELECT set_config(name, '0', false) FROM unnest(ARRAY['idle_session_timeout', 'transaction_timeout']) AS name
   WHERE current_setting(name, true) IS NOT NULL`,
  // A machine that vanishes without a word still holds its lease: the server finds out in half a
  // minute instead of two hours. (No user timeout: a reader held back by a full queue is not gone.)
  "SET tcp_keepalives_idle TO 10",
  "SET tcp_keepalives_interval TO 5",
  "SET tcp_keepalives_count TO 4",
  "SET synchronous_commit TO on",
  "SET enable_seqscan TO off",
  "SET enable_bitmapscan TO off",
  "SET max_parallel_workers_per_gather TO 0",
  "SET jit TO off",
];
