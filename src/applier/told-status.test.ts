import { expect, it, vi } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { keys, type SyncStatus } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import { silentLogger } from "../core/log.ts";
import type { BoundTable } from "../core/target.ts";
import { DeliverTarget } from "./deliver-target.ts";
import { ToldStatus } from "./told-status.ts";

const NAMES = { sync: "a->b", from: "a", to: "b" };
const TABLE: BoundTable = {
  ...{
    name: { schema: null, name: "t" },
    columns: [{ name: "id", type: { kind: "text" } }],
    key: [0],
  },
  ...{ parents: [], cascades: false, followed: false },
};

it("gives signs of life also when the system's clock is set back", async () => {
  const queue = new MemoryQueue();
  const status = new ToldStatus({ ...NAMES, queue, logger: silentLogger });
  const stop = new AbortController();
  vi.useFakeTimers();
  try {
    status.report({ state: "running" });
    const beating = status.beat(stop.signal, {}, stop.signal);
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

it("tells of a function that does not come back, since when, and to an end that waits for it; no more once it has", async () => {
  const queue = new MemoryQueue();
  const { promise: called, resolve: comeBack } = Promise.withResolvers<void>();
  const session = await new DeliverTarget(() => called, queue.documents).openApplier("a->b");
  const warnings: string[] = [];
  const logger = {
    ...silentLogger,
    warn: (_: unknown, text?: string) => warnings.push(text ?? ""),
  };
  const [stop, ending] = [new AbortController(), new AbortController()];
  const told = async () => {
    const status = (await queue.documents.get(keys.applier(NAMES.sync))) as SyncStatus;
    return status.error;
  };
  vi.useFakeTimers({ now: Date.parse("2026-05-01T03:00:00Z") });
  try {
    const status = new ToldStatus({ ...NAMES, queue, logger });
    status.report({ state: "running" });
    const beating = status.beat(stop.signal, session, ending.signal);
    const { tables, ...start } = await session.load();
    const transaction = await session.begin({ ...start, tables });
    await transaction.put(TABLE, [["1"]]);
    const committing = transaction.commit({ ...start, tables, position: { batch: 7, chunk: 0 } });
    await vi.advanceTimersByTimeAsync(25_000);
    expect(await told()).toBeNull();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await told()).toMatchObject({
      code: "TM-TARGET-FUNCTION",
      message: expect.stringMatching(/target of a->b .* at 2026-05-01T03:00:00.000Z.* batch 7,/),
    });
    ending.abort();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(warnings).toEqual([
      "waiting for a function that is a target",
      "the end waits for a function that is a target",
    ]);
    comeBack();
    await committing;
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await told()).toBeNull();
    stop.abort();
    await vi.advanceTimersByTimeAsync(1_000);
    await beating;
    await status.close();
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
