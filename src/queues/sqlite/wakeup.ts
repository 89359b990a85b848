/**
 * Wakes whoever waits for something new in one queue file. Nothing is lost between looking and
 * waiting: a waiter says which version it looked at, and a later one ends the wait at once.
 */
export class Wakeup {
  #version = 0;
  readonly #waiters = new Set<() => void>();

  get version(): number {
    return this.#version;
  }

  get awaited(): boolean {
    return this.#waiters.size > 0;
  }

  signal(): void {
    this.#version++;
    for (const wake of [...this.#waiters]) wake();
  }

  /** Resolves once the version has passed `seen`, or the signal aborts. */
  wait(seen: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || this.#version !== seen) return resolve();
      const done = () => {
        this.#waiters.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiters.add(done);
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

export function announce(path: string): void {
  for (const wakeup of byFile.get(path) ?? []) wakeup.signal();
}
