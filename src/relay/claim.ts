import { sleep } from "../core/async.ts";
import { type ClaimDocument, keys, type Notice, type SyncStatus } from "../core/documents.ts";
import { isTidemarkError, TidemarkError, toTidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { Mutex } from "../core/mutex.ts";
import type { Documents } from "../core/queue.ts";
import { nameTaken } from "../core/same-source.ts";

export interface ClaimOptions {
  readonly source: string;
  /** Those of the config that read it. */
  readonly syncs: { has(sync: string): boolean };
  /** Where the config says that the source is; null where that is not known. */
  readonly database: string | null;
  readonly documents: Documents;
  readonly logger: Logger;
  /** {@link Claim.throwIfLost} has something to throw. */
  readonly onLost: () => void;
}

/** Which database a relay reads, and which history of it. */
export type Claimed = Pick<ClaimDocument, "timeline" | "identity">;

/** Whoever uses the name says so as often. */
const RENEW_MS = 4_000;
/** Whoever has said nothing for so long, by the clock of who looks on, is gone. */
const SILENCE_MS = 15_000;
const LOOK_MS = 500;

/**
 * The name of a source in the queue. Stream and documents are under it, so it is one database's at a time, whatever
 * the configs of others say (decision 0034). Outlives the relay's sessions: a source that is away does not give its
 * name up.
 */
export class Claim {
  readonly #options: ClaimOptions;
  readonly #key: string;
  readonly #mutex = new Mutex();
  /** What we have written last; null while the name is not known to be ours. */
  #own: ClaimDocument | null = null;
  #revision = 0;
  /** Was this history not in this queue when the name was taken, as far as that tells? */
  isNewHere = false;
  #lost: { readonly error: TidemarkError } | null = null;

  constructor(options: ClaimOptions) {
    this.#options = options;
    this.#key = keys.claim(options.source);
  }

  /** Does a relay work under this name, as far as the queue tells? Whoever has vanished is still said to. */
  async isHeld(): Promise<boolean> {
    const found = (await this.#options.documents.get(this.#key)) as ClaimDocument | null;
    return found?.state === "held";
  }

  /** False when the signal aborts before. Throws TM-NAME-TAKEN while the name is another's. */
  async take(claimed: Claimed, signal: AbortSignal): Promise<boolean> {
    const { documents, database } = this.#options;
    this.#own = null;
    this.#lost = null;
    const own: ClaimDocument = { ...claimed, database, state: "held" };
    this.isNewHere = false;
    while (!signal.aborted) {
      const { value, revision } = await documents.read(this.#key);
      await this.#refuseRivals(value as ClaimDocument | null, own, signal);
      if (signal.aborted) return false;
      try {
        await this.#mutex.run(async () => {
          this.#revision = await documents.replace(this.#key, own, revision);
          this.#own = own;
        });
        this.isNewHere = (value as ClaimDocument | null)?.timeline !== own.timeline;
        return true;
      } catch (error) {
        // Another one was quicker: is it a rival?
        if (!isTidemarkError(error, "TM-QUEUE-CONFLICT")) throw error;
      }
    }
    return false;
  }

  /** Says until the signal aborts that the name is in use, however long the relay is busy with other things. */
  async keep(signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(RENEW_MS, signal);
      if (signal.aborted) return;
      try {
        await this.prove();
      } catch (failure) {
        const error = toTidemarkError(failure);
        this.#options.logger.debug({ err: error }, "the source's name could not be claimed again");
      }
    }
  }

  /** Makes sure that the name is ours at this moment. Throws TM-QUEUE-CONFLICT when another one has it. */
  async prove(): Promise<void> {
    await this.#mutex.run(async () => {
      this.throwIfLost();
      const own = this.#own;
      if (own === null) return;
      try {
        this.#revision = await this.#options.documents.replace(this.#key, own, this.#revision);
      } catch (error) {
        if (!isTidemarkError(error, "TM-QUEUE-CONFLICT")) throw error;
        await this.#regain(own);
      }
    });
  }

  throwIfLost(): void {
    if (this.#lost !== null) throw this.#lost.error;
  }

  /** The session has ended, and another one is to come: the same source's other relays may go on meanwhile. */
  async wait(): Promise<void> {
    await this.#say("waiting");
  }

  /** The next one need not wait to find out that nobody is here any more. */
  async leave(): Promise<void> {
    await this.#say("left");
    this.#own = null;
  }

  /** Never throws: who looks on finds out in time. */
  async #say(state: ClaimDocument["state"]): Promise<void> {
    if (this.#own === null) return;
    this.#own = { ...this.#own, state };
    try {
      await this.prove();
    } catch (error) {
      this.#options.logger.debug({ err: toTidemarkError(error) }, "the claim could not be told");
    }
  }

  /** The queue may have lost it, or an answer; or it is another's by now. */
  async #regain(own: ClaimDocument): Promise<void> {
    const { documents, source, onLost } = this.#options;
    const { value, revision } = await documents.read(this.#key);
    const found = value as ClaimDocument | null;
    if (found === null || (own.state === "held" && isSameSource(found, own))) {
      this.#revision = await documents.replace(this.#key, own, revision);
      return;
    }
    this.#own = null;
    // Of who does not work it is nothing to be told of: another relay of the source may be at work.
    if (own.state !== "held") return;
    const message = `The name "${source}" in the queue has been taken by the relay of another database.`;
    this.#lost = { error: new TidemarkError("TM-QUEUE-CONFLICT", message) };
    onLost();
    throw this.#lost.error;
  }

  /** Waits to see whether those live who would have to give way. */
  async #refuseRivals(
    found: ClaimDocument | null,
    own: ClaimDocument,
    signal: AbortSignal,
  ): Promise<void> {
    const { documents, source, database, logger } = this.#options;
    // Who holds the lease of the source may go on where another relay of it has ended, or waits.
    const isHistory = found?.timeline === own.timeline;
    if (isHistory && (isSameSource(found, own) || found.state !== "held")) return;
    const suspects = new Map<string, string>();
    if (found !== null && found.state !== "left") {
      suspects.set(this.#key, found.database ?? `a database of timeline ${found.timeline}`);
    }
    const followers = isHistory ? [] : await this.#followers(own.timeline);
    for (const sync of followers) {
      suspects.set(keys.applier(sync), `a database that ${sync} reads`);
    }
    if (suspects.size === 0) return;
    const others = [...new Set(suspects.values())].join("; ");
    logger.warn(
      { source, others },
      "another database had this name in the queue: waiting to see whether it still has",
    );
    const alive = await firstRewritten(documents, [...suspects.keys()], signal);
    if (alive !== null)
      throw nameTaken(source, { own: database, other: suspects.get(alive) ?? "" });
  }

  /** Syncs of another config that have followed another history under this name, and did not say that they have ended. */
  async #followers(timeline: string): Promise<readonly string[]> {
    const { documents, source, syncs } = this.#options;
    const notices = [...(await documents.list(keys.allProgress)).values()] as (Notice | null)[];
    const names = notices
      .filter((notice) => notice?.source === source && notice.timeline !== timeline)
      .flatMap((notice) => (notice === null || syncs.has(notice.sync) ? [] : [notice.sync]));
    const statuses = await Promise.all(names.map((sync) => documents.get(keys.applier(sync))));
    return names.filter((_, at) => (statuses[at] as SyncStatus | null)?.state !== "stopped");
  }
}

/** A database that cannot tell which it is goes by its history alone. */
function isSameSource(one: ClaimDocument, other: ClaimDocument): boolean {
  if (one.timeline !== other.timeline) return false;
  return one.identity === null || other.identity === null || one.identity === other.identity;
}

/** Which of these documents is written again first; null when none is for as long as somebody who lives needs. */
async function firstRewritten(
  documents: Documents,
  watched: readonly string[],
  signal: AbortSignal,
): Promise<string | null> {
  const revisions = () =>
    Promise.all(watched.map(async (key) => (await documents.read(key)).revision));
  const before = await revisions();
  for (const begun = performance.now(); performance.now() - begun < SILENCE_MS; ) {
    await sleep(LOOK_MS, signal);
    if (signal.aborted) return null;
    const now = await revisions();
    const at = now.findIndex((revision, index) => revision !== before[index]);
    if (at >= 0) return watched[at] ?? null;
  }
  return null;
}
