import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HEARD_WITHIN_MS, Pace } from "./pace.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

test("slows down when nothing has moved for a while, and is brisk again at the first move", () => {
  const pace = new Pace();
  const brisk = pace.everyMs;
  vi.advanceTimersByTime(4_900);
  expect(pace.everyMs).toBe(brisk);
  vi.advanceTimersByTime(200);
  expect(pace.everyMs).toBeGreaterThan(brisk);
  // Status takes ten seconds of silence for a process that is gone: two missed beats are one too many.
  expect(pace.everyMs).toBeLessThan(5_000);
  expect(pace.everyMs).toBe(Pace.longestMs);
  expect(2 * pace.everyMs).toBeGreaterThan(HEARD_WITHIN_MS);
  expect(pace.everyMs + 2_000).toBeLessThan(HEARD_WITHIN_MS);
  pace.moved();
  expect(pace.everyMs).toBe(brisk);
});
