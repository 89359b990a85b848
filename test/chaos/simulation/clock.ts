import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import type { Random } from "../../support/random.ts";

interface Timer {
  readonly at: number;
  /** Among timers of one time the order is chance's. */
  readonly order: number;
  run: (() => void) | null;
}

const START = Date.UTC(2026, 0, 1);
const setRealImmediate = globalThis.setImmediate;
/** Runs whatever waits for promises, until nothing does: what ends each turn of the event loop, without the turn. */
const settle = (process as unknown as { readonly _tickCallback: () => void })._tickCallback;
const RealDate = globalThis.Date;

/**
 * Time and chance of one simulated world. Once installed, timers, dates and random numbers of this
 * process are those of the world: nothing happens between two timers but what the first has set going, so
 * one seed is one run. For a process of its own.
 */
export class SimulatedClock {
  /** Milliseconds since the world began. */
  now = 0;
  readonly #random: Random;
  readonly #heap: Timer[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  install(): void {
    const clock = this;
    const random = this.#random.fork();
    const globals = globalThis as unknown as Record<string, unknown>;
    globals.setTimeout = (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
      clock.after(ms, () => run(...args));
    globals.clearTimeout = (timer?: Timer | null) => {
      if (timer) timer.run = null;
    };
    globals.Date = class extends RealDate {
      constructor(...args: []) {
        if (args.length === 0) super(START + clock.now);
        else super(...args);
      }
      static override now(): number {
        return START + Math.floor(clock.now);
      }
    };
    performance.now = () => clock.now;
    Math.random = () => random.unit();
    crypto.randomUUID = () => {
      const digits = (count: number) => {
        let text = "";
        for (let i = 0; i < count; i++) text += random.between(0, 15).toString(16);
        return text;
      };
      return `${digits(8)}-${digits(4)}-${digits(4)}-${digits(4)}-${digits(12)}`;
    };
    syncBuiltinESMExports();
  }

  after(ms: number, run: () => void): Timer {
    const timer: Timer = { at: this.now + Math.max(0, ms), order: this.#random.unit(), run };
    this.#push(timer);
    return timer;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Lets time pass until it holds, or `untilMs`. Gives whether it holds. */
  run(holds: () => boolean, untilMs: number): Promise<boolean> {
    // From a turn of its own: nothing settles while something that has settled runs.
    return new Promise((resolve, reject) => {
      setRealImmediate(() => {
        try {
          resolve(this.#run(holds, untilMs));
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  #run(holds: () => boolean, untilMs: number): boolean {
    for (;;) {
      // Whatever the last timer has set going runs to its end.
      settle();
      if (holds()) return true;
      const timer = this.#next();
      if (timer === null || timer.at > untilMs) return false;
      this.#pop();
      this.now = timer.at;
      timer.run?.();
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(timer, heap[parent] as Timer)) break;
      heap[at] = heap[parent] as Timer;
      at = parent;
    }
    heap[at] = timer;
  }

  /** The next timer that was not cleared. */
  #next(): Timer | null {
    for (;;) {
      const [first] = this.#heap;
      if (first === undefined) return null;
      if (first.run !== null) return first;
      this.#pop();
    }
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last !== undefined && this.#heap.length > 0) this.#sink(last);
  }

  #sink(timer: Timer): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      if (left === undefined) break;
      if (right !== undefined && isBefore(right, left)) child++;
      const smaller = heap[child] as Timer;
      if (!isBefore(smaller, timer)) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = timer;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
