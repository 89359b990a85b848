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
    const { documents, source, logger } = this.#options;
    const followers = found?.timeline === own.timeline ? [] : await this.#followers(own.timeline);
    const watched = [...(isRival(found, own) ? [this.#key] : []), ...followers.map(keys.applier)];
    if (watched.length === 0) return;
    logger.warn(
      { source, other: found === null ? null : placeOf(found), syncs: followers },
      "another database had this name in the queue: waiting to see whether it still has",
    );
    const read = () => Promise.all(watched.map((key) => documents.read(key)));
    const before = await read();
    let copy: ClaimDocument | null = null;
    for (const begun = performance.now(); performance.now() - begun < SILENCE_MS; ) {
      await sleep(LOOK_MS, signal);
      if (signal.aborted) return;
      for (const [at, { value, revision }] of (await read()).entries()) {
        if (revision === before[at]?.revision) continue;
        if (watched[at] === this.#key) {
          const claim = value as ClaimDocument | null;
          // Something has changed: all is to be looked at anew.
          if (!isRival(claim, own)) return;
          if (claim.timeline !== own.timeline) throw this.#taken(placeOf(claim));
          copy = claim;
        } else if (value !== null && !hasEnded(value as SyncStatus)) {
          throw this.#taken(`a database that ${(value as SyncStatus).name} reads`);
        }
      }
    }
    // One whose database has moved finds out and waits; one that has gone on all the time has a database of its own.
    if (copy !== null) throw this.#taken(placeOf(copy));
  }

  #taken(other: string): TidemarkError {
    const { source, database } = this.#options;
    return nameTaken(source, { own: database, other });
  }

  /** Syncs of another config that have followed another history under this name, and did not say that they have ended. */
  async #followers(timeline: string): Promise<readonly string[]> {
    const { documents, source, syncs } = this.#options;
    const notices = [...(await documents.list(keys.allProgress)).values()] as (Notice | null)[];
    const names = notices
      .filter((notice) => notice?.source === source && notice.timeline !== timeline)
      .flatMap((notice) => (notice === null || syncs.has(notice.sync) ? [] : [notice.sync]));
    const statuses = await Promise.all(names.map((sync) => documents.get(keys.applier(sync))));
    return names.filter((_, at) => !hasEnded(statuses[at] as SyncStatus | null));
  }
}

function hasEnded(status: SyncStatus | null): boolean {
  return status?.state === "stopped";
}

function placeOf({ database, timeline }: ClaimDocument): string {
  return database ?? `a database of timeline ${timeline}`;
}

/**
 * May it be that a relay with this claim has to give way first? Of one history, who holds the lease of the source goes on
 * where another relay has ended or waits.
 */
function isRival(claim: ClaimDocument | null, own: ClaimDocument): claim is ClaimDocument {
  if (claim === null || claim.state === "left") return false;
  return claim.timeline !== own.timeline || (claim.state === "held" && !isSameSource(claim, own));
}

/** A database that cannot tell which it is goes by its history alone. */
function isSameSource(one: ClaimDocument, other: ClaimDocument): boolean {
  if (one.timeline !== other.timeline) return false;
  return one.identity === null || other.identity === null || one.identity === other.identity;
}
