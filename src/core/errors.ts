/**
 * Every error Tidemark raises on purpose. A code is stable, has one page in docs/errors/, and says
 * here, in one table, what the program does about it.
 *
 * - `exit`: process exit code when it ends a command (2 usage or config, 3 environment, 1 the rest).
 * - `reaction`: `retry` = roll back, back off, try again from the recorded position; `stop` = stop
 *   the sync and say why.
 */
const TABLE = {
  // usage and configuration
  "TM-CONFIG-NOT-FOUND": { exit: 2, reaction: "stop" },
  "TM-CONFIG-INVALID": { exit: 2, reaction: "stop" },
  "TM-CONFIG-ENV-MISSING": { exit: 2, reaction: "stop" },
  "TM-CONFIG-LOOP": { exit: 2, reaction: "stop" },
  "TM-CONFIG-OVERLAP": { exit: 2, reaction: "stop" },
  "TM-NAME-TAKEN": { exit: 2, reaction: "stop" },
  "TM-SOURCE-TAKEN": { exit: 2, reaction: "stop" },
  "TM-USAGE": { exit: 2, reaction: "stop" },
  "TM-URL-INVALID": { exit: 2, reaction: "stop" },
  "TM-DRIVER-MISSING": { exit: 3, reaction: "stop" },
  // reaching and using a server
  "TM-CONNECT-FAILED": { exit: 3, reaction: "retry" },
  "TM-CONNECTION-LOST": { exit: 3, reaction: "retry" },
  "TM-AUTH-FAILED": { exit: 3, reaction: "stop" },
  "TM-GRANT-MISSING": { exit: 3, reaction: "stop" },
  "TM-SERVER-UNSUPPORTED": { exit: 3, reaction: "stop" },
  "TM-DISK-FULL": { exit: 3, reaction: "retry" },
  "TM-READ-ONLY": { exit: 3, reaction: "retry" },
  // tables and types
  "TM-TABLE-MISSING": { exit: 2, reaction: "stop" },
  "TM-TABLE-NO-KEY": { exit: 2, reaction: "stop" },
  "TM-TABLE-UNSUPPORTED": { exit: 2, reaction: "stop" },
  "TM-TABLE-HELD": { exit: 1, reaction: "retry" },
  "TM-COLUMN-MISSING": { exit: 2, reaction: "stop" },
  "TM-COLUMN-UNFIT": { exit: 2, reaction: "stop" },
  "TM-TYPE-UNSUPPORTED": { exit: 2, reaction: "stop" },
  "TM-SCHEMA-DRIFT": { exit: 1, reaction: "stop" },
  // capture
  "TM-CAPTURE-BROKEN": { exit: 1, reaction: "stop" },
  "TM-CAPTURE-MISSING": { exit: 1, reaction: "stop" },
  "TM-TRUNCATE-UNSEEN": { exit: 1, reaction: "stop" },
  "TM-SOURCE-REWOUND": { exit: 1, reaction: "stop" },
  "TM-SOURCE-CLONED": { exit: 1, reaction: "stop" },
  "TM-LOG-VERSION": { exit: 1, reaction: "stop" },
  "TM-BATCH-PURGED": { exit: 1, reaction: "stop" },
  "TM-RELAY-FENCED": { exit: 1, reaction: "retry" },
  // queue
  "TM-QUEUE-CONFLICT": { exit: 1, reaction: "retry" },
  "TM-QUEUE-FULL": { exit: 1, reaction: "retry" },
  "TM-QUEUE-LIMIT": { exit: 3, reaction: "stop" },
  "TM-QUEUE-UNSAFE": { exit: 3, reaction: "stop" },
  "TM-MESSAGE-CORRUPT": { exit: 1, reaction: "retry" },
  "TM-MESSAGE-VERSION": { exit: 1, reaction: "stop" },
  // apply
  "TM-APPLY-RETRY": { exit: 1, reaction: "retry" },
  "TM-APPLY-FENCED": { exit: 1, reaction: "retry" },
  "TM-APPLY-CONSTRAINT": { exit: 1, reaction: "stop" },
  "TM-APPLY-GAP": { exit: 1, reaction: "retry" },
  "TM-TRUNCATE-REFUSED": { exit: 1, reaction: "stop" },
  "TM-VALUE-REFUSED": { exit: 1, reaction: "stop" },
  "TM-TIMELINE-CHANGED": { exit: 1, reaction: "stop" },
  "TM-TARGET-FUNCTION": { exit: 1, reaction: "retry" },
  "TM-TRANSFORM-FAILED": { exit: 1, reaction: "stop" },
  "TM-FILTER-FAILED": { exit: 1, reaction: "stop" },
  "TM-PARKED-FULL": { exit: 1, reaction: "stop" },
  // waiting
  "TM-WAIT-TIMEOUT": { exit: 1, reaction: "stop" },
  "TM-SYNC-STOPPED": { exit: 1, reaction: "stop" },
  "TM-TAIL-GAP": { exit: 1, reaction: "stop" },
  // ours
  "TM-INTERNAL": { exit: 1, reaction: "stop" },
} as const satisfies Record<string, { exit: 1 | 2 | 3; reaction: "retry" | "stop" }>;

export type ErrorCode = keyof typeof TABLE;
export const ERROR_CODES = Object.keys(TABLE) as readonly ErrorCode[];

const SENT_AGAIN =
  "Nothing, if it passes: the source sends it again. Its relay must be at work for that: tidemark run.";

/** What helps where nothing more is known: the target's own message names the rule, not what broke it. */
const USUAL_FIX: Partial<Record<ErrorCode, string>> = {
  "TM-APPLY-CONSTRAINT":
    "Mend the target: remove the row that is in the way, or drop a rule that the source does not have. Then start again: it goes on with the same batch.",
  "TM-APPLY-GAP": SENT_AGAIN,
  "TM-MESSAGE-CORRUPT": SENT_AGAIN,
  "TM-VALUE-REFUSED":
    "Correct the value at the source, or leave the column out with `except`, or map it with `transform`. Then start again.",
};

const OURS_GONE =
  "Somebody has run `tidemark uninstall` while this was at work, or dropped what is Tidemark's. Start again: the tables are copied anew, or the start says how to go on.";

function usualFix(code: ErrorCode, message: string): string | undefined {
  if (code === "TM-TABLE-MISSING" && /\btidemark[._]\w/.test(message)) return OURS_GONE;
  return USUAL_FIX[code];
}

export interface ErrorOptions {
  /** What to do about it: a command, a statement, a setting. Shown on a line of its own. */
  readonly fix?: string;
  readonly cause?: unknown;
  /** Names for programs (`--json`): table, column, key of the config. Never row values, never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** An error with a stable code. `message` names the thing and says why; `fix` says how to mend it. */
export class TidemarkError extends Error {
  readonly code: ErrorCode;
  readonly fix: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = "TidemarkError";
    this.code = code;
    this.fix = options.fix ?? usualFix(code, message);
    this.details = options.details ?? {};
  }

  get exitCode(): 1 | 2 | 3 {
    return TABLE[this.code].exit;
  }

  /** Does waiting and trying again have a chance? */
  get retryable(): boolean {
    return TABLE[this.code].reaction === "retry";
  }
}

export function isTidemarkError(error: unknown, ...codes: ErrorCode[]): error is TidemarkError {
  return error instanceof TidemarkError && (codes.length === 0 || codes.includes(error.code));
}

/** What Node says of a text beyond its limit, read or built. */
function isTooLong(error: unknown): boolean {
  const { code, name, message } = error as { code?: string; name?: string; message?: string };
  return (
    code === "ERR_STRING_TOO_LONG" ||
    (name === "RangeError" && (message ?? "").startsWith("Invalid string length"))
  );
}

/** Wraps what is not ours, so that every error that reaches a user has a code. */
export function toTidemarkError(error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error;
  if (isTooLong(error)) {
    return new TidemarkError(
      "TM-VALUE-REFUSED",
      "A row is larger than a program can hold: 512 MB as text, in which each byte of binary data takes two characters.",
      { fix: "Leave the column out with `except`, or make the value smaller.", cause: error },
    );
  }
  const message = error instanceof Error ? error.message : String(error);
  return new TidemarkError("TM-INTERNAL", message, { cause: error });
}
