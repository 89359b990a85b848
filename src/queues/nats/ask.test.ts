// A question to a cluster that is just agreeing on who is to answer.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { askUntilAnswered } from "./ask.ts";

const TIMEOUT_MS = 5_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Lost as long as there is no leader. */
function cluster({ leaderAfterMs }: { leaderAfterMs: number }) {
  const start = Date.now();
  return vi.fn(() =>
    Date.now() - start >= leaderAfterMs
      ? Promise.resolve("answer")
      : new Promise<string>((_, reject) => {
          setTimeout(() => reject(new Error("timeout")), TIMEOUT_MS);
        }),
  );
}

it("is answered as soon as there is a leader, and not put again", async () => {
  const question = cluster({ leaderAfterMs: 1_200 });
  const answer = askUntilAnswered(question);
  await vi.advanceTimersByTimeAsync(1_500);
  expect(await Promise.race([answer, "waits"])).toBe("answer");
  const { length } = question.mock.calls;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(question).toHaveBeenCalledTimes(length);
});

it("fails when the time of a question is over", async () => {
  const question = cluster({ leaderAfterMs: Number.POSITIVE_INFINITY });
  const failed = expect(askUntilAnswered(question)).rejects.toThrow("timeout");
  await vi.advanceTimersByTimeAsync(TIMEOUT_MS);
  await failed;
  const { length } = question.mock.calls;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(question).toHaveBeenCalledTimes(length);
});
