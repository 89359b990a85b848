// Which notices a program is told of (G4).
import { expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { keys, type Notice } from "../core/documents.ts";
import { watchNotices } from "./notices.ts";

const SYNC = "a->b";
const notice = (batch: number, at = "2026-11-22T10:00:00Z"): Notice => ({
  ...{ sync: SYNC, source: "a", timeline: "t", position: { batch, chunk: 0 }, hash: `h${batch}` },
  ...{ at, lagMs: 0, tablesPending: 0, fingerprint: "f" },
});

it("tells a notice once although it is written again for a queue that may have lost it", async () => {
  const queue = new MemoryQueue();
  const stop = new AbortController();
  const put = (batch: number) => queue.documents.put(keys.progress(SYNC), notice(batch));
  await put(1);
  const told: number[] = [];
  for await (const { position } of watchNotices(queue, [SYNC], stop.signal)) {
    told.push(position.batch);
    if (told.length === 3) break;
    await put(position.batch);
    // Apart from that: of a key the queue tells the newest value alone.
    setImmediate(() => void put(position.batch + 1));
  }
  expect(told).toEqual([1, 2, 3]);
});

it("tells a notice once although an applier that was started again dates it anew", async () => {
  const queue = new MemoryQueue();
  const put = (batch: number, at?: string) =>
    queue.documents.put(keys.progress(SYNC), notice(batch, at));
  await put(1);
  const told: number[] = [];
  for await (const { position } of watchNotices(queue, [SYNC], new AbortController().signal)) {
    told.push(position.batch);
    if (told.length === 2) break;
    await put(1, "2026-11-22T11:00:00Z");
    setImmediate(() => void put(2));
  }
  expect(told).toEqual([1, 2]);
});
