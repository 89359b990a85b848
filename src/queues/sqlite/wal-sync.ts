import { closeSync, fdatasync, openSync } from "node:fs";
import { TidemarkError } from "../../core/errors.ts";

/**
 * Makes what was committed durable without holding up the event loop: syncs the WAL from a thread of
 * its own. One sync is under way at a time; those asked for meanwhile share the next.
 */
export class WalSync {
  readonly #path: string;
  readonly #file: number;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  /** `path`: of the WAL, which stands as long as a connection has the database open. */
  constructor(path: string) {
    this.#path = path;
    // SQLite keeps no lock on this file that closing it here would give up.
    this.#file = openSync(path, "r+");
  }

  /** Resolves when everything written before the call is on disk. */
  whole(): Promise<void> {
    if (this.#next !== null) return this.#next;
    if (this.#running === null) return this.#begin();
    // The one that runs may have begun before the last write.
    this.#next = this.#running.catch(() => {}).then(() => this.#begin());
    return this.#next;
  }

  /** Waits for the syncs under way: their number of the file must not become another file's. */
  async close(): Promise<void> {
    while (this.#running !== null) await this.#running.catch(() => {});
    closeSync(this.#file);
  }

  #begin(): Promise<void> {
    this.#next = null;
    this.#running = this.#sync().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  #sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#file, (error) => (error === null ? resolve() : reject(this.#failed(error))));
    });
  }

  #failed(cause: NodeJS.ErrnoException): TidemarkError {
    const details = { path: this.#path };
    return cause.code === "ENOSPC"
      ? new TidemarkError("TM-DISK-FULL", `No space left for ${this.#path}.`, {
          fix: "Free space on that disk, or lower `queue.maxSize`.",
          ...{ cause, details },
        })
      : new TidemarkError("TM-CONNECTION-LOST", `${this.#path} could not be synced to disk.`, {
          fix: "Look for errors of the disk; a network file system cannot hold a queue.",
          ...{ cause, details },
        });
  }
}
