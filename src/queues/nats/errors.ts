import { TidemarkError } from "../../core/errors.ts";
import { redactText } from "../../core/secrets.ts";
import { tlsFix } from "../../core/tls-fix.ts";

// Error codes of the JetStream API (the server's errors.json).
const ACCOUNT_RESOURCES_EXCEEDED = 10002;
const NO_PEERS = 10005;
const INSUFFICIENT_RESOURCES = 10023;
const MAXIMUM_STREAMS = 10027;
const NOT_ENABLED_FOR_ACCOUNT = 10039;
const STORAGE_RESOURCES_EXCEEDED = 10047;
const MESSAGE_EXCEEDS_MAXIMUM = 10054;
const NAME_IN_USE = 10058;
const STREAM_NOT_FOUND = 10059;
const SUBJECTS_OVERLAP = 10065;
const WRONG_LAST_MESSAGE_ID = 10070;
const WRONG_LAST_SEQUENCE = 10071;
const NO_REPLICAS = 10074;
const NOT_ENABLED = 10076;
const STORE_FAILED = 10077;
const MAX_BYTES_REQUIRED = 10113;
const MAX_STREAM_BYTES = 10122;
const WRONG_LAST_SEQUENCE_UNKNOWN = 10164;

const TIMEOUT = "TimeoutError";
const CONNECTION_ERRORS = new Set([
  TIMEOUT,
  "ConnectionError",
  "ClosedConnectionError",
  "DrainingConnectionError",
  "RequestError",
  "NoRespondersError",
  "ProtocolError",
  // What the client makes of "nobody listens": the stream is not there, or the server is just starting.
  "JetStreamNotEnabled",
]);

/** A server may take connections, answer pings, and do nothing else any more. */
const SILENT_FIX =
  "If it stays so, restart nats-server: what targets still need is sent again. NATS 2.9 can lock itself up when its disk was full (free space first), or files of a stream are damaged, as after a power cut; so can 2.15 a stream when its disk was full.";

/** Also of a cluster whose servers are still looking for each other: that passes. */
const PEERS_FIX =
  "If it stays so: the cluster has fewer servers than `replicas` in the queue's URL asks for, or they have no room: `nats server list`, `nats server report jetstream`. Ask for fewer, or add servers or storage.";

const FULL_FIX =
  "Start the targets that lag behind, raise `queue.maxSize`, or give JetStream, or the account (max_file), more storage.";
const DISK_FULL_FIX =
  "The server's disk is full: free space on it, or start the targets that lag behind. It goes on by itself then.";
const HINDERED_FIX =
  "The server cannot write its files: mend that where it runs (its limit of open files, the rights to its folder, a disk that is mounted read-only). If it does not go on then, restart nats-server.";

/** Words of the server's system, of files that are all there. */
const HINDERED =
  /no space left|quota exceeded|too many open files|permission denied|read-only file system|input\/output error/i;

const REACH_FIX = "Check that nats-server runs there and that the port is open.";
/** It ends the connection of one too many, of which the driver tells a wait in vain, too. */
const SILENT_CONNECT_FIX = `${REACH_FIX} If it does, it may have as many connections as max_connections allows.`;
/** TLS begins after the server's first line, which one that begins with it never sends. */
const WORDLESS_FIX =
  "The server ended the connection before it said a word: is it NATS? In its tls, write handshake_first: auto where it is true.";
/** It ends the connection of a client without a certificate that it knows, of which the driver tells a wait in vain. */
const SILENT_TLS_FIX = `${REACH_FIX} If it demands a certificate of its clients (tls: verify), name one of an authority that it knows, with its key: &cert=FILE&key=FILE.`;

/** It began in plain text, and the server asked for TLS: of one that is given by its address the driver then asks for "localhost". */
const BY_NATS_FIX =
  "Write tls:// in place of nats://; its certificate is then looked at for what stands in the URL, be it a name or an address.";
const TLS_WORDS = { authority: "?ca=FILE", own: "&cert=FILE&key=FILE" } as const;
const TLS_FIX =
  "Name who signed the server's certificate: ?ca=FILE; or write nats:// in place of tls:// where the server has no TLS, on a network that you trust.";

const SUBJECTS_FIX =
  "See which one it is (`nats stream ls`), and give it other subjects (`nats stream edit`); or give Tidemark an account of its own, or another `prefix` in the queue's URL.";

/** What mends it where the account, or its tier, bounds streams. */
const LIMIT_FIXES: Readonly<Record<number, string>> = {
  [MAXIMUM_STREAMS]:
    "Raise max_streams of the account: each source needs a stream, and the documents one. Or remove streams that nobody needs (`nats stream ls`, `nats stream rm`).",
  [MAX_BYTES_REQUIRED]:
    "Take max_bytes_required off the account, or make the stream of the documents before the start: `nats stream add KV_tidemark_documents --subjects='$KV.tidemark_documents.>' --max-msgs-per-subject=1 --max-bytes=256MB --discard=new --defaults` (with the `prefix` of the queue's URL in place of `tidemark`; not by `nats kv add`, whose buckets keep what is to be forgotten).",
  [MAX_STREAM_BYTES]: "Lower `queue.maxSize`, or raise disk_max_stream_bytes of the account.",
};

export function isStreamNotFound(error: unknown): boolean {
  return apiCode(error) === STREAM_NOT_FOUND;
}

export function isNameInUse(error: unknown): boolean {
  return apiCode(error) === NAME_IN_USE;
}

/** The stream is full, or has lost its files: one code for both, and for a system that keeps the server from writing them. */
export function isStoreFailed(error: unknown): boolean {
  return apiCode(error) === STORE_FAILED && !HINDERED.test(messageOf(error));
}

/** Nobody takes messages of this subject: its stream is not there. */
export function isNobodyThere(error: unknown): boolean {
  return nameOf(error) === "JetStreamNotEnabled" && apiCode(error) === null;
}

/** Gives what the client or the server answered a code. `what`: the stream or address, for people. */
export function toQueueError(error: unknown, what: string): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const options = { cause: error, details: { queue: what } };
  switch (apiCode(error)) {
    case WRONG_LAST_SEQUENCE:
    case WRONG_LAST_MESSAGE_ID:
    // Of a cluster: another write of that subject is just being agreed on.
    case WRONG_LAST_SEQUENCE_UNKNOWN:
      return new TidemarkError(
        "TM-QUEUE-CONFLICT",
        `The stream of ${what} does not end where this relay left it: another one writes to it, or it was emptied.`,
        options,
      );
    case STORE_FAILED:
    case ACCOUNT_RESOURCES_EXCEEDED:
    case STORAGE_RESOURCES_EXCEEDED:
    case INSUFFICIENT_RESOURCES:
      return new TidemarkError("TM-QUEUE-FULL", `NATS takes no more for ${what}.`, {
        fix: fullFix(messageOf(error)),
        cause: error,
        // Then it is the server, or the account, that has no room.
        details: { queue: what, isWithinBound: !isStoreFailed(error) },
      });
    case MESSAGE_EXCEEDS_MAXIMUM:
      return new TidemarkError(
        "TM-QUEUE-LIMIT",
        `NATS refuses a message for ${what} as too large.`,
        {
          fix: `Remove max_msg_size from the stream.`,
          ...options,
        },
      );
    case MAXIMUM_STREAMS:
    case MAX_BYTES_REQUIRED:
    case MAX_STREAM_BYTES:
      return new TidemarkError(
        "TM-QUEUE-LIMIT",
        `NATS makes no stream for ${what}: ${messageOf(error)}.`,
        { fix: LIMIT_FIXES[apiCode(error) ?? 0] ?? "", ...options },
      );
    case SUBJECTS_OVERLAP:
      return new TidemarkError(
        "TM-QUEUE-UNSAFE",
        `NATS makes no stream for ${what}: another stream of the account takes its messages.`,
        { fix: SUBJECTS_FIX, ...options },
      );
    case NO_REPLICAS:
      return inNoCluster(what, options);
    case NOT_ENABLED:
    case NOT_ENABLED_FOR_ACCOUNT:
      return new TidemarkError("TM-SERVER-UNSUPPORTED", "JetStream is not enabled in NATS.", {
        fix: "Start nats-server with -js and a store_dir, and enable JetStream for the account.",
        ...options,
      });
    case null:
      break;
    default:
      return new TidemarkError(
        "TM-CONNECTION-LOST",
        `NATS refused: ${messageOf(error)} (${what}).`,
        {
          ...(apiCode(error) === NO_PEERS ? { fix: PEERS_FIX } : {}),
          ...options,
        },
      );
  }
  const name = nameOf(error);
  const forbidden = violationOf(error);
  if (forbidden !== null) return notPermitted(what, forbidden);
  if (name === "AuthorizationError" || name === "UserAuthenticationExpiredError") {
    return authFailed(what, error);
  }
  // What the driver says of one that it does not even send.
  if (/max_payload/.test(messageOf(error))) {
    return new TidemarkError("TM-QUEUE-LIMIT", `A message for ${what} is larger than NATS takes.`, {
      fix: "Raise max_payload of the server.",
      ...options,
    });
  }
  if (CONNECTION_ERRORS.has(name)) {
    return new TidemarkError("TM-CONNECTION-LOST", `NATS does not answer (${what}).`, {
      ...(name === TIMEOUT ? { fix: SILENT_FIX } : {}),
      ...options,
    });
  }
  return new TidemarkError("TM-INTERNAL", `NATS: ${messageOf(error)}`, options);
}

function fullFix(reason: string): string {
  if (/no space left|quota exceeded/i.test(reason)) return DISK_FULL_FIX;
  return HINDERED.test(reason) ? `${HINDERED_FIX} It says: ${reason}` : FULL_FIX;
}

/** Of a stream that is to have several copies. */
export function inNoCluster(what: string, options: { cause?: unknown } = {}): TidemarkError {
  return new TidemarkError(
    "TM-QUEUE-LIMIT",
    `NATS keeps one copy of ${what}, not several: its server is in no cluster.`,
    {
      fix: "Take `replicas` out of the queue's URL, or name servers of a cluster.",
      ...options,
    },
  );
}

/** Why the first connection failed. The message names the address without user and password. */
export function toConnectError(error: unknown, address: string, byTls = false): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const name = nameOf(error);
  if (name === "AuthorizationError" || name === "UserAuthenticationExpiredError") {
    return authFailed(address, error);
  }
  const forbidden = violationOf(error);
  if (forbidden !== null) return notPermitted(address, forbidden);
  const reason = (error as Error | null)?.message ?? "";
  if (/\btls\b|certificate|altnames/i.test(reason)) {
    const message = `NATS at ${address} cannot be reached by TLS: ${redactText(reason)}.`;
    return new TidemarkError("TM-CONNECT-FAILED", message, {
      fix: (!byTls && /altnames/.test(reason) ? BY_NATS_FIX : tlsFix(reason, TLS_WORDS)) ?? TLS_FIX,
      cause: error,
      details: { address },
    });
  }
  return new TidemarkError("TM-CONNECT-FAILED", `NATS cannot be reached at ${address}.`, {
    fix: reachFix(name, reason, byTls),
    cause: error,
    details: { address },
  });
}

function reachFix(name: string, reason: string, byTls: boolean): string {
  if (name === TIMEOUT) return byTls ? SILENT_TLS_FIX : SILENT_CONNECT_FIX;
  // The driver's words for an end without an error.
  return /an undefined error/.test(reason) ? WORDLESS_FIX : REACH_FIX;
}

/** Why a connection that stands is of no use. */
export function toJetStreamError(error: unknown, address: string): TidemarkError {
  if (nameOf(error) !== TIMEOUT) return toConnectError(error, address);
  return new TidemarkError(
    "TM-CONNECT-FAILED",
    `NATS answers at ${address}, but its JetStream does not.`,
    { fix: SILENT_FIX, cause: error, details: { address } },
  );
}

/** Of a question and of a message that is sent the driver says that it failed, and that this was why. */
function violationOf(error: unknown): Error | null {
  if (!(error instanceof Error)) return null;
  return nameOf(error) === "PermissionViolationError" ? error : violationOf(error.cause);
}

/** To what the server does not permit us to send; null of any other error. */
export function deniedSubject(error: Error): string | null {
  const { operation, subject } = error as { operation?: unknown; subject?: unknown };
  const isDenied = nameOf(error) === "PermissionViolationError" && operation === "publish";
  return isDenied && typeof subject === "string" ? subject : null;
}

/** The server names the subject: nothing in it is a secret. */
function notPermitted(what: string, cause: Error): TidemarkError {
  return new TidemarkError(
    "TM-GRANT-MISSING",
    `NATS does not permit what ${what} needs: ${cause.message}.`,
    {
      fix: "Allow the user to publish to $JS.API.>, $KV.tidemark_documents.> and tidemark.>, as the prefix of the URL has it (docs/reference/grants.md#nats), and to subscribe to _INBOX.>.",
      cause,
      details: { queue: what },
    },
  );
}

function authFailed(what: string, cause: unknown): TidemarkError {
  return new TidemarkError("TM-AUTH-FAILED", `NATS refuses the login (${what}).`, {
    fix: "Check the user and password, the token, or the credentials file in the queue's URL.",
    cause,
  });
}

function apiCode(error: unknown): number | null {
  const candidate = error as { name?: unknown; code?: unknown; cause?: unknown } | null;
  if (typeof candidate?.code === "number" && candidate.code >= 10_000) return candidate.code;
  return candidate?.name === "JetStreamNotEnabled" && candidate.cause !== undefined
    ? apiCode(candidate.cause)
    : null;
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : "";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
