import { type ErrorCode, TidemarkError, toTidemarkError } from "../../core/errors.ts";
import { PREFIX } from "./ours.ts";

/** What node:sqlite puts on an error: the extended result code and its text (never row values). */
interface DriverError extends Error {
  readonly code: "ERR_SQLITE_ERROR";
  readonly errcode: number;
  readonly errstr?: string;
}

interface Meaning {
  readonly code: ErrorCode;
  readonly say: string;
  readonly fix?: string | undefined;
}

const LOCKED: Meaning = {
  code: "TM-APPLY-RETRY",
  say: "the file is locked by another program",
  fix: "If that lasts, end the transaction that holds it: a program that has not committed, or an open sqlite3 shell (fuser -v FILE names them); or leave out its PRAGMA locking_mode = EXCLUSIVE, with which nobody else gets at the file.",
};
const UNREADABLE: Meaning = {
  code: "TM-SERVER-UNSUPPORTED",
  say: "the file is damaged or not an SQLite database",
  fix: "sqlite3 FILE 'PRAGMA integrity_check' tells what is damaged. Put a good copy of it there, while nobody has it open and without the old -wal and -shm.",
};

const UNWRITABLE: Meaning = {
  code: "TM-READ-ONLY",
  say: "the file or its folder cannot be written",
  fix: "Give this user write access to the file, to its folder, and to a -wal and -shm that lie beside it: ls -l FILE*.",
};
const FULL: Meaning = {
  code: "TM-DISK-FULL",
  say: "the disk is full",
  fix: "Free space on the file's disk.",
};

/** By primary result code (the low byte): https://sqlite.org/rescode.html */
const PRIMARY: Readonly<Record<number, Meaning>> = {
  3: { code: "TM-GRANT-MISSING", say: "the system refuses access to the file" },
  5: LOCKED,
  6: LOCKED,
  8: UNWRITABLE,
  10: { code: "TM-CONNECTION-LOST", say: "reading or writing the file failed" },
  11: UNREADABLE,
  13: FULL,
  14: {
    code: "TM-CONNECT-FAILED",
    say: "the file cannot be opened",
    fix: "ls -ld FILE: it must be a file, in a folder that this user may enter.",
  },
  17: { code: "TM-APPLY-RETRY", say: "the schema changed meanwhile" },
  18: { code: "TM-VALUE-REFUSED", say: "a value is larger than SQLite's limit of 1 GB" },
  19: { code: "TM-APPLY-CONSTRAINT", say: "a rule of the table is broken" },
  20: { code: "TM-VALUE-REFUSED", say: "a value's type does not fit the column" },
  23: { code: "TM-GRANT-MISSING", say: "the operation is not allowed" },
  26: UNREADABLE,
};

/** Of files that we open ourselves, beside SQLite. */
const SYSTEM: Readonly<Record<string, Meaning>> = {
  EACCES: UNWRITABLE,
  EPERM: UNWRITABLE,
  EROFS: UNWRITABLE,
  ENOSPC: FULL,
  EDQUOT: FULL,
  ENAMETOOLONG: {
    code: "TM-URL-INVALID",
    say: "the name is longer than the file system allows",
    fix: "Give the database's file a shorter name: that of a file beside it begins with it.",
  },
};

/** Extended codes whose meaning is not that of their primary code. */
const EXTENDED: Readonly<Record<number, Meaning>> = {
  // SQLITE_READONLY_DBMOVED: the path now names another file.
  1032: { code: "TM-CONNECTION-LOST", say: "the file was moved or replaced" },
  // SQLITE_CONSTRAINT_DATATYPE: a STRICT table refuses the storage class.
  3091: { code: "TM-VALUE-REFUSED", say: "a value's type does not fit the column" },
  // SQLITE_CONSTRAINT_TRIGGER: the message is the application's own text and may hold values.
  1811: { code: "TM-APPLY-CONSTRAINT", say: "a trigger of the table refuses the row" },
};

const SQLITE_CONSTRAINT = 19;

export function isDriverError(error: unknown): error is DriverError {
  return error instanceof Error && (error as { code?: unknown }).code === "ERR_SQLITE_ERROR";
}

/** Waiting may help: another connection holds a lock. */
export function isBusy(error: unknown): boolean {
  if (!isDriverError(error)) return false;
  const primary = error.errcode & 0xff;
  return primary === 5 || primary === 6;
}

/** SQLITE_ERROR: the statement does not fit the schema (no such table, no such column, bad SQL). */
export function isSchemaMismatch(error: unknown): boolean {
  return isDriverError(error) && (error.errcode & 0xff) === 1;
}

const NO_TABLE = /^no such table: (?:main\.)?/;
const LACK = /^(?:unknown|no such) (function|collation sequence): (.+?)(?:\(\))?$/;

/** A function or collation that SQLite does not have: an application gives them to its own connections alone. */
export function lackOf(error: unknown): string | null {
  const found = isSchemaMismatch(error) ? LACK.exec((error as DriverError).message) : null;
  return found === null ? null : `the ${found[1]} ${found[2]}`;
}

/** Raised for each row that is written, once foreign keys are on: the schema was never asked whether they can hold. */
const FOREIGN_KEY_MISMATCH = /^foreign key mismatch - /;

/**
 * Gives what the driver threw its code. `where` names what was being done or to which file, and
 * stands first in the message. `unreadableFix`: what mends that file when it is damaged.
 */
export function classify(
  error: unknown,
  where: string,
  unreadableFix: string | undefined = UNREADABLE.fix,
): TidemarkError {
  if (error instanceof TidemarkError) return error;
  if (!isDriverError(error)) {
    const meaning = SYSTEM[String((error as { code?: unknown } | null)?.code)];
    return meaning === undefined ? toTidemarkError(error) : told(meaning, where, { cause: error });
  }
  const primary = error.errcode & 0xff;
  const meaning = EXTENDED[error.errcode] ?? PRIMARY[primary];
  if (meaning === undefined) {
    const missing = NO_TABLE.exec(error.message);
    if (missing !== null) {
      // Who misses one of ours knows better how to go on.
      const isOurs = error.message.startsWith(PREFIX, missing[0].length);
      return new TidemarkError("TM-TABLE-MISSING", `${where}: ${error.message}.`, {
        ...(!isOurs && {
          fix: "Make it; or take away the foreign key, trigger or view that names it, and start again.",
        }),
        cause: error,
      });
    }
    if (FOREIGN_KEY_MISMATCH.test(error.message)) {
      return new TidemarkError("TM-TABLE-UNSUPPORTED", `${where}: ${error.message}.`, {
        fix: "Give the columns that the first refers to in the second a unique index, or make the first anew without that foreign key; then start again.",
        cause: error,
      });
    }
    const lack = lackOf(error);
    if (lack !== null) {
      return new TidemarkError("TM-TABLE-UNSUPPORTED", `${where}: ${error.message}.`, {
        fix: `Only its application has ${lack}, and a rule, an index, a default, a computed column or a trigger of a table needs it, as tidemark plan says: make that table anew without, then start again.`,
        cause: error,
      });
    }
    return new TidemarkError("TM-INTERNAL", `${where}: ${error.message}`, { cause: error });
  }
  // SQLite names the columns of a broken rule ("UNIQUE constraint failed: t.a"), not the values.
  const names =
    primary === SQLITE_CONSTRAINT && error.errcode in EXTENDED === false
      ? ` (${error.message})`
      : "";
  const more = { cause: error, details: { sqlite: error.errcode } };
  const { code, fix } = meaning === UNREADABLE ? { ...meaning, fix: unreadableFix } : meaning;
  return told({ code, say: meaning.say + names, fix }, where, more);
}

function told(
  { code, say, fix }: Meaning,
  where: string,
  more: { readonly cause: unknown; readonly details?: { readonly sqlite: number } },
): TidemarkError {
  const message = `${where}: ${say}.`;
  return new TidemarkError(code, message, { ...more, ...(fix === undefined ? {} : { fix }) });
}
