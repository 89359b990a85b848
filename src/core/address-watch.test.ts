import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CollectingLogger } from "../../test/support/test-bed.ts";
import { AddressWatch } from "./address-watch.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** What a session with "a" is told when the address answers so, one after another; the last goes on. */
async function told(...answers: readonly (string | null | Error)[]): Promise<boolean> {
  let asked = 0;
  const onMoved = vi.fn();
  const whoAnswers = async () => {
    const answer = answers[Math.min(asked++, answers.length - 1)] ?? null;
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const logger = new CollectingLogger();
  const watch = new AddressWatch({ name: "shop", held: "a", whoAnswers, logger, onMoved });
  await vi.advanceTimersByTimeAsync(100_000);
  if (onMoved.mock.calls.length === 0) watch.throwIfMoved();
  else expect(() => watch.throwIfMoved()).toThrow(/"shop" leads to another server/);
  await watch.close();
  return onMoved.mock.calls.length > 0;
}

test("another server that answers for good is a move", async () => {
  expect(await told("b")).toBe(true);
  expect(await told("a", "a", "b")).toBe(true);
});

test("no move: the same server, servers that answer in turn, nobody, one that cannot tell", async () => {
  expect(await told("a")).toBe(false);
  expect(await told(...Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? "b" : "a")))).toBe(
    false,
  );
  expect(await told(...Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? "b" : "c")))).toBe(
    false,
  );
  expect(await told(new Error("refused"))).toBe(false);
  expect(await told(null)).toBe(false);
});

test("who is no longer needed does not wait for an address where nobody answers", async () => {
  const whoAnswers = (signal: AbortSignal) =>
    new Promise<null>((_, reject) => {
      signal.addEventListener("abort", () => reject(new Error("severed")));
    });
  const onMoved = vi.fn();
  const logger = new CollectingLogger();
  const watch = new AddressWatch({ name: "shop", held: "a", whoAnswers, logger, onMoved });
  await vi.advanceTimersByTimeAsync(20_000);
  await watch.close();
  expect(onMoved).not.toHaveBeenCalled();
});
