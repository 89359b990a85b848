import { setTimeout as sleep } from "node:timers/promises";
import { WAKE_CHANNEL, WAKE_LOCK } from "./capture-sql.ts";
import type { Connection } from "./connection.ts";

/** Awake: looks after these pauses (ms), which add up to about 0.1 s, then falls asleep. */
const LOOKS = [1, 1, 1, 1, 2, 2, 3, 5, 8, 13, 20, 20, 20];
/** While an old transaction keeps the relay from sleeping, and where it may not sleep at all. */
const RESTLESS_MS = 20;
const DROWSY_MS = 50;
const QUIET_MS = 100;
const DROWSY_AFTER_MS = 1_000;
const QUIET_AFTER_MS = 10_000;
/** Asleep: a look now and then, in case a connection in between has swallowed a notification. */
const SLEEP_MS = 5_000;

/**
 * Waits for changes without costing the writers anything.
 *
 * A writer's trigger tries to share the wake lock for the rest of its transaction; only when that
 * fails does it NOTIFY. The relay takes the lock for itself only to sleep, then looks once more.
 * No wake-up is lost. Take any transaction that writes:
 * - It got the shared lock before the relay took it: then it has ended (locks are given up after the
 *   commit can be seen), so the look that follows sees its rows.
 * - It did not get it: then it notifies. The relay has been listening since before it took the
 *   lock, and a notification is delivered once the commit can be seen, so the relay wakes.
 * - It has not tried yet: it will, and is one of the two.
 * The order of writing the log row and trying the lock within the transaction does not matter.
 *
 * A transaction that has notified cannot be prepared (two-phase commit). So where the server
 * allows prepared transactions the relay never takes the lock: it looks at growing intervals instead.
 */
export class Waker {
  readonly #connection: Connection;
  readonly #hasChanges: () => Promise<boolean>;
  readonly #maySleep: boolean;
  #listening = false;
  #wake: (() => void) | null = null;
  /** How many looks in a row found nothing; kept between calls, so that an idle relay stays asleep. */
  #looks = 0;
  /** Since when nothing was found, for the pauses of a relay that may not sleep. */
  #quietSince = Date.now();

  constructor(connection: Connection, hasChanges: () => Promise<boolean>, maySleep: boolean) {
    this.#connection = connection;
    this.#hasChanges = hasChanges;
    this.#maySleep = maySleep;
    connection.onNotification(() => this.#wake?.());
    connection.onLost(() => this.#wake?.());
  }

  async wait(signal: AbortSignal): Promise<void> {
    while (this.#looks < LOOKS.length) {
      if (await this.#look(LOOKS[this.#looks++] as number, signal)) return;
    }
    for (;;) {
      const slept = this.#maySleep && (await this.#sleep(signal));
      if (slept || (await this.#look(this.#pause(), signal))) return;
    }
  }

  /** True when there is something to do: changes, or an abort. */
  async #look(pauseMs: number, signal: AbortSignal): Promise<boolean> {
    await pauseFor(pauseMs, signal);
    if (signal.aborted) return true;
    if (!(await this.#hasChanges())) return false;
    this.#found();
    return true;
  }

  #found(): void {
    this.#quietSince = Date.now();
    this.#looks = 0;
  }

  #pause(): number {
    if (this.#maySleep) return RESTLESS_MS;
    const quietMs = Date.now() - this.#quietSince;
    if (quietMs > QUIET_AFTER_MS) return QUIET_MS;
    return quietMs > DROWSY_AFTER_MS ? DROWSY_MS : RESTLESS_MS;
  }

  /** False when a writer is at work and holds the lock: stay awake. */
  async #sleep(signal: AbortSignal): Promise<boolean> {
    if (!this.#listening) {
      await this.#connection.script(`LISTEN ${WAKE_CHANNEL}`);
      this.#listening = true;
    }
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    try {
      const [row] = await this.#connection.rows(`SELECT pg_try_advisory_lock(${WAKE_LOCK})`);
      if (row?.[0] !== "t") return false;
      try {
        for (;;) {
          if (signal.aborted) return true;
          if ((await this.#hasChanges()) || (await wakesWithin(woken, SLEEP_MS, signal))) {
            if (!signal.aborted) this.#found();
            return true;
          }
        }
      } finally {
        if (!this.#connection.lost) {
          await this.#connection.rows(`SELECT pg_advisory_unlock(${WAKE_LOCK})`);
        }
      }
    } finally {
      this.#wake = null;
    }
  }
}

async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function wakesWithin(
  woken: Promise<void>,
  ms: number,
  signal: AbortSignal,
): Promise<boolean> {
  const stop = new AbortController();
  try {
    return await Promise.race([
      woken.then(() => true),
      pauseFor(ms, AbortSignal.any([signal, stop.signal])).then(() => signal.aborted),
    ]);
  } finally {
    stop.abort();
  }
}
