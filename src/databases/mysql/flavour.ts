import { TidemarkError } from "../../core/errors.ts";

/**
 * Everything that differs between MariaDB and MySQL, in one place: the rest of the folder asks for
 * a fact and never for a name. Tested on MariaDB 10.11 and 11.8, MySQL 8.0.31 and 9.7.
 */
export interface Flavour {
  readonly product: "MariaDB" | "MySQL";
  readonly version: string;
  /** utf8mb4 collation that tells `a`, `A` and `a ` apart: compares bytes, pads nothing. */
  readonly exactCollation: string;
  /** Collations under which a text key keeps every text apart. */
  readonly exactCollations: ReadonlySet<string>;
  /** Is there a UUID column type? */
  readonly uuidType: boolean;
  /** Are there INET4 and INET6 column types? */
  readonly inetTypes: boolean;
  /** Does a JSON column keep the text it was given (an alias of LONGTEXT), or a normalised form? */
  readonly jsonKeepsText: boolean;
  /** Has a DOUBLE a zero below zero? MariaDB stores 0 for it, by whatever literal or parameter it comes. */
  readonly negativeZero: boolean;
  /** Largest scale of DECIMAL. */
  readonly maxDecimalScale: number;
  /** Columns that an index may have. */
  readonly maxKeyColumns: number;
  /** Texts that can have no more than 255 bytes stay in the row, however large it gets: of those a table can have few. */
  readonly keepsShortTexts: boolean;
  /** Which roles of its account a trigger has the rights of, whatever a session of that account has. */
  readonly triggerRoles: "NONE" | "DEFAULT";
  /** CREATE OR REPLACE TRIGGER: no moment without a trigger. Else a stand-in takes over, under a table lock. */
  readonly replacesTriggers: boolean;
  /** ALTER IGNORE TABLE: a unique key that is added so takes away rows, and no trigger sees that. */
  readonly altersIgnoring: boolean;
  /** Do the triggers of a row run though UPDATE IGNORE has passed it over, or nothing of it was changed but in NEW? */
  readonly runsForPassedOver: boolean;
  /**
   * May a trigger name information_schema for what it seldom looks up? MySQL opens what a trigger might read before each
   * statement that fires it: an UPDATE of one row took a third longer.
   */
  readonly looksUpNames: boolean;
  /**
   * Does a cursor of a trigger know OLD and NEW at any time? MariaDB parses it anew once a table that it reads was altered,
   * and by then knows neither: the write fails with error 1363, and the next one ends the server (11.8.9; not 10.11).
   */
  readonly cursorsKnowRow: boolean;
  /**
   * Of how many bytes a text may be that JSON_ARRAY takes; null where any may. MariaDB counts the room for one in 31 bits, 48
   * times its bytes, and gives NULL for the array (10.11; from 44.7 MB on).
   */
  readonly longestInJson: number | null;
  /** Can a table keep its rows' versions, and then be read as it was? */
  readonly systemVersioning: boolean;
  /** Does `SET insert_id = 0` mean that none is chosen? MySQL takes 0 for the next id. */
  readonly takesBackIds: boolean;
  /**
   * The fewest seconds that a statement can be told to wait for a table that is in use. With 0 it fails at once, and so can be
   * part of no deadlock.
   */
  readonly leastTableWait: 0 | 1;
  /** A variable that tells whether the engine carries out foreign keys; null where nothing else ever does. */
  readonly engineKeys: string | null;
  /** Does a snapshot that shows a transaction show those it waited for, also without the binary log? */
  readonly closedSnapshots: boolean;
  /** Can a block of statements run without a stored procedure, so that waiting costs no round trips? */
  readonly anonymousBlocks: boolean;
  /** Session settings on top of the common ones. */
  readonly settings: readonly string[];
  /** An expression that tells this server from any other, stable over restarts and moves of the host name. */
  readonly identity: string;
  /** An expression for the second in which the server was started: both times are those of the statement's begin. */
  readonly startedAt: string;
  /** Column of information_schema.check_constraints that names the table; null where there is none. */
  readonly checksNameTable: boolean;
  /** View of information_schema that lists the engine's tables with their numbers. */
  readonly tableIds: string;
  /** An expression in it for the number of the table's file; 0 of one that has none of its own. */
  readonly tableFile: string;
  /** The variable of a session that holds its isolation. */
  readonly isolation: string;
  /** And the one that tells whether its transactions may write. */
  readonly readOnly: string;
  /** Statement that tells whether the server replicates from another. */
  readonly replicaStatus: string;
  /** The right to run it. */
  readonly replicaRight: string;
}

export function flavourOf(versionText: string): Flavour {
  // Old clients were told "5.5.5-" first, so that they would accept a version of two digits.
  const text = versionText.replace(/^5\.5\.5-/, "");
  const mariadb = /mariadb/i.test(text);
  const [major = 0, minor = 0, patch = 0] = (/^(\d+)\.(\d+)\.(\d+)/.exec(text)?.slice(1) ?? []).map(
    Number,
  );
  const number = major * 10_000 + minor * 100 + patch;
  const version = `${major}.${minor}.${patch}`;
  if (mariadb) {
    if (number < 10_06_00) throw tooOld("MariaDB", version, "10.6");
    return mariadbFlavour(version, number);
  }
  if (number < 8_00_17) throw tooOld("MySQL", version, "8.0.17");
  return mysqlFlavour(version, number);
}

function mariadbFlavour(version: string, number: number): Flavour {
  return {
    product: "MariaDB",
    version,
    exactCollation: "utf8mb4_nopad_bin",
    exactCollations: new Set([
      "utf8mb4_nopad_bin",
      "utf8mb3_nopad_bin",
      "latin1_nopad_bin",
      "ascii_nopad_bin",
    ]),
    uuidType: number >= 10_07_00,
    inetTypes: true,
    jsonKeepsText: true,
    negativeZero: false,
    maxDecimalScale: 38,
    maxKeyColumns: 32,
    keepsShortTexts: true,
    triggerRoles: "NONE",
    replacesTriggers: true,
    altersIgnoring: true,
    runsForPassedOver: true,
    looksUpNames: true,
    cursorsKnowRow: false,
    longestInJson: 44_000_000,
    systemVersioning: true,
    takesBackIds: true,
    leastTableWait: 0,
    engineKeys: null,
    closedSnapshots: false,
    anonymousBlocks: true,
    settings: [
      // A long IN list must stay a range of the key and not become a temporary table.
      "in_predicate_conversion_threshold = 0",
      "max_statement_time = 0",
      // Ours wait for the queue, or for rows that come slowly.
      "idle_transaction_timeout = 0",
      "idle_readonly_transaction_timeout = 0",
      "idle_write_transaction_timeout = 0",
      // With it a table that is to be made, or dropped, is passed over or asked for once more.
      "sql_if_exists = 0",
      // Else tables with system versioning are read as they were then.
      "system_versioning_asof = DEFAULT",
    ],
    identity: "CONCAT_WS('/', @@server_id, @@port, @@datadir)",
    startedAt: startedAt("information_schema.GLOBAL_STATUS"),
    checksNameTable: true,
    tableIds: "INNODB_SYS_TABLES",
    tableFile: "SPACE",
    isolation: "tx_isolation",
    readOnly: "tx_read_only",
    replicaStatus: "SHOW ALL SLAVES STATUS",
    replicaRight: "REPLICA MONITOR",
  };
}

function mysqlFlavour(version: string, number: number): Flavour {
  return {
    product: "MySQL",
    version,
    exactCollation: "utf8mb4_0900_bin",
    exactCollations: new Set(["utf8mb4_0900_bin"]),
    uuidType: false,
    inetTypes: false,
    jsonKeepsText: false,
    negativeZero: true,
    maxDecimalScale: 30,
    maxKeyColumns: 16,
    keepsShortTexts: false,
    triggerRoles: "DEFAULT",
    replacesTriggers: false,
    altersIgnoring: false,
    runsForPassedOver: false,
    looksUpNames: false,
    cursorsKnowRow: true,
    longestInJson: null,
    systemVersioning: false,
    takesBackIds: false,
    leastTableWait: 1,
    engineKeys: number >= 9_06_00 ? "innodb_native_foreign_keys" : null,
    closedSnapshots: true,
    anonymousBlocks: false,
    settings: [
      // Otherwise table sizes and the next AUTO_INCREMENT are up to a day old.
      "information_schema_stats_expiry = 0",
      "max_execution_time = 0",
    ],
    identity: "@@server_uuid",
    startedAt: startedAt("performance_schema.global_status"),
    checksNameTable: false,
    tableIds: "INNODB_TABLES",
    tableFile: "IF(SPACE_TYPE = 'Single', SPACE, 0)",
    isolation: "transaction_isolation",
    readOnly: "transaction_read_only",
    replicaStatus: number < 8_00_22 ? "SHOW SLAVE STATUS" : "SHOW REPLICA STATUS",
    replicaRight: "REPLICATION CLIENT",
  };
}

function startedAt(status: string): string {
  return `UNIX_TIMESTAMP() - (SELECT VARIABLE_VALUE FROM ${status} WHERE VARIABLE_NAME = 'Uptime')`;
}

function tooOld(product: string, version: string, oldest: string): TidemarkError {
  return new TidemarkError(
    "TM-SERVER-UNSUPPORTED",
    `${product} ${version} is too old: ${oldest} or later is needed.`,
    { fix: `upgrade the server to ${product} ${oldest} or later` },
  );
}
