import type { ErrorCode, ErrorOptions } from "../../core/errors.ts";
import { TidemarkError } from "../../core/errors.ts";
import { tlsFix, tlsReason } from "../../core/tls-fix.ts";
import { quoteName, wholeDatabase } from "./identifiers.ts";

/** What stands around a failed statement, for the message: never its values. */
export interface Context {
  /** `orders`, when the statement writes one table. */
  readonly table?: string;
  /** The statement makes that table. */
  readonly makes?: boolean;
  readonly database?: string;
  /** The account that the server knows us as, ready for a GRANT. */
  readonly account?: string;
  /** What the statement needs on the whole database, where it is known. */
  readonly right?: string;
}

interface Rule {
  readonly code: ErrorCode;
  readonly text: string;
  readonly fix?: string;
}

const UNKEYED: Rule = {
  code: "TM-TABLE-NO-KEY",
  text: "The server makes no table without a primary key (sql_require_primary_key, innodb_force_primary_key).",
  fix: "make the table at the target yourself, as tidemark plan prints it, with a key of its own: own BIGINT AUTO_INCREMENT PRIMARY KEY; or give the source's table a primary key",
};

/** Of a table that is to be made: no row is meant, but the most that its columns may need of one. */
const TOO_WIDE: Rule = {
  code: "TM-COLUMN-UNFIT",
  text: "The server makes no table whose columns may need more of a row than half a page of InnoDB has (8,126 bytes by default), and each of the table's needs some, long texts included.",
  fix: "leave columns out with `except`; or make the table at the target yourself, as tidemark plan prints it, with shorter types, or behind SET SESSION innodb_strict_mode = OFF, with which only rows that are too large in fact are refused",
};

/** A table that is made may be given another engine by a session without NO_ENGINE_SUBSTITUTION, which ours have. */
const ANOTHER_ENGINE: Rule = {
  code: "TM-SERVER-UNSUPPORTED",
  text: "The server makes tables with another engine than InnoDB (enforce_storage_engine), which ours need.",
  fix: "SET GLOBAL enforce_storage_engine = NULL, then tidemark run",
};

/** Rows are staged in one. */
export const NO_TEMPORARY_TABLE: Rule = {
  code: "TM-SERVER-UNSUPPORTED",
  text: "The server makes no temporary table within a transaction (enforce_gtid_consistency with binlog_format = STATEMENT), which tables need that have a unique key beside their own, or none.",
  fix: "SET GLOBAL binlog_format = 'ROW', then tidemark run",
};

/**
 * Server error numbers (the same in MariaDB and MySQL unless noted). The server's own message is
 * never passed on: it quotes row values ("Duplicate entry 'x'") and statements.
 */
const BY_NUMBER: Readonly<Record<number, Rule>> = {
  // reaching the server
  1040: rule("TM-CONNECTION-LOST", "The server has no connection left.", "raise max_connections"),
  3032: rule("TM-CONNECTION-LOST", "The server is in offline mode.", "SET GLOBAL offline_mode = 0"),
  1053: rule("TM-CONNECTION-LOST", "The server is shutting down."),
  1129: rule(
    "TM-CONNECT-FAILED",
    "The server blocks this host after failed connections.",
    "FLUSH HOSTS",
  ),
  1184: rule(
    "TM-CONNECT-FAILED",
    "The server ends connections of this account: its init_connect fails for it.",
    "correct init_connect, as the server's error log says; the account needs the rights for what it does",
  ),
  3159: rule(
    "TM-CONNECT-FAILED",
    "The server takes only encrypted connections (require_secure_transport).",
    "add ?ssl-mode=REQUIRED to the URL, or ?ssl-mode=VERIFY_CA&ssl-ca=/path/ca.pem",
  ),
  1152: rule("TM-CONNECTION-LOST", "The connection was aborted by the server."),
  1158: rule("TM-CONNECTION-LOST", "The connection broke while the server read from it."),
  1159: rule("TM-CONNECTION-LOST", "The server waited too long for data on the connection."),
  1160: rule("TM-CONNECTION-LOST", "The connection broke while the server wrote to it."),
  1161: rule("TM-CONNECTION-LOST", "The server waited too long to write to the connection."),
  1203: rule(
    "TM-CONNECTION-LOST",
    "The account has no connection left.",
    "raise max_user_connections",
  ),
  1226: rule("TM-CONNECTION-LOST", "The account has used up a resource limit of its own."),
  1317: rule("TM-CONNECTION-LOST", "The query was interrupted by the server's administrator."),
  1927: rule("TM-CONNECTION-LOST", "The connection was killed by the server's administrator."),
  1969: rule("TM-APPLY-RETRY", "The statement ran longer than max_statement_time allows."),
  3024: rule("TM-APPLY-RETRY", "The statement ran longer than max_execution_time allows."),
  3169: rule("TM-CONNECTION-LOST", "The connection was killed by the server's administrator."),
  4031: rule("TM-CONNECTION-LOST", "The server closed the idle connection."),
  1045: rule(
    "TM-AUTH-FAILED",
    "The server refused the user name or the password.",
    // One error for all of them: which it was the server does not tell.
    "check both; where the server or the account takes encrypted connections only (MariaDB's require_secure_transport, REQUIRE SSL), add ?ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE; where the account needs a certificate (REQUIRE X509), &ssl-cert=FILE&ssl-key=FILE",
  ),
  1049: rule(
    "TM-CONNECT-FAILED",
    "The database named in the URL does not exist.",
    "create it (CREATE DATABASE), or correct the name at the end of the URL",
  ),
  1251: rule("TM-AUTH-FAILED", "The server asks for an authentication method the driver lacks."),
  1698: rule("TM-AUTH-FAILED", "The server lets this user in only through the local socket."),
  3118: rule("TM-AUTH-FAILED", "The account is locked.", "ALTER USER … ACCOUNT UNLOCK"),
  4151: rule("TM-AUTH-FAILED", "The account is locked.", "ALTER USER … ACCOUNT UNLOCK"),
  1820: rule(
    "TM-AUTH-FAILED",
    "The account's password has expired.",
    "ALTER USER … IDENTIFIED BY …",
  ),
  1862: rule(
    "TM-AUTH-FAILED",
    "The account's password has expired.",
    "ALTER USER … IDENTIFIED BY …",
  ),
  // rights
  1044: rule("TM-GRANT-MISSING", "The user has no right on the database."),
  1142: rule("TM-GRANT-MISSING", "The user lacks a right on the table."),
  1143: rule("TM-GRANT-MISSING", "The user lacks a right on a column of the table."),
  1227: rule("TM-GRANT-MISSING", "The user lacks a global right for this statement."),
  1370: rule("TM-GRANT-MISSING", "The user may not run a routine that the statement uses."),
  1419: rule(
    "TM-GRANT-MISSING",
    "With the binary log on, the server lets only a privileged user create or drop triggers.",
    "SET GLOBAL log_bin_trust_function_creators = 1",
  ),
  // tables and columns
  1054: rule("TM-COLUMN-MISSING", "A column that the statement names does not exist."),
  1146: rule("TM-TABLE-MISSING", "The table does not exist."),
  1932: rule("TM-TABLE-MISSING", "The storage engine does not find the table."),
  1173: UNKEYED,
  3750: UNKEYED,
  // retry the whole transaction
  1020: rule("TM-APPLY-RETRY", "A row was changed since the transaction read it."),
  1205: rule("TM-APPLY-RETRY", "A lock was not granted in time."),
  1213: rule("TM-APPLY-RETRY", "The server broke a deadlock by undoing this transaction."),
  1412: rule("TM-APPLY-RETRY", "A table was altered since the transaction began."),
  1180: rule("TM-APPLY-RETRY", "The commit failed and was undone."),
  3101: rule("TM-APPLY-RETRY", "The cluster refused the commit."),
  // constraints
  1048: rule("TM-APPLY-CONSTRAINT", "A column may not be null."),
  1062: rule("TM-APPLY-CONSTRAINT", "A row with the same unique key exists."),
  1169: rule("TM-APPLY-CONSTRAINT", "A row with the same unique key exists."),
  1216: rule("TM-APPLY-CONSTRAINT", "A foreign key's parent row is missing."),
  1217: rule("TM-APPLY-CONSTRAINT", "A foreign key's child row still refers to the row."),
  1364: rule("TM-APPLY-CONSTRAINT", "A column of the table has no default and is not written."),
  1451: rule("TM-APPLY-CONSTRAINT", "A foreign key's child row still refers to the row."),
  1452: rule("TM-APPLY-CONSTRAINT", "A foreign key's parent row is missing."),
  1557: rule("TM-APPLY-CONSTRAINT", "A foreign key would make a duplicate key in a child table."),
  1586: rule("TM-APPLY-CONSTRAINT", "A row with the same unique key exists."),
  1644: rule("TM-APPLY-CONSTRAINT", "A trigger of the table refused the row (SIGNAL)."),
  1761: rule("TM-APPLY-CONSTRAINT", "A foreign key would make a duplicate key in a child table."),
  1762: rule("TM-APPLY-CONSTRAINT", "A foreign key would make a duplicate key in a child table."),
  3819: rule("TM-APPLY-CONSTRAINT", "A check constraint refused the row."),
  4025: rule("TM-APPLY-CONSTRAINT", "A check constraint refused the row."),
  // values that do not fit
  1118: rule("TM-VALUE-REFUSED", "A row is larger than the table can hold."),
  1153: rule(
    "TM-VALUE-REFUSED",
    "A row is larger than a packet may be.",
    "SET GLOBAL max_allowed_packet = 1073741824",
  ),
  1264: rule("TM-VALUE-REFUSED", "A number is out of the column's range."),
  1265: rule("TM-VALUE-REFUSED", "A value would be truncated."),
  1292: rule("TM-VALUE-REFUSED", "A value is not one the column's type can hold."),
  1300: rule("TM-VALUE-REFUSED", "A text is not valid in its character set."),
  1301: rule(
    "TM-VALUE-REFUSED",
    "A value is larger than a packet may be.",
    "SET GLOBAL max_allowed_packet = 1073741824",
  ),
  1366: rule("TM-VALUE-REFUSED", "A value is not one the column's type can hold."),
  1367: rule("TM-VALUE-REFUSED", "A number is not one the column's type can hold."),
  1406: rule("TM-VALUE-REFUSED", "A value is longer than the column."),
  1411: rule("TM-VALUE-REFUSED", "A date or time is not one the column's type can hold."),
  1416: rule("TM-VALUE-REFUSED", "A value is not a geometry."),
  1525: rule("TM-VALUE-REFUSED", "A value is not one the column's type can hold."),
  1690: rule("TM-VALUE-REFUSED", "A number is out of range."),
  3140: rule("TM-VALUE-REFUSED", "A text is not one the server takes as JSON."),
  3156: rule("TM-VALUE-REFUSED", "A text is not one the server takes as JSON."),
  3903: rule("TM-VALUE-REFUSED", "A value is not one the column's type can hold."),
  // the server's own state
  1021: rule("TM-DISK-FULL", "The server's disk is full."),
  1114: rule("TM-DISK-FULL", "The table is full: most often the disk is."),
  3019: rule("TM-DISK-FULL", "The undo log is full."),
  1290: rule("TM-READ-ONLY", "The server takes no writes (read_only).", "SET GLOBAL read_only = 0"),
  1792: rule("TM-READ-ONLY", "The transaction is read only."),
  1836: rule("TM-READ-ONLY", "The server takes no writes (read only mode)."),
  1874: rule("TM-READ-ONLY", "InnoDB is in read-only mode."),
  // settings
  1038: rule(
    "TM-SERVER-UNSUPPORTED",
    "The server has too little memory for a sort (sort_buffer_size).",
    "SET GLOBAL sort_buffer_size = DEFAULT, then tidemark run",
  ),
  1787: NO_TEMPORARY_TABLE,
  3748: NO_TEMPORARY_TABLE,
};

function rule(code: ErrorCode, text: string, fix?: string): Rule {
  return fix === undefined ? { code, text } : { code, text, fix };
}

/** Codes of the driver and of Node's sockets, before or after the handshake. */
const CONNECTION_CODES = new Set([
  ...["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH"],
  ...["ENETUNREACH", "ENOENT", "EACCES", "ECONNABORTED", "PROTOCOL_CONNECTION_LOST"],
  ...[
    "PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR",
    "PROTOCOL_SEQUENCE_TIMEOUT",
    "PROTOCOL_PACKETS_OUT_OF_ORDER",
  ],
]);

/** Creating, writing, the engine, a commit: their message holds a file's name and what the system said. */
const OF_THE_SYSTEM: ReadonlySet<number> = new Set([1, 2, 3, 20, 1004, 1005, 1026, 1030, 1180]);
const NO_SPACE = /\b(?:Errcode|errno|error):? 28\b/;

/** Error 1290 is told of any option that forbids a statement, read_only being but one. */
const BY_OPTION = /^The \S+ server is running with the (\S+) option so it cannot/;

function ruleOf({ errno, message }: DriverError): Rule | undefined {
  if (errno === undefined) return undefined;
  const option = errno === 1290 ? BY_OPTION.exec(message)?.[1] : undefined;
  if (option === "NO_ENGINE_SUBSTITUTION") return ANOTHER_ENGINE;
  if (option !== undefined && !/read[-_]only/i.test(option)) {
    return rule("TM-SERVER-UNSUPPORTED", `The server's option ${option} forbids a statement.`);
  }
  const isFull = OF_THE_SYSTEM.has(errno) && NO_SPACE.test(message);
  return BY_NUMBER[isFull ? 1021 : errno];
}

interface DriverError {
  readonly errno?: number | undefined;
  readonly code?: string | undefined;
  readonly sqlState?: string | undefined;
  readonly fatal?: boolean | undefined;
  readonly message: string;
}

/**
 * The driver's error as ours. The driver's is not kept as the cause: it carries the statement with
 * its values and a message that quotes them.
 */
export function classify(error: unknown, context: Context = {}): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const raw = asDriverError(error);
  const known = raw.errno === 1118 && context.makes === true ? TOO_WIDE : ruleOf(raw);
  if (known !== undefined) return build(known, raw, context);
  if (isConnectionError(raw)) {
    return build(rule("TM-CONNECTION-LOST", "The connection to the server is gone."), raw, context);
  }
  // What is left is a statement of ours that the server does not take. Its text is safe to show
  // only when it holds no literal, so the number and state must do.
  return build(rule("TM-INTERNAL", "The server refused a statement."), raw, context);
}

/** As {@link classify}, for the attempt to connect. */
export function classifyConnect(error: unknown, server: string): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const raw = asDriverError(error);
  const known = ruleOf(raw);
  const where = `${server}: `;
  if (known !== undefined) {
    const code = known.code === "TM-CONNECTION-LOST" ? "TM-CONNECT-FAILED" : known.code;
    return build({ ...known, code, text: where + known.text }, raw, {});
  }
  if (/SSL|TLS|CERT/i.test(raw.code ?? "")) {
    // Of Node or OpenSSL, about certificates: it holds nothing of ours.
    const reason = tlsReason(raw.message);
    const text = `${where}the encrypted connection could not be made: ${reason} (${raw.code}).`;
    const fix = raw.code === "HANDSHAKE_NO_SSL_SUPPORT" ? NO_TLS_FIX : tlsFix(reason, TLS_WORDS);
    return build(rule("TM-CONNECT-FAILED", text, fix ?? TLS_FIX), raw, {});
  }
  const text = `${where}the server cannot be reached (${raw.code ?? "no reason given"}).`;
  return build(rule("TM-CONNECT-FAILED", text, REACH_FIX), raw, {});
}

const REACH_FIX = "Is the server running, and are the host and port of the URL right?";

const TLS_WORDS = {
  authority: "?ssl-ca=FILE",
  own: "&ssl-cert=FILE&ssl-key=FILE",
  unchecked: "?ssl-mode=REQUIRED",
  nameless: "?ssl-mode=VERIFY_CA&ssl-ca=FILE",
} as const;

const NO_TLS_FIX =
  "Give the server a certificate (ssl_cert, ssl_key); or, on a network that you trust, add ?ssl-mode=DISABLED.";

const TLS_FIX =
  "name the server's certificate authority with ?ssl-ca=/path/ca.pem, or give up the check with ?ssl-mode=REQUIRED, or encryption with ?ssl-mode=DISABLED";

function build(known: Rule, raw: DriverError, context: Context): TidemarkError {
  const names = namesIn(raw.message);
  const denied = deniedIn(raw.message);
  // Which need not be the one at hand: a trigger of the application's may write another.
  const table = denied?.table ?? context.table ?? names.table;
  const column = denied?.column ?? names.column;
  const place = [
    denied === null ? "" : ` Right ${denied.right}.`,
    table === undefined ? "" : ` Table ${table}.`,
    column === undefined ? "" : ` Column ${column}.`,
    names.constraint === undefined ? "" : ` Constraint ${names.constraint}.`,
  ].join("");
  const number = raw.errno !== undefined && raw.errno > 0 ? ` (server error ${raw.errno})` : "";
  const details = {
    ...(table === undefined ? {} : { table }),
    ...(column === undefined ? {} : { column }),
    ...(names.constraint === undefined ? {} : { constraint: names.constraint }),
    ...(raw.errno === undefined ? {} : { errno: raw.errno }),
    ...(raw.sqlState === undefined ? {} : { sqlState: raw.sqlState }),
    ...(raw.code === undefined ? {} : { code: raw.code }),
  };
  const fix = known.fix ?? grantIn(raw.message, context);
  const options: ErrorOptions = fix === undefined ? { details } : { details, fix };
  return new TidemarkError(known.code, `${known.text}${place}${number}`, options);
}

/**
 * Only *names* are taken from the server's text, each from a place where the grammar of the message
 * puts a name: the rest may be row values.
 */
function namesIn(message: string): { table?: string; column?: string; constraint?: string } {
  const table = /^Table '(?:[^'.]+\.)?([^'.]+)' doesn't exist$/.exec(message)?.[1];
  const column =
    /for column (?:`[^`]*`\.`[^`]*`\.)?[`']([^`']+)[`'] at row \d+$/.exec(message)?.[1] ??
    /in value for column '(?:[^'.]+\.)*([^'.]+)'\.?$/.exec(message)?.[1] ??
    /^Column '([^']+)' cannot be null$/.exec(message)?.[1] ??
    /^Field '([^']+)' doesn't have a default value$/.exec(message)?.[1];
  const constraint =
    // MySQL puts the table before the key's name, MariaDB does not.
    /for key '(?:[^'.]+\.)?([^']+)'$/.exec(message)?.[1] ??
    /CONSTRAINT `([^`]+)` FOREIGN KEY/.exec(message)?.[1] ??
    /^CONSTRAINT `([^`]+)` failed/.exec(message)?.[1] ??
    /^Check constraint '([^']+)' is violated/.exec(message)?.[1];
  return {
    ...(table === undefined ? {} : { table }),
    ...(column === undefined ? {} : { column }),
    ...(constraint === undefined ? {} : { constraint }),
  };
}

/**
 * What an administrator would grant, where the server says what it refused. The host in its message
 * is the one we come from: the account may be another, so the session's own word goes first.
 */
function grantIn(message: string, context: Context): string | undefined {
  const denied = deniedIn(message);
  if (denied !== null) {
    const { right, user, place } = denied;
    return `GRANT ${right} ON ${tableIn(place, context)} TO ${context.account ?? user};`;
  }
  const refused = /^Access denied for user ('[^']*'@'[^']*') to database '([^']*)'$/.exec(message);
  if (refused === null) return undefined;
  const [, user, database = ""] = refused;
  return `GRANT ${context.right ?? ALL_WE_NEED} ON ${wholeDatabase(database)} TO ${context.account ?? user};`;
}

interface Denied {
  readonly right: string;
  readonly user: string;
  readonly column: string | undefined;
  /** As the server writes it. */
  readonly place: string;
  readonly table: string;
}

/** A right that the user lacks on a table, or on a column of one. */
function deniedIn(message: string): Denied | null {
  const found =
    /^([A-Z, ]+) command denied to user ('[^']*'@'[^']*') for (?:column '([^']*)' in )?table (.+)$/.exec(
      message,
    );
  if (found === null) return null;
  const [, right = "", user = "", column, place = ""] = found;
  const table =
    /^'(.+)'$/.exec(place)?.[1] ??
    /^(?:`(?:[^`]|``)*`\.)?`((?:[^`]|``)+)`$/.exec(place)?.[1]?.replaceAll("``", "`") ??
    place;
  return { right, user, column, place, table };
}

const ALL_WE_NEED = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, TRIGGER";

/** MariaDB says `db`.`t`, MySQL only 't'. */
function tableIn(text: string, { database }: Context): string {
  const name = /^'(.+)'$/.exec(text)?.[1];
  if (name === undefined) return text;
  return database === undefined ? quoteName(name) : `${quoteName(database)}.${quoteName(name)}`;
}

function isConnectionError(raw: DriverError): boolean {
  return raw.fatal === true || CONNECTION_CODES.has(raw.code ?? "");
}

/** The server's error number, for the few places that act on one. */
export function errorNumber(error: unknown): number | undefined {
  if (error instanceof TidemarkError) {
    const errno = error.details.errno;
    return typeof errno === "number" ? errno : undefined;
  }
  return asDriverError(error).errno;
}

function asDriverError(error: unknown): DriverError {
  if (typeof error !== "object" || error === null) return { message: String(error) };
  const { errno, code, sqlState, fatal, message } = error as Partial<DriverError>;
  // Socket errors carry a negative errno of the system, which is not a number of the server.
  return {
    errno: typeof errno === "number" && errno > 0 ? errno : undefined,
    code: typeof code === "string" ? code : undefined,
    sqlState: typeof sqlState === "string" ? sqlState : undefined,
    fatal,
    message: typeof message === "string" ? message : "",
  };
}
