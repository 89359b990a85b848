import { comparePositions, type Position } from "../core/position.ts";

/** So long a sync may stand still before a full queue goes on without it. */
const PATIENCE_MS = 30_000;
/** The patience is doubled each time so often: who needs longer for what it holds must get there once. */
const MAX_DOUBLINGS = 10;

/** A sync, and what it has surely read of the stream. */
export interface Reader {
  readonly sync: string;
  readonly place: Position;
}

/**
 * Syncs that the queue keeps nothing for. It was full of what they did not read while others waited for more; what
 * they miss they ask for, and get from the change log. Outlives the relay's sessions.
 */
export class LeftBehind {
  /** Since when those that are behind have stood where they are, by this process's own clock. */
  readonly #still = new Map<string, { readonly place: Position; readonly since: number }>();
  readonly #left = new Map<string, Position>();
  readonly #times = new Map<string, number>();

  /** Until it moves, or asks for what it misses. */
  has({ sync, place }: Reader): boolean {
    const left = this.#left.get(sync);
    return left !== undefined && comparePositions(left, place) === 0;
  }

  /**
   * To be asked again and again while the queue is full. `end`: where the stream ended before what finds no room.
   * Gives the syncs that are left behind from now on: none while all have something to read.
   */
  judge(readers: readonly Reader[], end: Position): readonly string[] {
    const present = readers.filter((reader) => !this.has(reader));
    const behind = present.filter(({ place }) => comparePositions(place, end) < 0);
    const still = behind.filter((reader) => this.#standsStill(reader));
    if (behind.length === present.length) return [];
    for (const { sync, place } of still) {
      this.#left.set(sync, place);
      this.#times.set(sync, (this.#times.get(sync) ?? 0) + 1);
      this.#still.delete(sync);
    }
    return still.map(({ sync }) => sync);
  }

  /** The queue has room: nobody stands in the way. */
  roomFound(): void {
    this.#still.clear();
  }

  /** It is there, and is sent what it misses. */
  returned(sync: string): void {
    this.#left.delete(sync);
    this.#still.delete(sync);
  }

  /** It has all there is: the next time it stands still it is as good as new. */
  caughtUp(sync: string): void {
    this.#times.delete(sync);
  }

  #standsStill({ sync, place }: Reader): boolean {
    const now = performance.now();
    const known = this.#still.get(sync);
    if (known === undefined || comparePositions(known.place, place) !== 0) {
      this.#still.set(sync, { place, since: now });
      return false;
    }
    const doublings = Math.min(this.#times.get(sync) ?? 0, MAX_DOUBLINGS);
    return now - known.since >= PATIENCE_MS * 2 ** doublings;
  }
}
