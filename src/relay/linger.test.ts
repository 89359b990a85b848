import { describe, expect, it } from "vitest";
import type { Change } from "../core/change.ts";
import { Linger } from "./linger.ts";

function change(transaction: string | null): Change {
  const none = { keyBefore: null, row: null, rowBefore: null, filters: [], origin: null, hops: [] };
  return { ...none, layout: 1, op: "insert", transaction };
}

/** A linger with a clock of its own, and what it says after a batch that came `ms` after the last. */
class Tried {
  #time = 0;
  readonly #linger = new Linger(() => this.#time);

  async after(ms: number, changes: readonly Change[], overtaken?: number): Promise<number> {
    async function* pages() {
      yield changes;
    }
    this.#time += ms;
    for await (const _ of this.#linger.count(pages()));
    return this.#linger.next(overtaken);
  }

  /** `overtaken` at each fourth cut; undefined: the source cannot tell. */
  async afterEach(
    ms: number,
    changes: readonly Change[],
    times: number,
    overtaken?: number,
  ): Promise<number[]> {
    const waits: number[] = [];
    for (let i = 0; i < times; i++) {
      const now = overtaken !== undefined && i % 4 > 0 ? 0 : overtaken;
      waits.push(await this.after(ms, changes, now));
    }
    return waits;
  }
}

describe("linger", () => {
  const one = ["1", "1", "1", "1"].map(change);
  const ten = Array.from({ length: 10 }, (_, i) => change(String(i)));

  it("lets a single transaction go at once", async () => {
    expect(await new Tried().after(5, one)).toBe(0);
  });

  it("does not take a few that come together for load", async () => {
    const tried = new Tried();
    expect(await tried.after(1_000, ten)).toBe(0);
    expect(await tried.after(5, ten)).toBe(0);
  });

  it("grows under load up to its bound, and ends with it", async () => {
    const tried = new Tried();
    const waits = await tried.afterEach(5, ten.slice(0, 5), 100); // 1000 a second
    const steps = [...new Set(waits)].map((ms) => Number(ms.toFixed(1)));
    expect(steps).toEqual([0, 2, 2.4, 2.9, 3.5, 4.1, 5, 6, 7.2, 8.6, 10.3, 12.4, 14.9, 17.8, 20]);
    expect(await tried.after(2_000, one)).toBe(0);
  });

  it("stays short while no transaction overtakes another", async () => {
    const five = ten.slice(0, 5);
    expect((await new Tried().afterEach(5, five, 100, 0)).at(-1)).toBe(2); // 1000 a second
    const many = (await new Tried().afterEach(5, ten, 100, 0)).at(-1); // 2000 a second
    expect(many).toBeGreaterThan(5);
    expect(many).toBeLessThan(10);
  });

  it("grows to its bound while they crowd, and shrinks when they no longer do", async () => {
    const tried = new Tried();
    const five = ten.slice(0, 5);
    expect((await tried.afterEach(5, five, 200, 1)).at(-1)).toBe(20);
    expect((await tried.afterEach(5, five, 200, 0)).at(-1)).toBe(2);
  });

  it("does not keep itself going: lingering makes batches larger, not the load", async () => {
    const tried = new Tried();
    await tried.afterEach(5, ten, 100);
    const waits = await tried.afterEach(33, ten, 100); // 300 a second, gathered for 33 ms
    expect(waits.at(-1)).toBe(0);
  });

  it("counts a transaction once, however its changes lie between those of others", async () => {
    const mixed = Array.from({ length: 40 }, (_, i) => change(String(i % 2)));
    const waits = await new Tried().afterEach(5, mixed, 100); // 400 a second
    expect(waits.at(-1)).toBe(0);
  });

  it("goes by changes where the source cannot tell transactions", async () => {
    const many = Array.from({ length: 16 }, () => change(null));
    expect((await new Tried().afterEach(10, many, 100)).at(-1)).toBe(0);
    expect((await new Tried().afterEach(5, many, 100)).at(-1)).toBe(20);
  });
});
