/** Resolves after `ms`, or at once when the signal aborts (it never rejects: the caller looks at the signal). */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** The longest that a timer of Node can be (24 days): what is longer would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Calls `run` once after `ms`, never where that is longer than a timer can be. The function given back takes it back. */
export function after(ms: number, run: () => void): () => void {
  if (ms > MAX_TIMER_MS) return () => {};
  const timer = setTimeout(run, Math.max(0, ms));
  return () => clearTimeout(timer);
}

/**
 * A flag that loops wait on: `ring` before `wait` is not lost, several rings are one.
 * One waiter at a time.
 */
export class Bell {
  #rung = false;
  #wake: (() => void) | null = null;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Ends a wait without counting as a ring. */
  cancel(): void {
    this.#wake?.();
  }

  /** Resolves at the next ring (or one since the last wait), after `ms`, or when the signal aborts. */
  wait(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        this.#wake = null;
        this.#rung = false;
        resolve();
      };
      let timer: NodeJS.Timeout | undefined;
      if (this.#rung || signal?.aborted) return done();
      timer = setTimeout(done, ms);
      this.#wake = done;
      signal?.addEventListener("abort", done, { once: true });
    });
  }
}

/** How far to read ahead: so many items, and no more than so much weight. */
export interface ReadAheadLimits<T> {
  readonly items: number;
  readonly weight: number;
  readonly weigh: (item: T) => number;
  /** While the consumer has an item of so much weight, none is read: until it asks for the next. */
  readonly alone?: number;
}

/**
 * Reads ahead of its consumer as far as the limits let it, so that producing and consuming overlap; one item at least,
 * unless the consumer is at one that is to be held alone.
 */
export class ReadAhead<T> {
  readonly #buffer: T[] = [];
  readonly #limits: ReadAheadLimits<T>;
  #weight = 0;
  /** Is the item taken last one to be read alone, and not done with? */
  #isAlone = false;
  readonly #space = new Bell();
  readonly #items = new Bell();
  #ended = false;
  #failure: { readonly error: unknown } | null = null;
  readonly #pump: Promise<void>;

  constructor(items: AsyncIterable<T>, depth: number | ReadAheadLimits<T>) {
    this.#limits =
      typeof depth === "number" ? { items: depth, weight: depth, weigh: () => 1 } : depth;
    this.#pump = this.#run(items);
  }

  get ready(): number {
    return this.#buffer.length;
  }

  get #full(): boolean {
    if (this.#isAlone) return true;
    return this.#buffer.length >= this.#limits.items || this.#weight >= this.#limits.weight;
  }

  /** The next item; null at the end. Throws what the producer threw, after the items before it. */
  async next(): Promise<T | null> {
    this.#putDown();
    for (;;) {
      const item = this.#buffer.shift();
      if (item !== undefined) {
        const weight = this.#limits.weigh(item);
        this.#weight -= weight;
        this.#isAlone = weight >= (this.#limits.alone ?? Number.POSITIVE_INFINITY);
        this.#space.ring();
        return item;
      }
      if (this.#failure !== null) throw this.#failure.error;
      if (this.#ended) return null;
      await this.#items.wait(60_000);
    }
  }

  /** Waits up to `ms` for something to take: an item, the end, or a failure. What was taken before is done with. */
  async available(ms: number): Promise<boolean> {
    this.#putDown();
    if (this.#buffer.length === 0 && !this.#ended) await this.#items.wait(ms);
    return this.#buffer.length > 0 || this.#ended;
  }

  /** Ends {@link available}, though there may be nothing to take. */
  wake(): void {
    this.#items.ring();
  }

  /** Stops the producer and waits until it has ended. */
  async close(): Promise<void> {
    this.#ended = true;
    this.#space.ring();
    await this.#pump;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (let item = await this.next(); item !== null; item = await this.next()) yield item;
    } finally {
      await this.close();
    }
  }

  #putDown(): void {
    if (!this.#isAlone) return;
    this.#isAlone = false;
    this.#space.ring();
  }

  async #run(items: AsyncIterable<T>): Promise<void> {
    try {
      for await (const item of items) {
        if (this.#ended) return;
        this.#buffer.push(item);
        this.#weight += this.#limits.weigh(item);
        this.#items.ring();
        while (this.#full && !this.#ended) await this.#space.wait(60_000);
        if (this.#ended) return;
      }
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#ended = true;
      this.#items.ring();
    }
  }
}

/** Items of several iterables as each comes. `leave` makes those end that still wait for one. */
export async function* merge<T>(
  iterables: readonly AsyncGenerator<T>[],
  leave: () => void,
): AsyncGenerator<T> {
  // What has come, in the order in which it came. A race of all that is awaited would keep, for each item of one, a
  // note at the others for as long as nothing comes of them.
  const arrived: Step<T>[] = [];
  let wake = () => {};
  const pending = new Map<AsyncGenerator<T>, Promise<void>>();
  const step = (items: AsyncGenerator<T>) => {
    const settle = (outcome: Step<T>["outcome"]) => {
      arrived.push({ items, outcome });
      wake();
    };
    pending.set(
      items,
      items.next().then(
        (result) => settle(() => result),
        (error: unknown) =>
          settle(() => {
            throw error;
          }),
      ),
    );
  };
  for (const items of iterables) step(items);
  try {
    while (pending.size > 0) {
      const next = arrived.shift();
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const result = next.outcome();
      if (result.done) {
        pending.delete(next.items);
      } else {
        step(next.items);
        yield result.value;
      }
    }
  } finally {
    leave();
    await Promise.all(pending.values());
    await Promise.all([...pending.keys()].map((items) => items.return(undefined)));
  }
}

interface Step<T> {
  readonly items: AsyncGenerator<T>;
  /** Throws what it threw. */
  readonly outcome: () => IteratorResult<T, unknown>;
}

/** Delays for attempt 0, 1, 2 …: 50 ms doubling to 5 s, with jitter so that several retriers part ways. */
export function backoff(attempt: number): number {
  const base = Math.min(5_000, 50 * 2 ** Math.min(attempt, 10));
  return base * (0.5 + Math.random() / 2);
}
