import { expect, it, vi } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { keys, type SyncStatus } from "../core/documents.ts";
import { silentLogger } from "../core/log.ts";
import { ToldStatus } from "./told-status.ts";

const NAMES = { sync: "a->b", from: "a", to: "b" };

it("gives signs of life also when the system's clock is set back", async () => {
  const queue = new MemoryQueue();
  const status = new ToldStatus({ ...NAMES, queue, logger: silentLogger });
  const stop = new AbortController();
  vi.useFakeTimers();
  try {
    status.report({ state: "running" });
    const beating = status.beat(stop.signal);
    vi.setSystemTime(Date.now() - 3_600_000);
    const back = new Date().toISOString();
    await vi.advanceTimersByTimeAsync(60_000);
    stop.abort();
    await beating;
    await status.close();
    const told = (await queue.documents.get(keys.applier(NAMES.sync))) as SyncStatus;
    const heard = Date.parse(told.heartbeatAt ?? "") - Date.parse(back);
    expect(heard).toBeGreaterThan(50_000);
    expect(heard).toBeLessThan(60_001);
  } finally {
    vi.useRealTimers();
  }
});
