import type { ChangesPage } from "../core/row-lines.ts";

const LEAST_MS = 2;
const MOST_MS = 20;
/** So many transactions a second (or, where the source cannot tell them, changes) are load. */
const BUSY_TRANSACTIONS = 600;
const BUSY_CHANGES = 2_400;
/** By the rate alone one millisecond is lingered at so many transactions a second, and with its square more. */
const ONE_MS_AT = 750;
/** So many overtaken transactions at each cut, on average, are writers that crowd each other. */
const CROWDED = 0.1;
/** What is lingered, from cut to cut: while they crowd, and while they do not. */
const GROWTH = 1.2;
const EASING = 0.9;
/** The rate is that of about so long: a few transactions that happen to come together are no load. */
const WINDOW_MS = 250;
/** More need not be counted: a backlog may hold millions. */
const MOST_COUNTED = 1_000;

/**
 * How long changes may gather before the next cut. None while little happens: a change leaves at
 * once. Under load a little, or much: each cut costs the source a commit and the target another, and
 * tiny batches were measured to take half of the throughput of a source that has no processor to spare. Whether
 * it has cannot be asked. But where it has, transactions are over before the next ones end, and where it has not
 * they stand in line and overtake each other: as long as they do, more and more is lingered.
 *
 * Load is a rate. By the size of batches it could not be told: those grow by lingering itself, and
 * a source of 300 transactions a second, once lingered for, would have been so for good.
 */
export class Linger {
  readonly #now: () => number;
  #ms = 0;
  #changes = 0;
  readonly #transactions = new Set<string>();
  #since: number;
  #changeRate = 0;
  #transactionRate = 0;
  /** At a cut, on average. */
  #overtaken = 0;

  /** `now`: a clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#since = now();
  }

  /** Passes pages on and counts what they hold. */
  async *count(pages: AsyncIterable<ChangesPage>): AsyncGenerator<ChangesPage> {
    for await (const page of pages) {
      this.#changes += "bytes" in page ? page.rows : page.length;
      this.#countTransactions(page);
      yield page;
    }
  }

  /** A second, as of the last {@link next}. */
  get transactions(): number {
    return this.#transactionRate;
  }

  /**
   * Milliseconds to wait now, by what was counted since the last call and shortly before. `overtaken`: that of
   * the cut; where the source cannot tell, one is taken, and so its writers to crowd.
   */
  next(overtaken = 1): number {
    this.#takeRates(overtaken);
    const byRate = (this.#transactionRate / ONE_MS_AT) ** 2;
    const byCrowd = this.#ms * (this.#overtaken >= CROWDED ? GROWTH : EASING);
    this.#ms = this.#isBusy ? Math.min(MOST_MS, Math.max(LEAST_MS, byRate, byCrowd)) : 0;
    return this.#ms;
  }

  get #isBusy(): boolean {
    return this.#transactionRate > 0
      ? this.#transactionRate >= BUSY_TRANSACTIONS
      : this.#changeRate >= BUSY_CHANGES;
  }

  /** By name: in a log, transactions that ran side by side lie between each other. */
  #countTransactions(page: ChangesPage): void {
    if (this.#transactions.size >= MOST_COUNTED) return;
    let last: string | null = null;
    const counted = "bytes" in page ? [page.insertedBy ?? { transaction: null }] : page;
    for (const { transaction } of counted) {
      if (transaction !== null && transaction !== last) this.#transactions.add(transaction);
      last = transaction;
    }
  }

  #takeRates(overtaken: number): void {
    const now = this.#now();
    const elapsed = Math.max(now - this.#since, 0.1);
    const kept = Math.exp(-elapsed / WINDOW_MS);
    const rate = (count: number) => ((1 - kept) * count * 1000) / elapsed;
    this.#changeRate = kept * this.#changeRate + rate(this.#changes);
    this.#transactionRate = kept * this.#transactionRate + rate(this.#transactions.size);
    this.#overtaken = kept * this.#overtaken + (1 - kept) * overtaken;
    this.#since = now;
    this.#changes = 0;
    this.#transactions.clear();
  }
}
