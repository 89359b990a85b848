// What is read ahead of a target that is long at work (G2).
import { expect, it, vi } from "vitest";
import { MemoryStream } from "../../test/support/memory-queue.ts";
import type { Change } from "../core/change.ts";
import { encodePieces } from "../core/message.ts";
import { START } from "../core/position.ts";
import type { QueueMessage } from "../core/queue.ts";
import { FalseStarts } from "./false-starts.ts";
import { Arrivals, readAhead } from "./pieces.ts";

const MEGABYTE = 1024 * 1024;
const AT = "2026-01-01T00:00:00.000Z";

async function encoded(text: string): Promise<QueueMessage[]> {
  const header = { timeline: "t", batch: 1, hash: "h", prevHash: "g", cutAt: AT, committedAt: AT };
  const change: Change = {
    ...{ layout: 1, op: "insert", row: ["1", text], keyBefore: null, rowBefore: null },
    ...{ filters: [], transaction: null, origin: null, hops: [] },
  };
  async function* pages() {
    yield [change];
  }
  const envelope = { source: "a", header, chunk: 0, copy: null };
  const messages: QueueMessage[] = [];
  for await (const piece of encodePieces(envelope, pages(), MEGABYTE)) {
    messages.push(...piece);
  }
  return messages;
}

it("takes it for no silence that nothing was read while the target had a row of megabytes", async () => {
  const messages = await encoded("x".repeat(5 * MEGABYTE));
  const stream = new MemoryStream(messages.length);
  stream.read = async function* (_, signal) {
    yield* messages;
    // What follows is on its way.
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  };
  vi.useFakeTimers();
  try {
    const arrivals = new Arrivals();
    const stop = new AbortController();
    const pieces = readAhead(stream, START, {
      arrivals,
      falseStarts: new FalseStarts(),
      signal: stop.signal,
    });
    expect((await pieces.next())?.bytes).toBeGreaterThan(5 * MEGABYTE);
    await vi.advanceTimersByTimeAsync(60_000);
    const found = pieces.available(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(await found).toBe(false);
    expect(arrivals.quietMs).toBeLessThan(1_000);
    stop.abort();
    await pieces.close();
  } finally {
    vi.useRealTimers();
  }
});
