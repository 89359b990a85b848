import { sleep } from "../../core/async.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { Session } from "./connection.ts";
import { replicaNotes } from "./replica.ts";

const LOOK_EVERY_MS = 15_000;

/**
 * Has the server become a replica? After a failover the old primary follows the new one, and what arrives so fires no
 * trigger: nothing else would tell before the next start. In a session of its own, which nobody waits for: the server
 * lets the question wait while its replication is being stopped.
 */
export class ReplicaWatch {
  readonly #options: DatabaseOptions;
  readonly #closing = new AbortController();
  #session: Session | null = null;
  #told: readonly string[];

  /** `told`: what the log says already. */
  constructor(options: DatabaseOptions, told: readonly string[]) {
    this.#options = options;
    this.#told = told;
    void this.#run();
  }

  /** As of the last look. */
  get told(): readonly string[] {
    return this.#told;
  }

  /** Leaves a question that is under way. */
  close(): void {
    this.#closing.abort();
    this.#session?.destroy();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { logger } = this.#options;
    for (;;) {
      await sleep(LOOK_EVERY_MS, signal);
      if (signal.aborted) return;
      try {
        await this.#look();
      } catch (error) {
        // It takes part in nothing: a server that is away is told by those that do.
        logger.debug({ err: error }, "whether the server is a replica could not be asked");
      }
    }
  }

  async #look(): Promise<void> {
    const session = await Session.open(this.#options, { isolation: "READ COMMITTED" });
    this.#session = session;
    try {
      if (this.#closing.signal.aborted) return;
      const notes = await replicaNotes(session);
      for (const note of notes) {
        if (!this.#told.includes(note)) this.#options.logger.warn({}, note);
      }
      this.#told = notes;
    } finally {
      this.#session = null;
      // Not cut off, where it answers: servers write each such end into their log.
      await session.close();
    }
  }
}
