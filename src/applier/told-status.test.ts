import { expect, it, vi } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { keys, type SyncStatus } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
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

it("talks over nobody who is at work, and speaks when that one has fallen silent", async () => {
  const queue = new MemoryQueue();
  const key = keys.applier(NAMES.sync);
  const told = async () => (await queue.documents.get(key)) as SyncStatus;
  const error = { code: "TM-AUTH-FAILED", message: "no", fix: null };
  vi.useFakeTimers();
  try {
    const status = new ToldStatus({ ...NAMES, queue, logger: silentLogger });
    status.report({ state: "running" });
    await vi.advanceTimersByTimeAsync(100);
    const other = { ...(await told()), error: null };
    const work = setInterval(() => {
      void queue.documents.put(key, { ...other, heartbeatAt: new Date().toISOString() });
    }, 4_000);
    await vi.advanceTimersByTimeAsync(4_100);
    for (let i = 0; i < 20; i++) {
      await status.reportUnlessOther({ error });
      await vi.advanceTimersByTimeAsync(1_000);
      expect((await told()).error).toBeNull();
    }
    await status.reportStopped(new TidemarkError("TM-INTERNAL", "no"));
    expect((await told()).state).toBe("running");
    clearInterval(work);
    for (let i = 0; i < 8; i++) {
      await status.reportUnlessOther({ error });
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect((await told()).error).toEqual(error);
    await status.close();
  } finally {
    vi.useRealTimers();
  }
});
