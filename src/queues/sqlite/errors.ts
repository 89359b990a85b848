import { TidemarkError } from "../../core/errors.ts";

// Primary result codes of SQLite (the low byte of an extended one).
const PERM = 3;
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const AUTH = 23;
const NOTADB = 26;

/** Another connection holds the lock: trying again in a moment is all there is to do. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error);
  return code === BUSY || code === LOCKED;
}

/** What was met in a file that somebody deletes or replaces at that moment: the next attempt meets another one. */
export function fileReplaced(path: string, cause: unknown): TidemarkError {
  return new TidemarkError(
    "TM-CONNECTION-LOST",
    `The queue file ${path} was deleted or replaced while it was being used.`,
    { fix: "Nothing: what targets still need is sent again.", cause, details: { path } },
  );
}

export function notWritable(path: string, cause: unknown): TidemarkError {
  return new TidemarkError("TM-READ-ONLY", `The queue file ${path} cannot be written.`, {
    fix: `Give the account that runs Tidemark the right to write ${path} and its folder.`,
    ...{ cause, details: { path } },
  });
}

/** Gives what SQLite or the file system threw a code. */
export function toQueueError(error: unknown, path: string): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const cause = error;
  const details = { path };
  switch (isNoSpace(error) ? FULL : resultCode(error)) {
    case FULL:
      return new TidemarkError("TM-DISK-FULL", `No space left for the queue file ${path}.`, {
        fix: "Free space on that disk, or lower `queue.maxSize`.",
        ...{ cause, details },
      });
    case READONLY:
      return notWritable(path, cause);
    case CORRUPT:
    case NOTADB:
      return new TidemarkError("TM-QUEUE-UNSAFE", `${path} is damaged or not a queue.`, {
        fix: "Stop Tidemark and delete the file: what targets still need is sent again.",
        ...{ cause, details },
      });
    case BUSY:
    case LOCKED:
      return new TidemarkError(
        "TM-CONNECTION-LOST",
        `Another process has held the lock of the queue file ${path} for too long.`,
        { fix: "Find the program that keeps a transaction open on it.", cause, details },
      );
    case IOERR:
      return new TidemarkError("TM-CONNECTION-LOST", `The queue file ${path} cannot be read.`, {
        fix: "Look for errors of the disk; a network file system cannot hold a queue.",
        ...{ cause, details },
      });
    case CANTOPEN:
    case PERM:
    case AUTH:
      return cannotOpen(path, error);
    default:
      return isFileSystemError(error)
        ? cannotOpen(path, error)
        : new TidemarkError("TM-INTERNAL", `The queue file ${path}: ${messageOf(error)}`, {
            ...{ cause, details },
          });
  }
}

function cannotOpen(path: string, cause: unknown): TidemarkError {
  return new TidemarkError("TM-CONNECT-FAILED", `The queue file ${path} cannot be opened.`, {
    fix: `Give the account that runs Tidemark the right to write ${path} and its folder.`,
    cause,
    details: { path },
  });
}

function resultCode(error: unknown): number | null {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === "number" ? code & 0xff : null;
}

function isNoSpace(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "ENOSPC";
}

function isFileSystemError(error: unknown): boolean {
  return typeof (error as { syscall?: unknown } | null)?.syscall === "string";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
