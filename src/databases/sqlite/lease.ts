import { lstatSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { TidemarkError } from "../../core/errors.ts";
import { sha256 } from "../../core/hash.ts";
import { makeFolder } from "../../core/make-folder.ts";
import { loadSqlite } from "../../core/sqlite-warning.ts";
import type { Database } from "./driver.ts";
import { classify, isBusy } from "./errors.ts";

/** Held until released or until the process ends, however it ends. */
export interface Lease {
  release(): void;
}

/**
 * An exclusive lock for one purpose on one file. The lock is the operating system's, on a small
 * file of its own in the temporary folder: a crash frees it, and the user's database is neither
 * locked nor written. Two users, or two machines with the file on a shared disk, do not see each
 * other's lock; the batch number and the progress row are the guard that holds everywhere, the
 * lease only keeps the second one from trying.
 *
 * Null while another holds it. Throws TM-GRANT-MISSING where another user has made the folder.
 */
export function takeLease(path: string, purpose: string): Lease | null {
  const { DatabaseSync } = loadSqlite();
  const folder = join(tmpdir(), `tidemark-locks-${userInfo().uid}`);
  let db: Database | undefined;
  try {
    makeFolder(folder, 0o700);
    refuseOthers(folder);
    db = new DatabaseSync(join(folder, `${sha256(path, purpose).slice(0, 32)}.lock`));
    db.exec("PRAGMA busy_timeout = 0");
    db.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    db?.close();
    if (isBusy(error)) return null;
    throw classify(error, `lock folder ${folder}`);
  }
  const held = db;
  let released = false;
  return {
    release() {
      if (released) return;
      released = true;
      held.close();
    },
  };
}

/**
 * Everybody may have been first to make it, in a folder that all share, and have a link stand where our lock is to be: a
 * database of ours would be locked in its place.
 */
function refuseOthers(folder: string): void {
  const found = lstatSync(folder);
  const isOurs = process.getuid === undefined || found.uid === process.getuid();
  if (isOurs && found.isDirectory()) return;
  throw new TidemarkError(
    "TM-GRANT-MISSING",
    `The folder for locks, ${folder}, was not made by this user.`,
    { fix: `Remove it, or set TMPDIR to a folder of your own.`, details: { folder } },
  );
}
