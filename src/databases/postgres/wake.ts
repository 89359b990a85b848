import { Bell, sleep } from "../../core/async.ts";
import type { Connection } from "./connection.ts";
import { WAKE_CHANNEL, WAKE_LOCK } from "./log-insert.ts";

/** While writers do not ring: looks after these pauses (ms), which add up to about 0.1 s. */
const LOOKS = [1, 1, 1, 1, 2, 2, 3, 5, 8, 13, 20, 20, 20];
/** After these: while an old transaction keeps the relay from taking the lock, and where it never may. */
const RESTLESS_MS = 20;
const DROWSY_MS = 50;
const QUIET_MS = 100;
const DROWSY_AFTER_MS = 1_000;
const QUIET_AFTER_MS = 10_000;
/** While writers ring: a look now and then, in case a connection in between has swallowed a notification. */
const SLEEP_MS = 5_000;
/** So many transactions a second may ring. */
const MOST_RINGING = 600;
/** And of the time so much may pass in commits that ring: they wait for each other, syncs and all. */
const MOST_COMMITTING = 0.6;
/** Having stopped them, the relay lets them ring again when they are so much fewer. */
const FEWER = 0.8;

/**
 * Waits for changes without costing the writers anything that could be felt.
 *
 * A writer's trigger tries to share the wake lock for the rest of its transaction; only when that
 * fails does it NOTIFY. So the relay decides who rings: while it holds the lock for itself, every writer
 * does, and a change is known as soon as it is committed. While it does not, nobody does, and the relay
 * looks. Commits that notify are made one after another, so the relay gives the lock up under load;
 * there it finds something whenever it looks.
 *
 * No wake-up is lost. Take any transaction that writes:
 * - It got the shared lock before the relay took it: then it has ended (locks are given up after the
 *   commit can be seen), so the look that follows sees its rows.
 * - It did not get it: then it notifies. The relay has been listening since before it took the
 *   lock, and a notification is delivered once the commit can be seen; one that comes while the relay
 *   does other things is remembered.
 * - It has not tried yet: it will, and is one of the two.
 * The order of writing the log row and trying the lock within the transaction does not matter.
 *
 * A transaction that has notified cannot be prepared (two-phase commit). So where the server
 * allows prepared transactions the relay never takes the lock: it looks at growing intervals instead.
 */
export class Waker {
  readonly #connection: Connection;
  readonly #hasChanges: () => Promise<boolean>;
  readonly #mayHold: boolean;
  #listening = false;
  #holding = false;
  /** Is the load such that every writer may ring? */
  #light = true;
  readonly #bell = new Bell();
  /** How many looks in a row found nothing. */
  #looks = 0;
  /** Since when nothing was found, for the pauses of a relay that may not hold the lock. */
  #quietSince = performance.now();

  constructor(connection: Connection, hasChanges: () => Promise<boolean>, mayHold: boolean) {
    this.#connection = connection;
    this.#hasChanges = hasChanges;
    this.#mayHold = mayHold;
    connection.onNotification(() => this.#bell.ring());
    connection.onLost(() => this.#bell.ring());
  }

  async wait(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#holding) return this.#untilRung(signal);
      if (await this.#look()) return this.#found();
      if (this.#holding) continue;
      await sleep(LOOKS[this.#looks] ?? this.#pause(), signal);
      this.#looks++;
    }
  }

  /**
   * What the load is: transactions a second, and how long a commit takes. Not to be called while a
   * transaction is open.
   */
  observe(transactions: number, commitMs: number): void {
    const share = this.#light ? 1 : FEWER;
    const committing = (transactions * commitMs) / 1000;
    this.#light = transactions < MOST_RINGING * share && committing < MOST_COMMITTING * share;
    if (this.#light || !this.#holding) return;
    this.#holding = false;
    // Nobody needs the answer: a session that is lost is told of by the next statement.
    void this.#connection.rows(`SELECT pg_advisory_unlock(${WAKE_LOCK})`).catch(() => {});
  }

  /** Are there changes? Takes the lock first, when that may be and no writer shares it. */
  async #look(): Promise<boolean> {
    const quiet = this.#looks >= LOOKS.length;
    if (!this.#mayHold || !(this.#light || quiet)) return this.#hasChanges();
    const connection = this.#connection;
    const [held, found] = await Promise.all(
      connection.together(() => [this.#tryLock(), this.#hasChanges()] as const),
    );
    this.#holding = held;
    return found;
  }

  async #tryLock(): Promise<boolean> {
    const listening = this.#listening || this.#connection.script(`LISTEN ${WAKE_CHANNEL}`);
    const locked = this.#connection.rows(`SELECT pg_try_advisory_lock(${WAKE_LOCK})`);
    const [[row]] = await Promise.all([locked, listening]);
    this.#listening = true;
    return row?.[0] === "t";
  }

  /** Also ends after a while: a cut then looks. */
  async #untilRung(signal: AbortSignal): Promise<void> {
    await this.#bell.wait(SLEEP_MS, signal);
    this.#found();
  }

  #found(): void {
    this.#quietSince = performance.now();
    this.#looks = 0;
  }

  #pause(): number {
    if (this.#mayHold) return RESTLESS_MS;
    const quietMs = performance.now() - this.#quietSince;
    if (quietMs > QUIET_AFTER_MS) return QUIET_MS;
    return quietMs > DROWSY_AFTER_MS ? DROWSY_MS : RESTLESS_MS;
  }
}
