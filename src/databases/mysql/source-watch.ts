import { sleep } from "../../core/async.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { isTidemarkError, type TidemarkError } from "../../core/errors.ts";
import { Session } from "./connection.ts";
import { grantsOf } from "./grants.ts";
import { replicaNotes } from "./replica.ts";
import { lostRights } from "./trigger-rights.ts";

const LOOK_EVERY_MS = 15_000;

/**
 * What nothing else would tell before the next start, as the relay goes on reading its log. Has the server become a
 * replica? After a failover the old primary follows the new one, and what arrives so fires no trigger. Has the account
 * lost a right that our triggers need? Then writes of the application fail. In a session of its own, which nobody waits for:
 * the server lets the question wait while its replication is being stopped; and new each time, as sessions that are open do
 * not hear of a right that is revoked.
 */
export class SourceWatch {
  readonly #options: DatabaseOptions;
  readonly #closing = new AbortController();
  #session: Session | null = null;
  #told: readonly string[];
  /** As of the last look; null before the first. */
  #grants: string | null = null;
  #lost: readonly string[] = [];

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
        if (isTidemarkError(error, "TM-AUTH-FAILED")) this.#tell([lockedOut(error)]);
        else if (isTidemarkError(error, "TM-GRANT-MISSING")) this.#tell([shutOut(error)]);
        // It takes part in nothing: a server that is away is told by those that do.
        else logger.debug({ err: error }, "the source could not be looked at");
      }
    }
  }

  async #look(): Promise<void> {
    const session = await Session.open(this.#options, { isolation: "READ COMMITTED" });
    this.#session = session;
    try {
      if (this.#closing.signal.aborted) return;
      const notes = [...(await replicaNotes(session)), ...(await this.#lostRights(session))];
      this.#tell(notes);
    } finally {
      this.#session = null;
      // Not cut off, where it answers: servers write each such end into their log.
      await session.close();
    }
  }

  #tell(notes: readonly string[]): void {
    for (const note of notes) {
      if (!this.#told.includes(note)) this.#options.logger.warn({}, note);
    }
    this.#told = notes;
  }

  /** Each with its mending. Looked for where the grants are not what they were: there may be thousands of tables. */
  async #lostRights(session: Session): Promise<readonly string[]> {
    const grants = (await grantsOf(session)).join("\n");
    if (grants !== this.#grants || this.#lost.length > 0) {
      const found = await lostRights(session);
      this.#lost = found.map(({ message, fix }) => `${message} ${fix ?? ""}`.trimEnd());
    }
    this.#grants = grants;
    return this.#lost;
  }
}

/** Our sessions that are open go on all the same. */
function lockedOut({ message }: TidemarkError): string {
  return (
    `${message} Where the account was dropped, every write to captured tables fails (error 1449): make it again, with its rights, ` +
    "or give the URL another account and start tidemark run again, which makes the triggers its own."
  );
}

/** So is one that cannot even look. */
function shutOut({ message, fix = "" }: TidemarkError): string {
  return `${message} Our triggers run with the rights of this account: where they lack one, writes to captured tables fail. ${fix}`.trimEnd();
}
