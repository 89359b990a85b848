// The bound of the change log, and who is given up for it (G5, G7).
import { describe, expect, it, vi } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { MemorySource } from "../../test/support/memory-source.ts";
import { Bell } from "../core/async.ts";
import { keys, type Notice } from "../core/documents.ts";
import { silentLogger } from "../core/log.ts";
import { LeftBehind } from "./left-behind.ts";
import { Mailbox } from "./mailbox.ts";
import { BatchHistory, Retention } from "./retention.ts";

/** What was the newest batch half a minute ago. */
class KnownHistory extends BatchHistory {
  readonly #batch: number;

  constructor(batch: number) {
    super(0);
    this.#batch = batch;
  }

  override before(): number {
    return this.#batch;
  }
}

function noticeOf({ headers }: MemorySource, sync: string, batch: number): Notice {
  const hash = headers[batch - 1]?.hash ?? "";
  return {
    ...{ sync, source: "a", timeline: "tl", position: { batch, chunk: 4 }, hash },
    ...{ at: "", lagMs: 0, tablesPending: 0, fingerprint: "" },
  };
}

async function retention(
  confirmed: Record<string, number>,
  halfMinuteAgo: number,
  { bytes = 1_000 }: { readonly bytes?: number } = {},
) {
  const queue = new MemoryQueue();
  const source = new MemorySource();
  for (const [sync, batch] of Object.entries(confirmed)) source.confirmed.set(sync, batch);
  for (let batch = 1; batch <= 9; batch++) {
    source.insert(`r${batch}`);
    source.cutNow();
  }
  source.bytes = bytes;
  const mailbox = new Mailbox(queue.documents, "a", new Bell());
  const kept = new Retention({
    source: "a",
    syncs: Object.keys(confirmed),
    log: await source.openChangeLog(),
    stream: await queue.openStream("a"),
    documents: queue.documents,
    mailbox,
    maxLogBytes: 100,
    keptMs: 30_000,
    logger: silentLogger,
    history: new KnownHistory(halfMinuteAgo),
    leftBehind: new LeftBehind(),
    joined: new Map(),
  });
  await kept.open();
  return { kept, source, queue, mailbox };
}

/** Has these syncs tell where they stand. */
async function told(
  { source, queue, mailbox }: { source: MemorySource; queue: MemoryQueue; mailbox: Mailbox },
  batches: Readonly<Record<string, number>>,
): Promise<void> {
  const watching = new AbortController();
  void mailbox.run(Object.keys(batches), silentLogger, watching.signal);
  for (const [sync, batch] of Object.entries(batches)) {
    await queue.documents.put(keys.progress(sync), noticeOf(source, sync, batch));
    const isKnown = () => mailbox.progressOf(sync)?.position.batch === batch;
    await vi.waitUntil(isKnown, { timeout: 30_000 });
  }
  watching.abort();
}

describe("retention at the bound of the log", () => {
  it("gives up the sync that holds the log, and tells it", async () => {
    const { kept, source, queue } = await retention({ late: 2, good: 8 }, 7);
    await kept.tend(9);
    expect(kept.subscribers).toEqual(["good"]);
    expect(source.purgedTo).toBe(8);
    expect(await queue.documents.get(keys.refusal("a", "late"))).toMatchObject({ from: 3 });
  });

  it("gives up nobody who has just joined, but once", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const { kept } = await retention({ late: 2, other: 5, good: 8 }, 7);
      await kept.subscribe("late", 9);
      await kept.tend(9);
      // Nor another in its place, which would free nothing.
      expect(kept.subscribers).toEqual(["late", "other", "good"]);
      vi.advanceTimersByTime(20_000);
      // Another target of that name that has confirmed nothing either.
      await kept.subscribe("late", 9);
      vi.advanceTimersByTime(11_000);
      await kept.tend(9);
      expect(kept.subscribers).toEqual(["other", "good"]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("gives up nobody who keeps up, however long the space takes to come back", async () => {
    const { kept } = await retention({ good: 8 }, 7);
    await kept.tend(9);
    await kept.tend(9);
    expect(kept.subscribers).toEqual(["good"]);
  });

  it("purges also when the only reader was given up", async () => {
    const { kept, source } = await retention({ late: 2 }, 7);
    await kept.tend(9);
    expect(kept.subscribers).toEqual([]);
    expect(source.purgedTo).toBe(9);
  });
});

describe("what all have applied", () => {
  it.each([
    ["stays for half a minute", 50, 4],
    ["goes at once where the log has half of what it may", 51, 8],
  ])("%s", async (_, bytes, purgedTo) => {
    const { kept, source } = await retention({ good: 8, better: 9 }, 4, { bytes });
    await kept.tend(9);
    expect(source.purgedTo).toBe(purgedTo);
  });

  it.each([
    ["goes together with what follows where a purge costs the application something", 50, 4],
    ["and at once where the log has half of what it may", 51, 7],
  ])("%s", async (_, bytes, purgedTo) => {
    const { kept, source } = await retention({ good: 4 }, 7, { bytes });
    source.purgeEveryMs = 60_000;
    await kept.tend(9);
    expect(source.purgedTo).toBe(4);
    source.confirmed.set("good", 7);
    await kept.open();
    await kept.tend(9);
    expect(source.purgedTo).toBe(purgedTo);
  });

  it("goes at once where nobody reads the log", async () => {
    const { kept, source } = await retention({}, 4, { bytes: 1 });
    await kept.tend(9);
    expect(source.purgedTo).toBe(9);
  });

  it("stays longer for a target that has lost it, and is sent it again", async () => {
    const { kept, source } = await retention({ good: 8, lost: 8 }, 7, { bytes: 1 });
    await kept.putBack("lost", 5);
    expect([...source.confirmed]).toEqual([
      ["good", 8],
      ["lost", 5],
    ]);
    await kept.putBack("good", 9);
    await kept.tend(9);
    expect(source.purgedTo).toBe(5);
  });
});

describe("what all have read of the queue", () => {
  async function filled() {
    const parts = await retention({ good: 8 }, 4);
    const stream = await parts.queue.openStream("a");
    for (let batch = 1; batch <= 9; batch++) {
      const mark = { timeline: "tl", batch, chunk: 0, piece: 0, fragment: 0, fragments: 1 };
      const message = { mark: { ...mark, last: true, checksum: 0 }, body: new Uint8Array() };
      await stream.append(await stream.tail(), [message]);
    }
    await told(parts, { good: 8 });
    const left = () =>
      parts.queue.streams.get("a")?.messages.map(({ message }) => message.mark.batch);
    return { ...parts, left };
  }

  it("stays until the next look, for who reads beside them", async () => {
    const { kept, left } = await filled();
    await kept.tend(9);
    expect(left()).toHaveLength(9);
    await kept.tend(9);
    expect(left()).toEqual([9]);
  });

  it("goes at once where the queue is full", async () => {
    const { kept, left } = await filled();
    await kept.tend(9);
    await kept.makeRoom({ batch: 9, chunk: 0 });
    expect(left()).toEqual([9]);
  });
});

describe("a target that is put back while a slower one still needs what it lacks", () => {
  it.each([
    ["keeps the log for it, though it asks for nothing", 5, 2, 5],
    ["keeps nothing for it where that is purged", 1, 3, 8],
  ])("%s", async (_, batch, slow, purgedTo) => {
    const { kept, source, queue, mailbox } = await retention({ lost: 8, slow }, 8, { bytes: 1 });
    await kept.tend(9);
    expect(source.purgedTo).toBe(slow);
    await told({ source, queue, mailbox }, { lost: batch, slow: 9 });
    await kept.check(mailbox.notices());
    await kept.tend(9);
    expect(source.purgedTo).toBe(purgedTo);
  });
});

describe("subscribing", () => {
  it.each([
    ["takes back one that had all from the queue before it heard", 9, ["late"], null],
    ["leaves one given up that lags", 8, [], { from: 3 }],
  ])("%s", async (_, batch, subscribers, refusal) => {
    const { kept, source, queue } = await retention({ late: 2 }, 7);
    await kept.tend(9);
    expect(kept.subscribers).toEqual([]);
    await kept.check(new Map([["late", noticeOf(source, "late", batch)]]));
    // A relay that finds no room in the queue comes no further than this.
    await kept.begin(9);
    expect(kept.subscribers).toEqual(subscribers);
    const told = await queue.documents.get(keys.refusal("a", "late"));
    if (refusal === null) expect(told).toBeNull();
    else expect(told).toMatchObject(refusal);
  });

  it("never gives up what is kept already", async () => {
    const { kept, source } = await retention({ sync: 3 }, 0);
    await kept.subscribe("sync", 9);
    expect(source.confirmed.get("sync")).toBe(3);
    expect(kept.oldestNeeded).toBe(4);
  });
});

describe("a sync that is given up and joins anew at once", () => {
  const MOMENTS = Array.from({ length: 20 }, (_, moment) => moment);

  it.each(MOMENTS)("is kept what it will read, or told that it is not (%i)", async (moment) => {
    const { kept, source, queue } = await retention({ late: 2, good: 8 }, 7);
    const tending = kept.tend(9);
    for (let turn = 0; turn < moment; turn++) await Promise.resolve();
    await kept.subscribe("late", 9);
    await tending;
    expect(kept.oldestNeeded).toBeGreaterThan(source.purgedTo);
    const isTold = (await queue.documents.get(keys.refusal("a", "late"))) !== null;
    expect(kept.subscribers.includes("late")).toBe(!isTold);
    expect(source.confirmed.has("late")).toBe(!isTold);
  });
});

describe("history of batches", () => {
  it("knows nothing of the time before it began", () => {
    const history = new BatchHistory(0);
    history.note(5);
    expect(history.before(30_000)).toBe(0);
    expect(history.before(0)).toBe(5);
  });
});
