import type { ErrorCode } from "../../core/errors.ts";

/** What a server error is told as. */
export interface Rule {
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
export const TOO_WIDE: Rule = {
  code: "TM-COLUMN-UNFIT",
  text: "The server makes no table whose columns may need more of a row than half a page of InnoDB has (8,126 bytes by default), and each of the table's needs some, long texts included.",
  fix: "leave columns out with `except`; or make the table at the target yourself, as tidemark plan prints it, with shorter types, or behind SET SESSION innodb_strict_mode = OFF, with which only rows that are too large in fact are refused",
};

/** A table that is made may be given another engine by a session without NO_ENGINE_SUBSTITUTION, which ours have. */
const ANOTHER_ENGINE: Rule = {
  code: "TM-SERVER-UNSUPPORTED",
  text: "The server makes tables with another engine than InnoDB (enforce_storage_engine), which ours need.",
  fix: "SET GLOBAL enforce_storage_engine = NULL; then tidemark run",
};

/** Rows are staged in one. */
export const NO_TEMPORARY_TABLE: Rule = {
  code: "TM-SERVER-UNSUPPORTED",
  text: "The server makes no temporary table within a transaction (enforce_gtid_consistency with binlog_format = STATEMENT), which tables need that have a unique key beside their own, or none.",
  fix: "SET GLOBAL binlog_format = 'ROW'; then tidemark run",
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
  1226: rule(
    "TM-CONNECTION-LOST",
    "The account has used up a resource limit of its own.",
    "raise it, or take it away: ALTER USER … WITH MAX_USER_CONNECTIONS 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0",
  ),
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
    "SET GLOBAL max_allowed_packet = 1073741824;",
  ),
  1264: rule("TM-VALUE-REFUSED", "A number is out of the column's range."),
  1265: rule("TM-VALUE-REFUSED", "A value would be truncated."),
  1292: rule("TM-VALUE-REFUSED", "A value is not one the column's type can hold."),
  1300: rule("TM-VALUE-REFUSED", "A text is not valid in its character set."),
  1301: rule(
    "TM-VALUE-REFUSED",
    "A value is larger than a packet may be.",
    "SET GLOBAL max_allowed_packet = 1073741824;",
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
  1021: full("The server's disk is full."),
  1114: full("The table is full: most often the disk is."),
  3019: full("The undo log is full."),
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

function full(text: string): Rule {
  return rule("TM-DISK-FULL", text, "free space on the server's disk; it goes on by itself");
}

export function rule(code: ErrorCode, text: string, fix?: string): Rule {
  return fix === undefined ? { code, text } : { code, text, fix };
}

/** Creating, writing, the engine, a commit: their message holds a file's name and what the system said. */
const OF_THE_SYSTEM: ReadonlySet<number> = new Set([1, 2, 3, 20, 1004, 1005, 1026, 1030, 1180]);
const NO_SPACE = /\b(?:Errcode|errno|error):? 28\b/;

/** Error 1290 is told of any option that forbids a statement, read_only being but one. */
const BY_OPTION = /^The \S+ server is running with the (\S+) option so it cannot/;

interface ServerError {
  readonly errno?: number | undefined;
  readonly message: string;
}

/** Undefined of an error that is not known, and of one that is not the server's. */
export function ruleOf({ errno, message }: ServerError): Rule | undefined {
  if (errno === undefined) return undefined;
  const option = errno === 1290 ? BY_OPTION.exec(message)?.[1] : undefined;
  if (option === "NO_ENGINE_SUBSTITUTION") return ANOTHER_ENGINE;
  if (option !== undefined && !/read[-_]only/i.test(option)) {
    return rule("TM-SERVER-UNSUPPORTED", `The server's option ${option} forbids a statement.`);
  }
  const isFull = OF_THE_SYSTEM.has(errno) && NO_SPACE.test(message);
  return BY_NUMBER[isFull ? 1021 : errno];
}
