import { type ErrorCode, TidemarkError } from "../../core/errors.ts";

/** What the driver tells of a server's error; the message and detail may quote row values. */
interface ServerError {
  readonly code: string;
  readonly message: string;
  readonly schema?: string;
  readonly table?: string;
  readonly column?: string;
  readonly constraint?: string;
  readonly dataType?: string;
  /** The server's function that failed: its message may be in another language. */
  readonly routine?: string;
}

/** What the caller was doing, so that the error names it. */
export interface ErrorContext {
  /** `apply rows`, `connect`: completes "Could not …". */
  readonly action: string;
  /** Name of the database in the config. */
  readonly database: string;
  /** Table concerned, as people read it. */
  readonly table?: string | undefined;
}

const CONNECTION_CODES = new Set([
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "ECONNABORTED",
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_WRITE_AFTER_END",
]);

const UNREACHABLE_CODES = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EAI_AGAIN",
  "ENOENT",
]);

/** SQLSTATE invalid_catalog_name. */
const NO_DATABASE = "3D000";

/** SQLSTATE to code; the longest prefix wins. */
const BY_STATE: Readonly<Record<string, ErrorCode>> = {
  "08": "TM-CONNECTION-LOST",
  "57P": "TM-CONNECTION-LOST",
  "57P03": "TM-CONNECT-FAILED",
  "57014": "TM-APPLY-RETRY",
  "28": "TM-AUTH-FAILED",
  [NO_DATABASE]: "TM-CONNECT-FAILED",
  "53300": "TM-CONNECT-FAILED",
  "53100": "TM-DISK-FULL",
  "53400": "TM-DISK-FULL",
  "25006": "TM-READ-ONLY",
  "42501": "TM-GRANT-MISSING",
  "42P01": "TM-TABLE-MISSING",
  "3F000": "TM-TABLE-MISSING",
  "42703": "TM-COLUMN-MISSING",
  "42804": "TM-COLUMN-UNFIT",
  "428C9": "TM-COLUMN-UNFIT",
  "40": "TM-APPLY-RETRY",
  "55P03": "TM-APPLY-RETRY",
  "55006": "TM-APPLY-RETRY",
  "53": "TM-APPLY-RETRY",
  "23": "TM-APPLY-CONSTRAINT",
  "44000": "TM-APPLY-CONSTRAINT",
  "22": "TM-VALUE-REFUSED",
  "54000": "TM-VALUE-REFUSED",
};

/** Where nobody has answered, as far as the error tells: of a name with several addresses it holds one for each. */
function placeIn(error: unknown): string {
  const one: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const { address, hostname, port } = one as { address?: string; hostname?: string; port?: number };
  const host = address ?? hostname;
  if (host === undefined) return "";
  return port === undefined ? ` (${host})` : ` (${host}, port ${port})`;
}

/** Wraps whatever the driver or the server threw. Never quotes a value or the URL. */
export function classify(error: unknown, context: ErrorContext): TidemarkError {
  if (error instanceof TidemarkError) return error;
  if (isServerError(error)) return fromServer(error, context);
  const code = codeOf(error);
  if (UNREACHABLE_CODES.has(code)) {
    return new TidemarkError(
      "TM-CONNECT-FAILED",
      `Database "${context.database}"${placeIn(error)} cannot be reached (${code}).`,
      { fix: "Check host and port in the URL, and that the server runs.", cause: error },
    );
  }
  if (CONNECTION_CODES.has(code) || isLostConnection(error)) {
    return new TidemarkError(
      "TM-CONNECTION-LOST",
      `The connection to database "${context.database}" was lost.`,
      { cause: error },
    );
  }
  return new TidemarkError("TM-INTERNAL", `Could not ${context.action}: ${messageOf(error)}`, {
    cause: error,
  });
}

/** The SQLSTATE of a server's error, else "". */
export function sqlState(error: unknown): string {
  if (error instanceof TidemarkError) return sqlState(error.cause);
  return isServerError(error) ? error.code : "";
}

function fromServer(error: ServerError, context: ErrorContext): TidemarkError {
  const code = codeIn(error, context);
  const table = error.table ? [error.schema, error.table].filter(Boolean).join(".") : context.table;
  const details = {
    sqlState: error.code,
    database: context.database,
    ...(table ? { table } : {}),
    ...(error.column ? { column: error.column } : {}),
    ...(error.constraint ? { constraint: error.constraint } : {}),
  };
  const fix = fixFor(code, error, { ...context, table });
  return new TidemarkError(code, describe(code, error, { ...context, table }), {
    cause: error,
    details,
    ...(fix === undefined ? {} : { fix }),
  });
}

function codeIn(error: ServerError, context: ErrorContext): ErrorCode {
  if (isRefusedDdl(error, context)) return "TM-GRANT-MISSING";
  return isUnidentified(error) ? "TM-TABLE-UNSUPPORTED" : codeFor(error.code);
}

function codeFor(state: string): ErrorCode {
  for (let length = state.length; length >= 2; length--) {
    const code = BY_STATE[state.slice(0, length)];
    if (code) return code;
  }
  return "TM-INTERNAL";
}

function describe(code: ErrorCode, error: ServerError, context: ErrorContext): string {
  const where = context.table ? ` on table ${context.table}` : "";
  const column = error.column ? `, column ${error.column}` : "";
  switch (code) {
    case "TM-VALUE-REFUSED":
      if (isEncoding(error.code, context)) {
        return `Database "${context.database}" is not in UTF8, and a text or a name${where}${column} cannot be converted between UTF8 and its encoding (SQLSTATE ${error.code}).`;
      }
      // The server's message quotes the value, so it is not passed on.
      return `Database "${context.database}" refused a value${where}${column} (SQLSTATE ${error.code}).`;
    case "TM-APPLY-CONSTRAINT":
      if (isPartitionMissing(error)) {
        return `Table ${context.table} of database "${context.database}" has no partition that takes a row, or is one that does not (SQLSTATE ${error.code}).`;
      }
      return `A rule of database "${context.database}"${where}${column} was broken: ${error.constraint ? `constraint ${error.constraint}` : "not null or check"} (SQLSTATE ${error.code}).`;
    case "TM-CONNECTION-LOST":
      return `The connection to database "${context.database}" was lost (SQLSTATE ${error.code}).`;
    case "TM-AUTH-FAILED":
      return `Database "${context.database}" refused the login: ${error.message}`;
    default:
      return `Could not ${context.action}${where} in database "${context.database}": ${error.message}`;
  }
}

/** A character that the other encoding lacks. */
export const NO_EQUIVALENT = "22P05";
/** Bytes that are no text: of a source in SQL_ASCII; what is written may hold a NUL. */
const NO_TEXT = "22021";

function isEncoding(state: string, context: ErrorContext): boolean {
  return state === NO_EQUIVALENT || (state === NO_TEXT && isReading(context));
}

/** These sessions write no text of the user's. */
function isReading({ action }: ErrorContext): boolean {
  return /\b(relay|source|catalog)\b/.test(action);
}

/**
 * These sessions run DDL while all is at work, too: the log moves from table to table by a function that is replaced. What
 * raises an exception there is an event trigger of the application.
 */
function isRefusedDdl({ code }: ServerError, context: ErrorContext): boolean {
  return code === RAISED && /\brelay( control| capture)?$/.test(context.action);
}

const RAISED = "P0001";
/** query_canceled */
const CANCELLED = "57014";
const TOO_MANY_CONNECTIONS = "53300";

/** A publication takes the table's updates and deletes, and nothing tells its subscribers the rows by. */
function isUnidentified({ routine }: ServerError): boolean {
  return routine === "CheckCmdReplicaIdentity";
}

/** The publication's condition or list of columns and the replica identity do not go together. */
const INVALID_COLUMN_REFERENCE = "42P10";

/** Of a check that has a name the server tells it. */
function isPartitionMissing({ code, table, constraint }: ServerError): boolean {
  return code === "23514" && table !== undefined && constraint === undefined;
}

/** What was logged stays as it was, whatever becomes of the row. */
const FROM_ENCODING =
  "Correct the value at the source. If it was changed since the first copy, the change log keeps it: tidemark uninstall, then tidemark run, which copies anew.";
const TO_ENCODING =
  "Correct the value or the name at the source, leave it out, or make the target's database anew with ENCODING 'UTF8'.";

const CONNECT_FIXES: ReadonlyMap<string | undefined, string> = new Map([
  [NO_DATABASE, "Create it (CREATE DATABASE), or correct the name at the end of the URL."],
  [
    TOO_MANY_CONNECTIONS,
    "A source takes up to 7 sessions, a target 4: end idle ones (SELECT usename, state, count(*) FROM pg_stat_activity GROUP BY 1, 2), or raise max_connections, or the CONNECTION LIMIT of the role or the database.",
  ],
]);

function fixFor(
  code: ErrorCode,
  error: ServerError,
  context: ErrorContext & { readonly table: string | undefined },
): string | undefined {
  const { table } = context;
  switch (code) {
    case "TM-VALUE-REFUSED":
      if (!isEncoding(error.code, context)) return undefined;
      return isReading(context) ? FROM_ENCODING : TO_ENCODING;
    case "TM-GRANT-MISSING":
      if (error.code === RAISED) {
        return "An event trigger of this database refuses what the relay does (\\dy in psql lists them): let it pass the role of this URL.";
      }
      if (/row-level security/.test(error.message)) {
        return "ALTER ROLE <the role of this URL> BYPASSRLS;";
      }
      if (/ for schema tidemark$/.test(error.message)) {
        return "GRANT USAGE, CREATE ON SCHEMA tidemark TO <the role of this URL>; -- it is another role's";
      }
      return table
        ? `GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON ${table} TO <the role of this URL>;`
        : `Grant the role of this URL what the message names (tidemark doctor prints the statements).`;
    case "TM-AUTH-FAILED":
      if (/no encryption$|SSL off$/.test(error.message)) {
        return "Add ?sslmode=verify-full to the URL, with &sslrootcert=FILE where the authority is the server's own; or let the user in without TLS, in pg_hba.conf.";
      }
      if (/client certificate|certificate authentication/.test(error.message)) {
        return "Add &sslcert=FILE&sslkey=FILE to the URL: a certificate for this user, of an authority in the server's ssl_ca_file.";
      }
      return "Check user and password in the URL, and pg_hba.conf.";
    case "TM-TABLE-UNSUPPORTED":
      if (error.code === INVALID_COLUMN_REFERENCE) {
        return "A publication at the target (\\dRp+ in psql) has a WHERE with columns that are not in the table's replica identity (mend: ALTER TABLE <the table> REPLICA IDENTITY FULL;), or a list of columns that lacks some of it (add them), or leaves generated ones of it out. Or take the table out of the publication. Then start again: it goes on with the same batch.";
      }
      return "ALTER TABLE <the table> REPLICA IDENTITY FULL; at the target, or take it out of the publication (\\dRp+ in psql). Then start again: it goes on with the same batch.";
    case "TM-APPLY-CONSTRAINT":
      return isPartitionMissing(error)
        ? "Make the partition at the target that the source has, or one that takes the rest: CREATE TABLE <name> PARTITION OF <the table> DEFAULT; Then start again: it goes on with the same batch."
        : undefined;
    case "TM-APPLY-RETRY":
      return error.code === CANCELLED && /\bconnect$/.test(context.action)
        ? "The role or the database has a statement_timeout so short that no session can be set up: SELECT setconfig FROM pg_db_role_setting; ALTER ROLE <the role of this URL> SET statement_timeout = 0; our sessions turn it off by themselves once they are there."
        : undefined;
    case "TM-CONNECT-FAILED":
      return CONNECT_FIXES.get(error.code);
    case "TM-DISK-FULL":
      return "Free space on the server's disk; Tidemark goes on by itself.";
    case "TM-READ-ONLY":
      return "Point the URL at the primary, or turn default_transaction_read_only off.";
    default:
      return undefined;
  }
}

function isServerError(error: unknown): error is ServerError {
  return (
    typeof error === "object" &&
    error !== null &&
    "severity" in error &&
    typeof (error as { code?: unknown }).code === "string"
  );
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string") return code;
  // Node joins the attempts of several addresses in one AggregateError.
  const first = (error as { errors?: readonly unknown[] } | null)?.errors?.[0];
  return first === undefined ? "" : codeOf(first);
}

/** The driver gives these without a code. */
function isLostConnection(error: unknown): boolean {
  return /^(Connection terminated|Client has encountered a connection error|Client was closed|timeout expired|write after end)/i.test(
    messageOf(error),
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
