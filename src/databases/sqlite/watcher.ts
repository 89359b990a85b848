import { Bell } from "../../core/async.ts";
import { FileHints } from "../../core/file-hints.ts";
import type { Connection } from "./connection.ts";
import { LOG } from "./ours.ts";

/** Looks start here after a change and slow down while nothing comes. */
const FIRST_MS = 2;
const BUSY_MS = 20;
const GROWTH = 1.15;
/** Where nothing has come for so long, looks are fewer; fewer still where the file system tells of writes. */
const QUIET_AFTER_MS = 1_000;
const QUIET_MS = 50;
const QUIET_HINTED_MS = 250;

/** Finds out when the log has grown. What others commit is seen in SQLite's counter of changes, without a lock. */
export class Watcher {
  readonly #connection: Connection;
  readonly #bell = new Bell();
  /** A commit writes the file itself, or in WAL mode the log beside it. */
  readonly #file: FileHints;
  readonly #wal: FileHints;
  #pauseMs = FIRST_MS;
  #quietSince = performance.now();

  constructor(connection: Connection) {
    this.#connection = connection;
    const written = () => {
      // One commit is many writes, and after the first of them looks are quick already.
      if (this.#pauseMs > FIRST_MS) this.#hurry();
    };
    this.#file = new FileHints(connection.path, written);
    this.#wal = new FileHints(`${connection.path}-wal`, written);
  }

  /** Resolves when the log holds an id beyond `seen()`, or the signal aborts. */
  async wait(seen: () => bigint, signal: AbortSignal): Promise<void> {
    const versionOf = this.#connection.db.prepare("PRAGMA data_version");
    let version: unknown;
    while (!signal.aborted) {
      // Of a file that was put in its place nothing is seen here.
      this.#connection.checkFile();
      // A commit between the two reads changes the version again: it is seen at the next look.
      const now = await this.#connection.peek(() => versionOf.get()?.data_version);
      if (now !== version) {
        version = now;
        const newest = await this.#connection.peek(() =>
          this.#connection.value(`SELECT max(id) FROM ${LOG}`),
        );
        if (typeof newest === "bigint" && newest > seen()) return this.#found();
      }
      await this.#bell.wait(this.#pauseMs, signal);
      this.#pauseMs = Math.min(this.#pauseMs * GROWTH, this.#slowestMs);
    }
  }

  close(): void {
    this.#file.close();
    this.#wal.close();
  }

  #hurry(): void {
    this.#pauseMs = FIRST_MS;
    this.#bell.ring();
  }

  #found(): void {
    this.#pauseMs = FIRST_MS;
    this.#quietSince = performance.now();
  }

  get #slowestMs(): number {
    if (performance.now() - this.#quietSince < QUIET_AFTER_MS) return BUSY_MS;
    return this.#file.reliable && this.#wal.reliableOrAbsent ? QUIET_HINTED_MS : QUIET_MS;
  }
}
