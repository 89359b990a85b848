import { sleep } from "./async.ts";
import type { DatabaseOptions } from "./database.ts";
import { TidemarkError } from "./errors.ts";
import type { Logger } from "./log.ts";

/** So long after a move what is told of the server before it may be taken for all there is. */
const LOOK_EVERY_MS = 15_000;
/** Servers that answer one address in turn are not a move: so many connections in a row must reach the same other one. */
const AGREEING = 3;

/** Identity of what a fresh connection reaches, which the signal ends. */
export type WhoAnswers = (signal: AbortSignal) => Promise<string | null>;

export interface WatchedAddress {
  /** Name of the database. */
  readonly name: string;
  /** `identity()` of what the session was opened with; null: nothing can be compared. */
  readonly held: string | null;
  /** By the same URL. Absent where there is no server. */
  readonly whoAnswers: WhoAnswers | undefined;
  /** For tests; default {@link LOOK_EVERY_MS}. */
  readonly everyMs?: number | undefined;
  readonly logger: Logger;
  /** {@link AddressWatch.throwIfMoved} has something to throw. */
  readonly onMoved: () => void;
}

/**
 * Does the address still lead to the server that a long session is held with? A proxy, a virtual IP or a name may be led
 * to another one without ending what is established, and the server before it may live on: whoever works there would
 * never hear of what is written and read at the address. Such a session counts as lost.
 */
export class AddressWatch {
  readonly #address: WatchedAddress;
  readonly #closing = new AbortController();
  readonly #looking: Promise<void>;
  #moved: TidemarkError | null = null;

  constructor(address: WatchedAddress) {
    this.#address = address;
    this.#looking = this.#run();
  }

  /** Throws TM-CONNECTION-LOST. */
  throwIfMoved(): void {
    if (this.#moved !== null) throw this.#moved;
  }

  /** Ends a question that is under way: at an address where nobody answers the next session would wait for it. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#looking;
  }

  async #run(): Promise<void> {
    const { name, held, whoAnswers, everyMs = LOOK_EVERY_MS, onMoved } = this.#address;
    if (held === null || whoAnswers === undefined) return;
    const { signal } = this.#closing;
    for (;;) {
      await sleep(everyMs, signal);
      if (signal.aborted) return;
      if (!(await this.#isMoved(held, whoAnswers))) continue;
      this.#moved = movedTo(name);
      return onMoved();
    }
  }

  async #isMoved(held: string, whoAnswers: WhoAnswers): Promise<boolean> {
    const { signal } = this.#closing;
    try {
      const found = await whoAnswers(signal);
      if (found === null || found === held) return false;
      for (let agreeing = 1; agreeing < AGREEING; agreeing++) {
        if ((await whoAnswers(signal)) !== found) return false;
      }
      return true;
    } catch (error) {
      // A server that cannot be reached at the moment, or has no room for one more, has not moved.
      this.#address.logger.debug({ err: error }, "which server answers now could not be asked");
      return false;
    }
  }
}

/** Throws TM-CONNECTION-LOST where there is one database to work with, and this is another. */
export async function assertOnly(
  { name, only }: Pick<DatabaseOptions, "name" | "only">,
  identity: () => Promise<string | null>,
): Promise<void> {
  if (only === undefined) return;
  const found = await identity();
  if (found !== null && found !== only) throw movedTo(name);
}

function movedTo(database: string): TidemarkError {
  return new TidemarkError(
    "TM-CONNECTION-LOST",
    `The address of database "${database}" leads to another server than before: what was held with that one is given up.`,
  );
}
