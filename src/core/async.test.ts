import { describe, expect, it } from "vitest";
import { Bell, ReadAhead, sleep } from "./async.ts";

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
