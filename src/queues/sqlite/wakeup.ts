/** What a commit has written: the messages of a source, or documents. */
export type Topic = `messages of ${string}` | "documents";

export function messagesOf(source: string): Topic {
  return `messages of ${source}`;
}

/**
 * Wakes whoever waits for something new in one queue file. Nothing is lost between looking and
 * waiting: a waiter says which version of its topic it looked at, and a later one ends the wait at once.
 */
export class Wakeup {
  /** Of all topics together, and of each by itself. */
  #version = 0;
  readonly #versions = new Map<Topic, number>();
  readonly #waiters = new Map<() => void, Topic>();

  version(topic: Topic): number {
    return this.#version + (this.#versions.get(topic) ?? 0);
  }

  get awaited(): boolean {
    return this.#waiters.size > 0;
  }

  /** Null: nobody knows what was written. */
  signal(topics: ReadonlySet<Topic> | null): void {
    if (topics === null) this.#version++;
    for (const topic of topics ?? []) {
      this.#versions.set(topic, (this.#versions.get(topic) ?? 0) + 1);
    }
    for (const [wake, topic] of [...this.#waiters]) if (topics?.has(topic) ?? true) wake();
  }

  /** Resolves once the topic's version has passed `seen`, or the signal aborts. */
  wait(topic: Topic, seen: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || this.version(topic) !== seen) return resolve();
      const done = () => {
        this.#waiters.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiters.set(done, topic);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}

/** Every open connection of this process, by file: what one commits, the others see without polling. */
const byFile = new Map<string, Set<Wakeup>>();

export function register(path: string, wakeup: Wakeup): void {
  const set = byFile.get(path) ?? new Set();
  byFile.set(path, set.add(wakeup));
}

export function unregister(path: string, wakeup: Wakeup): void {
  const set = byFile.get(path);
  set?.delete(wakeup);
  if (set?.size === 0) byFile.delete(path);
}

export function announce(path: string, topics: ReadonlySet<Topic>): void {
  for (const wakeup of byFile.get(path) ?? []) wakeup.signal(topics);
}
