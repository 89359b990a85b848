/** What is held in memory before it goes to the target; a batch of any size passes through in runs of this. */
export interface RunBounds {
  readonly changes: number;
  /** Of messages: rows may be large, and decoded they take five times that. */
  readonly bytes: number;
  /** In place of these where a rule of the target has objected on the way; without them the same. */
  readonly second?: RunBounds;
}

/** Where a rule of the target has objected on the way: the more is applied together, the more holds at its end. */
export const SECOND_BOUNDS: RunBounds = { changes: 50_000, bytes: 8 * 1024 * 1024 };

/** More would not make the statements quicker. */
export const BOUNDS: RunBounds = { changes: 10_000, bytes: 512 * 1024, second: SECOND_BOUNDS };
