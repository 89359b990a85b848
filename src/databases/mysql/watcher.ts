import { sleep } from "../../core/async.ts";
import type { Session } from "./connection.ts";
import { within } from "./log-rows.ts";
import { LOG } from "./ours.ts";
import type { SeenIds } from "./unseen.ts";

/** Looks come this fast after a change and slow down as it stays quiet, so that quiet costs little. */
const FASTEST_MS = 2;
const SLOWEST_MS = 120;
/** Quiet for so long: the server is left to look by itself. */
const QUIET_MS = 1_000;
const SERVER_STEP_MS = 80;
const SERVER_STEPS = 10;
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

  /** Resolves when a row stands in the log that no batch holds, or when the signal aborts. */
  async wait(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<false>((resolve) => {
      signal.addEventListener("abort", () => resolve(false), { once: true });
    });
    while (!signal.aborted) {
      const quiet = performance.now() - this.#lastChangeAt;
      const startedAt = performance.now();
      const turns = Math.max(1, Math.ceil(this.#seen.gaps.length / GAPS_AT_ONCE));
      const inServer = this.#session.flavour.anonymousBlocks && quiet > QUIET_MS && turns === 1;
      if (await Promise.race([this.#look(inServer), aborted])) {
        this.#lastChangeAt = performance.now();
        return;
      }
      if (inServer) continue;
      // Over many rows of a transaction that is still open a look takes long: then look less often.
      const cost = performance.now() - startedAt;
      const pause = Math.max(FASTEST_MS, Math.min(SLOWEST_MS / turns, quiet / 20), 4 * cost);
      await sleep(pause, signal);
    }
  }

  #look(inServer: boolean): Promise<boolean> {
    this.#looking ??= this.#ask(inServer).finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #ask(inServer: boolean): Promise<boolean> {
    const condition = this.#condition();
    const answer = inServer
      ? await this.#session.blockValue(serverLoop(condition))
      : await this.#session.value(`SELECT ${condition}`);
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

/** Each statement of the block is a transaction of its own and so sees what has been committed by then. */
function serverLoop(condition: string): string {
  return `BEGIN NOT ATOMIC
    DECLARE step INT DEFAULT 0;
    DECLARE found INT DEFAULT 0;
    look: WHILE step < ${SERVER_STEPS} DO
      SET found = (SELECT ${condition});
      IF found THEN LEAVE look; END IF;
      DO SLEEP(${SERVER_STEP_MS / 1000});
      SET step = step + 1;
    END WHILE;
    SELECT found;
  END`;
}
