/** How fast counters grow: per second, smoothed over some seconds so that the figure can be read. */
export class Rates {
  readonly #counters = new Map<string, { value: number; at: number; perSecond: number | null }>();

  /** Takes the counter's value now (`at` in milliseconds, monotonic); gives its rate, 0 at first. */
  update(name: string, value: number, at: number): number {
    const last = this.#counters.get(name);
    if (last === undefined || value < last.value) {
      this.#counters.set(name, { value, at, perSecond: null });
      return 0;
    }
    const seconds = (at - last.at) / 1000;
    if (seconds <= 0) return last.perSecond ?? 0;
    const now = (value - last.value) / seconds;
    const weight = last.perSecond === null ? 1 : 1 - Math.exp(-seconds / 3);
    const perSecond = (last.perSecond ?? 0) + weight * (now - (last.perSecond ?? 0));
    this.#counters.set(name, { value, at, perSecond });
    return perSecond;
  }
}
