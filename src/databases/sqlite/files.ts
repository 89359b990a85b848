// What we do with the files of a database ourselves, beside SQLite.
import { closeSync, fdatasyncSync, fsyncSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { TidemarkError } from "../../core/errors.ts";
import { shellWord } from "../../core/shell.ts";

/**
 * Makes durable what was committed by connections that do not sync (in WAL mode those with `synchronous = NORMAL`, and
 * many have it), without a commit of our own. In the other modes a commit is the end of the journal, and what a power cut
 * brings back of that undoes it: only `synchronous = EXTRA` sees to that in all of them. Closing these files gives no lock
 * away: SQLite has none on them. Throws what the system says.
 */
export function syncJournal(database: string): void {
  if (syncFile(`${database}-wal`, fdatasyncSync)) return;
  syncFile(`${database}-journal`, fsyncSync);
  // Windows opens no folder, and needs none to be synced.
  if (process.platform !== "win32") syncFile(dirname(database), fsyncSync);
}

/** False: it is not there. */
function syncFile(path: string, sync: (file: number) => void): boolean {
  let file: number | undefined;
  try {
    file = openSync(path, isFolder(path) ? "r" : "r+");
    sync(file);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A folder that may be written and not read: SQLite cannot sync it either, and goes on.
    if (code === "ENOENT" || (file === undefined && code === "EACCES" && isFolder(path)))
      return false;
    throw error;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Whoever opens that file reads, and writes, a mixture of both. */
export function mixed(name: string, path: string): TidemarkError {
  return new TidemarkError(
    "TM-SERVER-UNSUPPORTED",
    `${name}: ${path} was replaced while open, and the -wal of the file before still lies beside it: SQLite takes that for the new file's own, and damages it.`,
    {
      fix: `End whatever has the file open; rm ${shellWord(`${path}-wal`)} ${shellWord(`${path}-shm`)}; put the new file there once more, since it may be damaged by now; then start again. Next time end tidemark run before, and all others.`,
      details: { database: name, path },
    },
  );
}

/** Files of two disks may have one number. Null: there is none. */
export function deviceAndInode(path: string): string | null {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? null : `${stat.dev}:${stat.ino}`;
}
