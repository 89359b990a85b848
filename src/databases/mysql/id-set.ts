/** Ids from `first` to `last`, both included. */
export type Run = readonly [first: number, last: number];

/**
 * A set of log ids as sorted, disjoint runs: a batch of a million rows is mostly one run. Ids are
 * JavaScript numbers: an AUTO_INCREMENT that passes 2^53 at 100,000 rows a second takes 2,800 years.
 */
export class IdSet {
  readonly #runs: [number, number][] = [];

  get runs(): readonly Run[] {
    return this.#runs;
  }

  get lowest(): number | null {
    return this.#runs[0]?.[0] ?? null;
  }

  get highest(): number | null {
    return this.#runs.at(-1)?.[1] ?? null;
  }

  get size(): number {
    return this.#runs.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  }

  has(id: number): boolean {
    const run = this.#runs[this.#indexAfter(id) - 1];
    return run !== undefined && id <= run[1];
  }

  add(id: number): void {
    this.addRun([id, id]);
  }

  /** Quick at the end, where almost all ids go; anywhere else still right. */
  addRun([first, last]: Run): void {
    const tail = this.#runs.at(-1);
    if (tail === undefined || first > tail[1] + 1) {
      this.#runs.push([first, last]);
      return;
    }
    if (first >= tail[0]) {
      tail[1] = Math.max(tail[1], last);
      return;
    }
    let from = this.#indexAfter(first);
    const before = this.#runs[from - 1];
    if (before !== undefined && before[1] >= first - 1) from--;
    let to = from;
    let merged: [number, number] = [first, last];
    for (
      let run = this.#runs[to];
      run !== undefined && run[0] <= last + 1;
      run = this.#runs[++to]
    ) {
      merged = [Math.min(merged[0], run[0]), Math.max(merged[1], run[1])];
    }
    this.#runs.splice(from, to - from, merged);
  }

  addAll(runs: readonly Run[]): void {
    for (const run of runs) this.addRun(run);
  }

  /** Forgets every id below `floor`. */
  dropBelow(floor: number): void {
    const index = this.#indexAfter(floor - 1);
    const before = this.#runs[index - 1];
    if (before !== undefined && before[1] >= floor) {
      before[0] = floor;
      this.#runs.splice(0, index - 1);
    } else {
      this.#runs.splice(0, index);
    }
  }

  /** The runs of ids from `from` to `to` that are not in the set. */
  gaps(from: number, to: number): Run[] {
    const gaps: Run[] = [];
    let next = from;
    for (const [first, last] of this.#runs) {
      if (last < next) continue;
      if (first > to) break;
      if (first > next) gaps.push([next, first - 1]);
      next = last + 1;
    }
    if (next <= to) gaps.push([next, to]);
    return gaps;
  }

  /** `1-5,7,9-12`. */
  toString(): string {
    return this.#runs
      .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
      .join(",");
  }

  static parse(text: string): IdSet {
    const set = new IdSet();
    for (const part of text === "" ? [] : text.split(",")) {
      const [first, last = first] = part.split("-").map(Number);
      if (first !== undefined && last !== undefined) set.addRun([first, last]);
    }
    return set;
  }

  /** Index of the first run that begins after `id`. */
  #indexAfter(id: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#runs[middle]?.[0] ?? 0) <= id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The ids of `runs` that are not in `without`; both sorted and disjoint. */
export function subtract(runs: readonly Run[], without: readonly Run[]): Run[] {
  const rest: Run[] = [];
  let index = 0;
  for (const [first, last] of runs) {
    let next = first;
    while ((without[index]?.[1] ?? Number.POSITIVE_INFINITY) < first) index++;
    for (let other = index; next <= last; other++) {
      const [from, to] = without[other] ?? [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
      if (from > last) break;
      if (from > next) rest.push([next, from - 1]);
      next = Math.max(next, to + 1);
    }
    if (next <= last) rest.push([next, last]);
  }
  return rest;
}

/**
 * Joins runs that at most `distance` ids part: for reading, where looking at a few ids too many is
 * cheaper than another descent into the index. The reader leaves out what it knows.
 */
export function joinNear(runs: readonly Run[], distance: number): Run[] {
  const joined: [number, number][] = [];
  for (const [first, last] of runs) {
    const tail = joined.at(-1);
    if (tail !== undefined && first - tail[1] - 1 <= distance) tail[1] = last;
    else joined.push([first, last]);
  }
  return joined;
}
