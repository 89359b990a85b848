/** So many times as long as it took it rests. */
const PAUSES = 5;

/** Does something now and then that takes long where much is to be looked at: with thousands of tables the catalog is slow. */
export class Throttle {
  #doneAt = Number.NEGATIVE_INFINITY;
  #tookMs = 0;

  /** Not again before so much time has passed, nor for more than a sixth of it; with 0, now. */
  async every(ms: number, work: () => Promise<void>): Promise<void> {
    const startedAt = performance.now();
    const pauseMs = ms === 0 ? 0 : Math.max(ms, this.#tookMs * PAUSES);
    if (startedAt - this.#doneAt < pauseMs) return;
    await work();
    this.#doneAt = performance.now();
    this.#tookMs = this.#doneAt - startedAt;
  }
}
