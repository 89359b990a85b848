import type { ErrorOptions } from "../../core/errors.ts";
import { TidemarkError } from "../../core/errors.ts";
import { tlsFix, tlsReason } from "../../core/tls-fix.ts";
import { type Rule, rule, ruleOf, TOO_WIDE } from "./error-rules.ts";
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
