// Who a full queue goes on without (G7).
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Position } from "../core/position.ts";
import { LeftBehind } from "./left-behind.ts";

const at = (batch: number): Position => ({ batch, chunk: 0 });
const readers = (places: Record<string, number>) =>
  Object.entries(places).map(([sync, batch]) => ({ sync, place: at(batch) }));
const END = at(5);

describe("a full queue", () => {
  let left = new LeftBehind();

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["performance"] });
    left = new LeftBehind();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Asks at both ends of so many seconds. */
  function judged(seconds: number, places: Record<string, number>): readonly string[] {
    const early = left.judge(readers(places), END);
    vi.advanceTimersByTime(seconds * 1_000);
    return [...early, ...left.judge(readers(places), END)];
  }

  it("goes on without one that stands still while another has read all", () => {
    expect(judged(29, { away: 2, good: 5 })).toEqual([]);
    expect(judged(1, { away: 2, good: 5 })).toEqual(["away"]);
    expect(left.has({ sync: "away", place: at(2) })).toBe(true);
    expect(judged(60, { away: 2, good: 5 })).toEqual([]);
  });

  it("waits for one that moves, however slowly, and for all while each has something to read", () => {
    for (let batch = 1; batch < 5; batch++)
      expect(judged(29, { slow: batch, good: 5 })).toEqual([]);
    expect(judged(600, { away: 2, busy: 4 })).toEqual([]);
    expect(judged(600, { away: 2 })).toEqual([]);
  });

  it("counts anew when there was room in between", () => {
    expect(judged(29, { away: 2, good: 5 })).toEqual([]);
    left.roomFound();
    expect(judged(29, { away: 2, good: 5 })).toEqual([]);
  });

  it("does not take one left behind for another that waits", () => {
    expect(judged(30, { away: 2, good: 5 })).toEqual(["away"]);
    expect(judged(600, { away: 2, good: 3 })).toEqual([]);
    expect(judged(600, { away: 2, good: 3, third: 5 })).toEqual(["good"]);
  });

  it("keeps the stream for one that moves or asks again, and gives it twice the time until it has all", () => {
    expect(judged(30, { away: 2, good: 5 })).toEqual(["away"]);
    expect(left.has({ sync: "away", place: at(3) })).toBe(false);
    left.returned("away");
    expect(left.has({ sync: "away", place: at(2) })).toBe(false);
    expect(judged(59, { away: 2, good: 5 })).toEqual([]);
    expect(judged(1, { away: 2, good: 5 })).toEqual(["away"]);
    left.returned("away");
    left.caughtUp("away");
    expect(judged(30, { away: 2, good: 5 })).toEqual(["away"]);
  });
});
