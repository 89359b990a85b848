import { describe, expect, it } from "vitest";
import type { Change } from "../core/change.ts";
import { Linger } from "./linger.ts";

function change(transaction: string | null): Change {
  const none = { keyBefore: null, row: null, rowBefore: null, filters: [], origin: null, hops: [] };
  return { ...none, layout: 1, op: "insert", transaction };
}

async function lingerAfter(linger: Linger, changes: readonly Change[]): Promise<number> {
  async function* pages() {
    yield changes;
  }
  for await (const _ of linger.count(pages()));
  return linger.next();
}

describe("linger", () => {
  const quiet = [change("1"), change("1"), change("1"), change("1"), change("1")];
  const busy = ["1", "2", "3", "4"].map(change);

  it("lets a single transaction go at once", async () => {
    expect(await lingerAfter(new Linger(), quiet)).toBe(0);
  });

  it("grows under load up to its bound, and ends with it", async () => {
    const linger = new Linger();
    const waits: number[] = [];
    for (let batch = 0; batch < 6; batch++) waits.push(await lingerAfter(linger, busy));
    expect(waits).toEqual([2, 4, 8, 16, 20, 20]);
    expect(await lingerAfter(linger, quiet)).toBe(0);
  });

  it("goes by changes where the source cannot tell transactions", async () => {
    const many = Array.from({ length: 16 }, () => change(null));
    expect(await lingerAfter(new Linger(), many.slice(1))).toBe(0);
    expect(await lingerAfter(new Linger(), many)).toBe(2);
  });
});
