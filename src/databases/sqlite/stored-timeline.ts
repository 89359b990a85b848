import type { Connection } from "./connection.ts";
import { deviceAndInode } from "./files.ts";

interface SourceRow {
  readonly timeline: string;
  readonly path: string;
  readonly inode: string;
}

/** The timeline that a file names, and whether it is its own. */
export interface StoredTimeline {
  readonly timeline: string;
  /** Where the file was when it was last opened as a source. */
  readonly before: string;
  /** Is that the file there? */
  readonly same: boolean;
  /** Is the file at that place still there, and another one? Then this is a copy, and the timeline is the other's. */
  readonly cloned: boolean;
}

/** Without the relay's lease, in a transaction. Null: no relay has begun one. */
export function storedTimeline(connection: Connection): StoredTimeline | null {
  const [found] = connection.rows(
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'tidemark_source'",
  );
  if (found === undefined) return null;
  const row = connection.row<SourceRow & object>(
    "SELECT timeline, path, inode FROM tidemark_source",
  );
  if (row === undefined) return null;
  const { timeline, path, inode } = row;
  const now = deviceAndInode(connection.path) ?? "";
  const same = path === connection.path && inode === now;
  return { timeline, before: path, same, cloned: inode !== now && deviceAndInode(path) === inode };
}
