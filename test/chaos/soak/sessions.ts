// What sessions of the source are set to. The log must say the same whatever a session is like.
import type { Random } from "../../support/random.ts";
import type { Dialect } from "../../support/sql-client.ts";

/** As the values of the matrix are meant. */
export const SESSION: Readonly<Record<Dialect, readonly string[]>> = {
  postgres: [],
  mariadb: ["SET sql_mode = ''", "SET time_zone = '+05:30'"],
  sqlite: [],
};

/** Beside it: what a program may have set for reasons of its own. */
const FOREIGN: Readonly<Record<Dialect, readonly (readonly string[])[]>> = {
  postgres: [
    ["SET TimeZone = 'Asia/Kathmandu'", "SET DateStyle = 'SQL, DMY'"],
    ["SET IntervalStyle = 'sql_standard'", "SET extra_float_digits = -5"],
    ["SET bytea_output = 'escape'", "SET DateStyle = 'German'"],
    ["SET search_path = pg_temp, public", "SET TimeZone = 'Europe/Dublin'"],
    [
      "SET default_transaction_isolation = 'repeatable read'",
      "SET plan_cache_mode = force_generic_plan",
    ],
    ["SET default_transaction_isolation = 'serializable'", "SET quote_all_identifiers = on"],
  ],
  mariadb: [
    ["SET sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'"],
    ["SET sql_mode = 'NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'"],
    ["SET character_set_results = latin1", "SET collation_connection = utf8mb4_bin"],
    ["SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET div_precision_increment = 0"],
    ["SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET group_concat_max_len = 4"],
  ],
  sqlite: [["PRAGMA recursive_triggers = ON"], ["PRAGMA case_sensitive_like = ON"]],
};

export function foreignSession(random: Random, dialect: Dialect): readonly string[] {
  return random.pick([[], ...FOREIGN[dialect]]);
}
