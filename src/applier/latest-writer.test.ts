import { expect, it, vi } from "vitest";
import { TidemarkError } from "../core/errors.ts";
import { silentLogger } from "../core/log.ts";
import { LatestWriter } from "./latest-writer.ts";

it("tells once a minute of what it cannot write, and tries more often", async () => {
  const lines: string[] = [];
  const logger = { ...silentLogger, warn: (_: object, message: string) => lines.push(message) };
  let tries = 0;
  const put = () => {
    tries++;
    return Promise.reject(new TidemarkError("TM-CONNECTION-LOST", "The queue is away."));
  };
  vi.useFakeTimers();
  try {
    const writer = new LatestWriter(put, "applier/a->b", logger);
    writer.put(1);
    await vi.advanceTimersByTimeAsync(600_000);
    await writer.close();
  } finally {
    vi.useRealTimers();
  }
  expect(tries).toBeGreaterThan(100);
  expect(lines.length).toBeLessThan(12);
  expect(lines[0]).toBe("the document applier/a->b could not be written: trying again");
});
