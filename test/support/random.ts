// Chance that can be repeated: everything random in a test comes from one seed, printed when it fails.
import { onTestFailed } from "vitest";

/** The seed of this test: TIDEMARK_SEED to repeat a run, else a new one. Printed when the test fails. */
export function testSeed(): number {
  const given = process.env.TIDEMARK_SEED;
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  onTestFailed(() => console.error(`repeat with TIDEMARK_SEED=${seed}`));
  return seed;
}

/** A stream of chance (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** Another stream, fixed by this one's seed. */
  fork(): Random {
    return new Random(Math.floor(this.unit() * 2 ** 32));
  }

  /** 0 up to but not 1. */
  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<const T>(items: readonly [T, ...T[]]): T {
    return items[this.between(0, items.length - 1)] ?? items[0];
  }
}
