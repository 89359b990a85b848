import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { Bell, merge, ReadAhead, sleep } from "./async.ts";

describe("bell", () => {
  it("keeps a ring that comes before the wait", async () => {
    const bell = new Bell();
    bell.ring();
    await bell.wait(60_000);
  });

  it("makes several rings one", async () => {
    const bell = new Bell();
    bell.ring();
    bell.ring();
    await bell.wait(60_000);
    const second = await Promise.race([bell.wait(60_000), sleep(5).then(() => "still waiting")]);
    expect(second).toBe("still waiting");
    bell.cancel();
  });

  it("ends with the signal", async () => {
    const stop = new AbortController();
    const waiting = new Bell().wait(60_000, stop.signal);
    stop.abort();
    await waiting;
  });
});

describe("read ahead", () => {
  async function* numbers(count: number, made: number[] = []) {
    for (let number = 0; number < count; number++) {
      made.push(number);
      yield number;
    }
  }

  it("gives everything in order", async () => {
    const seen: number[] = [];
    for await (const number of new ReadAhead(numbers(100), 3)) seen.push(number);
    expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => index));
  });

  it("reads no further ahead than its depth", async () => {
    const made: number[] = [];
    const ahead = new ReadAhead(numbers(100, made), 3);
    await ahead.available(60_000);
    await sleep(5);
    expect(made.length).toBeLessThanOrEqual(4);
    await ahead.close();
  });

  it("passes on an error after the items before it", async () => {
    async function* failing() {
      yield 1;
      throw new TypeError("broken");
    }
    const ahead = new ReadAhead(failing(), 3);
    expect(await ahead.next()).toBe(1);
    await expect(ahead.next()).rejects.toThrow("broken");
  });

  it("ends its producer when the consumer leaves", async () => {
    let ended = false;
    async function* endless() {
      try {
        for (;;) yield 1;
      } finally {
        ended = true;
      }
    }
    for await (const _ of new ReadAhead(endless(), 3)) break;
    expect(ended).toBe(true);
  });
});

describe("read ahead of an item to be held alone", () => {
  it("reads the next only when it is asked for", async () => {
    const made: number[] = [];
    const weights = async function* () {
      for (const weight of [1, 10, 1]) {
        made.push(weight);
        yield weight;
      }
    };
    const limits = { items: 4, weight: 10, weigh: (weight: number) => weight, alone: 10 };
    const ahead = new ReadAhead(weights(), limits);
    await ahead.next();
    expect(await ahead.next()).toBe(10);
    // All that could go on without us has.
    await sleep(0);
    expect(made).toEqual([1, 10]);
    expect(await ahead.available(60_000)).toBe(true);
    expect(made).toEqual([1, 10, 1]);
    expect(await ahead.next()).toBe(1);
    expect(await ahead.next()).toBeNull();
  });
});

describe("merge", () => {
  async function* objects(count: number, made: WeakRef<object>[] = []) {
    for (let number = 0; number < count; number++) {
      const object = { number };
      made.push(new WeakRef(object));
      yield object;
    }
  }

  async function* silent(signal: AbortSignal) {
    await sleep(60_000, signal);
    yield* objects(0);
  }

  it("gives the items of all, those of each in order, and then the error of one", async () => {
    async function* failing() {
      yield* objects(2);
      throw new TypeError("broken");
    }
    const seen: number[] = [];
    const merged = merge([objects(3), failing(), objects(1)], () => {});
    const reading = (async () => {
      for await (const { number } of merged) seen.push(number);
    })();
    await expect(reading).rejects.toThrow("broken");
    expect(seen).toEqual([0, 0, 0, 1, 1, 2]);
  });

  it("keeps nothing of what it has given while another one is silent", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const left = new AbortController();
    const made: WeakRef<object>[] = [];
    const merged = merge([objects(100, made), silent(left.signal)], () => left.abort());
    for (let count = 0; count < 100; count++) await merged.next();
    // What was looked at by reference in this turn is kept until it ends.
    await new Promise((resolve) => setImmediate(resolve));
    collect();
    const kept = made.filter((ref) => ref.deref() !== undefined);
    expect(kept.length).toBeLessThan(5);
    await merged.return(undefined);
    expect(left.signal.aborted).toBe(true);
  });
});
