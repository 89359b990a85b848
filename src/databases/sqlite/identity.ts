import { readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

/** The file itself, whatever path leads to it; where it is still to be made, the place where it will stand. */
export function identityOf(path: string): string | null {
  try {
    const file = statSync(path, { bigint: true, throwIfNoEntry: false });
    // A file system without numbers gives all its files the same.
    if (file !== undefined && file.ino !== 0n) return `${file.dev}/${file.ino}`;
    return file === undefined ? placeOf(path) : realpathSync(path);
  } catch {
    return null;
  }
}

/** SQLite follows a link to a file that is missing, and makes that one. */
function placeOf(path: string): string {
  const link = linkOf(path);
  if (link !== null) return placeOf(resolve(dirname(path), link));
  return join(realpathSync(dirname(path)), basename(path));
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}
