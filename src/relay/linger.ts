import type { Change } from "../core/change.ts";

const FIRST_MS = 2;
const MOST_MS = 20;
/** A batch of so many transactions (or, where the source cannot tell them, changes) is a sign of load. */
const BUSY_TRANSACTIONS = 4;
const BUSY_CHANGES = 16;

/**
 * How long changes may gather before the next cut. None while little happens: a change leaves at
 * once. Under load longer and longer: each cut costs the source a commit and the target another, and
 * tiny batches were measured to take half of the source's throughput.
 */
export class Linger {
  #ms = 0;
  #changes = 0;
  #transactions = 0;
  #last: string | null = null;

  /** Passes pages on and counts what they hold. */
  async *count(pages: AsyncIterable<readonly Change[]>): AsyncGenerator<readonly Change[]> {
    for await (const page of pages) {
      this.#changes += page.length;
      for (const { transaction } of page) {
        if (transaction !== null && transaction !== this.#last) this.#transactions++;
        this.#last = transaction;
      }
      yield page;
    }
  }

  /** Milliseconds to wait now, by what was counted since the last call. */
  next(): number {
    const counted = this.#transactions > 0 ? this.#transactions : this.#changes;
    const enough = this.#transactions > 0 ? BUSY_TRANSACTIONS : BUSY_CHANGES;
    this.#ms = counted < enough ? 0 : Math.min(MOST_MS, Math.max(FIRST_MS, this.#ms * 2));
    this.#changes = 0;
    this.#transactions = 0;
    return this.#ms;
  }
}
