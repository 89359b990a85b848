/** Below what status takes for the silence of a process that is gone. */
const QUIET_EVERY_MS = 4_000;
const BRISK_EVERY_MS = 1_000;
const QUIET_AFTER_MS = 5_000;
/** Who is at work is heard of within that time, whatever it is at. */
export const HEARD_WITHIN_MS = 7_000;

/**
 * How often a worker looks after its affairs and tells that it lives: each second while something moves,
 * less often once nothing has moved for a while, so that an idle pipeline costs next to nothing.
 */
export class Pace {
  #movedAt = performance.now();

  moved(): void {
    this.#movedAt = performance.now();
  }

  /** So long nobody may be silent: with the time that it takes to look, below {@link HEARD_WITHIN_MS}. */
  static readonly longestMs = QUIET_EVERY_MS;

  get everyMs(): number {
    return performance.now() - this.#movedAt < QUIET_AFTER_MS ? BRISK_EVERY_MS : QUIET_EVERY_MS;
  }
}
