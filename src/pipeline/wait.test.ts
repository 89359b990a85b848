// What a wait takes for the end of it, and what it says when its time is over (G4).
import { beforeEach, describe, expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { sleep } from "../core/async.ts";
import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import { type FenceDocument, keys, type Notice, UNKNOWN_SYNC } from "../core/documents.ts";
import { silentLogger } from "../core/log.ts";
import { rulesPrint } from "../core/rules.ts";
import { forgetStop } from "../core/status-error.ts";
import { waitForSync } from "./wait.ts";

const SYNC: SyncDefinition = { name: "a->b", from: "a", to: "b", tables: [] };
const DEFINITION: PipelineDefinition = {
  retention: { maxLogBytes: 1_000_000, keptMs: 0 },
  databases: [],
  queue: { url: "sqlite:./queue", maxStreamBytes: 1_000_000 },
  syncs: [SYNC],
};

it("ends by its own code although the queue is away at that moment", async () => {
  const queue = new MemoryQueue();
  queue.documents.failing = { prefix: "fence/", times: Number.POSITIVE_INFINITY };
  const waiting = waitForSync(DEFINITION, queue, { timeoutMs: 20 });
  await expect(waiting).rejects.toMatchObject({ code: "TM-WAIT-TIMEOUT" });
});

it.each([
  ["without end", Number.POSITIVE_INFINITY],
  ["longer than a timer can be", 40 * 86_400_000],
])("does not end at once with a timeout %s", async (_title, timeoutMs) => {
  const stop = new AbortController();
  const waiting = waitForSync(DEFINITION, new MemoryQueue(), { timeoutMs, signal: stop.signal });
  const first = await Promise.race([waiting.catch((error) => error), sleep(50)]);
  expect(first).toBeUndefined();
  stop.abort();
  await expect(waiting).rejects.toThrow("aborted");
});

it("takes no timeout that is not a number", async () => {
  const waiting = waitForSync(DEFINITION, new MemoryQueue(), { timeoutMs: Number.NaN });
  await expect(waiting).rejects.toMatchObject({ code: "TM-USAGE" });
});

describe("an applier that had stopped before", () => {
  const key = keys.applier("a->b");
  const stopped = {
    ...UNKNOWN_SYNC,
    ...{ name: "a->b", from: "a", to: "b", state: "stopped" },
    error: { code: "TM-SCHEMA-DRIFT", message: "altered", fix: null },
  };

  it("ends a wait when it is not started anew", async () => {
    const queue = new MemoryQueue();
    await queue.documents.put(key, stopped);
    await expect(waitForSync(DEFINITION, queue)).rejects.toMatchObject({ code: "TM-SYNC-STOPPED" });
  });

  it("is what a wait without so much time tells", async () => {
    const queue = new MemoryQueue();
    await queue.documents.put(key, stopped);
    const waiting = waitForSync(DEFINITION, queue, { timeoutMs: 20 });
    await expect(waiting).rejects.toMatchObject({ code: "TM-SYNC-STOPPED" });
  });

  it("ends none when it is started anew, until it stops once more", async () => {
    const queue = new MemoryQueue();
    await queue.documents.put(key, stopped);
    const waiting = waitForSync(DEFINITION, queue).catch((error: unknown) => error);
    await forgetStop(queue.documents, key);
    expect(await Promise.race([waiting, sleep(4_000)])).toBeUndefined();
    await queue.documents.put(key, stopped);
    expect(await waiting).toMatchObject({ code: "TM-SYNC-STOPPED" });
  });
});

describe("when its time is over", () => {
  const error = { code: "TM-DISK-FULL", message: "b has no room", fix: "Make room." };
  const retrying = { ...UNKNOWN_SYNC, name: "a->b", from: "a", to: "b", state: "running", error };
  const wait = (queue: MemoryQueue) => waitForSync(DEFINITION, queue, { timeoutMs: 20 });

  it("tells what a sync tries again and again for", async () => {
    const queue = new MemoryQueue();
    const heartbeatAt = new Date().toISOString();
    await queue.documents.put(keys.applier("a->b"), { ...retrying, heartbeatAt });
    await expect(wait(queue)).rejects.toMatchObject({
      code: "TM-WAIT-TIMEOUT",
      message: expect.stringContaining("TM-DISK-FULL b has no room") as string,
      fix: "Make room.",
    });
  });

  it("does not tell what somebody has met who is not heard of any more", async () => {
    const queue = new MemoryQueue();
    const heartbeatAt = new Date(Date.now() - 60_000).toISOString();
    await queue.documents.put(keys.applier("a->b"), { ...retrying, heartbeatAt });
    await expect(wait(queue)).rejects.toMatchObject({
      message: expect.not.stringContaining("TM-DISK-FULL") as string,
    });
  });
});

it.each([
  ["names a relay at work of another config, which does not have the sync", ["a->c"], true],
  ["says nothing of configs where the relay has the sync", ["a->b"], false],
  ["says nothing of configs where the relay tells no syncs", [], false],
])("%s", async (_title, names, isNamed) => {
  const queue = new MemoryQueue();
  const { documents } = queue;
  const stop = new AbortController();
  const answering = (async () => {
    for await (const { key, value } of documents.watch(keys.fences("a"), stop.signal)) {
      const question = value as FenceDocument | null;
      if (question === null || question.answer !== null) continue;
      const syncs = Object.fromEntries(
        names.map((name) => [name, { fingerprint: "f", rules: rulesPrint(SYNC) }]),
      );
      const answer = { timeline: "tl", batch: 5, hash: "h5", fits: true, syncs, database: null };
      await documents.put(key, { ...question, answer });
    }
  })();
  // What an applier goes on to tell of a table that nobody looks after is not taken for all that was committed.
  const there = { timeline: "tl", position: { batch: isNamed ? 5 : 4, chunk: 0 }, hash: "h5" };
  const notice = { sync: "a->b", source: "a", tablesPending: 0, fingerprint: "f", ...there };
  await documents.put(keys.progress("a->b"), notice);
  const warnings: string[] = [];
  const warn = (_: unknown, text?: string) => warnings.push(text ?? "");
  const options = { timeoutMs: 1_200, logger: { ...silentLogger, warn } };
  const error = await waitForSync(DEFINITION, queue, options).catch((error) => error);
  stop.abort();
  await answering;
  expect(error).toMatchObject({ code: "TM-WAIT-TIMEOUT" });
  const named = 'relay of "a" that is at work was started with another';
  expect(error.message.includes(named)).toBe(isNamed);
  expect(warnings).toEqual(isNamed ? [expect.stringContaining(named)] : []);
});

describe("a target that is ahead of the fence", () => {
  const NOTICE: Notice = {
    ...{ sync: "a->b", source: "a", timeline: "tl", position: { batch: 8, chunk: 0 }, hash: "h8" },
    ...{ at: "", lagMs: 0, tablesPending: 0, fingerprint: "" },
  };

  /** The source has 5 batches. */
  async function waited(notice: Notice, fits: boolean): Promise<readonly FenceDocument["holds"][]> {
    const { documents } = queue;
    const asked: FenceDocument["holds"][] = [];
    const stop = new AbortController();
    const answering = (async () => {
      for await (const { key, value } of documents.watch(keys.fences("a"), stop.signal)) {
        const fence = value as FenceDocument | null;
        if (fence === null || fence.answer !== null) continue;
        asked.push(fence.holds);
        const answer = { timeline: "tl", batch: 5, hash: "h5", fits, syncs: {} };
        await documents.put(key, { ...fence, answer });
      }
    })();
    await documents.put(keys.progress("a->b"), notice);
    try {
      await waitForSync(DEFINITION, queue, { timeoutMs: 200 });
      return asked;
    } finally {
      stop.abort();
      await answering;
    }
  }

  let queue = new MemoryQueue();
  beforeEach(() => {
    queue = new MemoryQueue();
  });

  it("has reached it when the source has that batch", async () => {
    expect(await waited(NOTICE, true)).toEqual([null, { timeline: "tl", batch: 8, hash: "h8" }]);
  });

  it("has not when the source was put back to before that", async () => {
    await expect(waited(NOTICE, false)).rejects.toMatchObject({ code: "TM-WAIT-TIMEOUT" });
  });

  it("needs not be asked about at the fence's own batch", async () => {
    const there = { ...NOTICE, position: { batch: 5, chunk: 3 } };
    expect(await waited({ ...there, hash: "h5" }, false)).toEqual([null]);
    await expect(waited({ ...there, hash: "other" }, true)).rejects.toMatchObject({
      code: "TM-WAIT-TIMEOUT",
    });
  });
});
