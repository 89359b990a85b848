import { sleep } from "../../core/async.ts";
import type { Session } from "./connection.ts";
import { within } from "./log-rows.ts";
import { LOG } from "./ours.ts";
import type { SeenIds } from "./unseen.ts";

/** Looks come this fast after a change and slow down as it stays quiet, so that quiet costs little. */
const FASTEST_MS = 2;
const SLOW_MS = 80;
/** Quiet for a quarter of a minute. Each wake-up of an idle server costs far more than the look. */
const SLOWEST_MS = 200;
/** Quiet for so long: the server is left to look by itself. */
const QUIET_MS = 1_000;
const SERVER_TURN_MS = 1_000;
/** Gaps looked into at each look; more take turns. */
const GAPS_AT_ONCE = 300;

/**
 * Waits for the log to grow. There is nothing in these servers that a trigger could ring, so this
 * is polling of one index entry: every 2 ms while busy, and where the server can run a block, in
 * the server once it is quiet, which saves the round trips.
 */
export class Watcher {
  readonly #session: Session;
  readonly #seen: SeenIds;
  #lastChangeAt = performance.now();
  #turn = 0;
  /** A look that goes on in the server although its caller has left. */
  #looking: Promise<boolean> | null = null;

  constructor(session: Session, seen: SeenIds) {
    this.#session = session;
    this.#seen = seen;
  }

  /**
   * Resolves when a row stands in the log that no batch holds, or when the signal aborts. `expected`: a look before the next cut
   * would be one way to the server more, and that looks itself.
   */
  async wait(signal: AbortSignal, expected: boolean): Promise<void> {
    if (expected) {
      this.#lastChangeAt = performance.now();
      return sleep(FASTEST_MS, signal);
    }
    const aborted = new Promise<false>((resolve) => {
      signal.addEventListener("abort", () => resolve(false), { once: true });
    });
    while (!signal.aborted) {
      const quiet = performance.now() - this.#lastChangeAt;
      const startedAt = performance.now();
      const turns = Math.max(1, Math.ceil(this.#seen.gaps.length / GAPS_AT_ONCE));
      const inServer = this.#session.flavour.anonymousBlocks && quiet > QUIET_MS && turns === 1;
      const step = inServer ? slowStep(quiet) : null;
      if (await Promise.race([this.#look(step), aborted])) {
        this.#lastChangeAt = performance.now();
        return;
      }
      if (inServer) continue;
      // Over many rows of a transaction that is still open a look takes long: then look less often.
      const cost = performance.now() - startedAt;
      const pause = Math.max(FASTEST_MS, Math.min(slowStep(quiet) / turns, quiet / 20), 4 * cost);
      await sleep(pause, signal);
    }
  }

  /** `serverStep`: how far apart the server is to look by itself; null: one look. */
  #look(serverStep: number | null): Promise<boolean> {
    this.#looking ??= this.#ask(serverStep).finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #ask(serverStep: number | null): Promise<boolean> {
    const condition = this.#condition();
    const answer =
      serverStep === null
        ? await this.#session.value(`SELECT ${condition}`)
        : await this.#session.blockValue(serverLoop(condition, serverStep));
    return answer === "1";
  }

  /** Is there a row after the highest held id, or in one of the gaps whose turn it is? */
  #condition(): string {
    const { gaps, highest } = this.#seen;
    const start = this.#turn * GAPS_AT_ONCE;
    const places = gaps.slice(start, start + GAPS_AT_ONCE);
    this.#turn = start + GAPS_AT_ONCE < gaps.length ? this.#turn + 1 : 0;
    return [`id > ${highest}`, ...(places.length > 0 ? [within(places)] : [])]
      .map((where) => `EXISTS (SELECT 1 FROM ${LOG} FORCE INDEX (PRIMARY) WHERE ${where})`)
      .join(" OR ");
  }
}

function slowStep(quiet: number): number {
  return Math.min(SLOWEST_MS, Math.max(SLOW_MS, quiet / 75));
}

/** Each statement of the block is a transaction of its own and so sees what has been committed by then. */
function serverLoop(condition: string, stepMs: number): string {
  return `BEGIN NOT ATOMIC
    DECLARE step INT DEFAULT 0;
    DECLARE found INT DEFAULT 0;
    look: WHILE step < ${Math.floor(SERVER_TURN_MS / stepMs)} DO
      SET found = (SELECT ${condition});
      IF found THEN LEAVE look; END IF;
      DO SLEEP(${(stepMs / 1000).toFixed(3)});
      SET step = step + 1;
    END WHILE;
    SELECT found;
  END`;
}
