// The relay while its queue is full (G5, G7).
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { MemoryStream } from "../../test/support/memory-queue.ts";
import { MemoryWorld } from "../../test/support/memory-world.ts";
import { keys } from "../core/documents.ts";
import { askFence } from "../core/fence.ts";

const FEW_SECONDS = 15_000;
let world = new MemoryWorld();

afterEach(() => world.stop());

/** Of what an earlier target of the sync has not read. */
async function fullQueue(): Promise<MemoryStream> {
  world = new MemoryWorld(3);
  for (let i = 0; i < 6; i++) {
    world.fill(1);
    world.source.cutNow();
  }
  await world.confirm(0);
  world.startRelay();
  const stream = await world.queue.openStream("a");
  await world.until(() => stream.messages.length === 3);
  return stream;
}

describe("a relay whose queue is full", { timeout: FEW_SECONDS }, () => {
  it("copies more than the queue holds from a source where nothing else happens", async () => {
    world = new MemoryWorld(12);
    world.fill(60);
    world.source.cutNow();
    world.startRelay();
    world.startApplier();
    await world.synced();
    expect(world.target.rows.size).toBe(60);
  });

  it("makes room in a full queue before it publishes what waits", async () => {
    world = new MemoryWorld(3);
    await world.confirm(0);
    world.startRelay();
    const stream = await world.queue.openStream("a");
    for (let i = 0; i < 5; i++) {
      world.fill(1);
      await world.until(() => world.source.headers.length > i || stream.messages.length === 3);
    }
    await world.until(() => stream.messages.length === 3);
    await world.confirm(3);
    await world.until(
      () => stream.messages.at(-1)?.message.mark.batch === world.source.headers.length,
    );
  });

  it("lets a target made anew join, although the queue is full of what the one before it left", async () => {
    await fullQueue();
    world.startApplier();
    await world.synced();
  });

  it("says which history the source is on, although the queue is full", async () => {
    const stream = await fullQueue();
    const { signal } = new AbortController();
    const answer = await askFence(world.queue.documents, "a", { anywhere: true, signal });
    expect(answer?.timeline).toBe("tl");
    expect(stream.messages).toHaveLength(3);
  });

  it("clears away a batch that was cut off in the middle, where the queue has no room beside it", async () => {
    world = new MemoryWorld(1);
    world.fill(1);
    world.source.cutNow();
    await world.confirm(0);
    const stream = await world.queue.openStream("a");
    const half = { batch: 1, chunk: 0, piece: 0, fragment: 0, fragments: 1, last: false };
    const mark = { timeline: "tl", ...half, checksum: 0 };
    await stream.append(await stream.tail(), [{ mark, body: new Uint8Array() }]);
    world.startRelay();
    await world.until(() => stream.messages.at(-1)?.message.mark.last === true);
  });

  describe("with a target that stands still while the queue is full", () => {
    const AWAY = "a->c";
    const ALL_AGAIN = {
      resend: { id: "x", from: 1 },
      copies: [],
      position: { batch: 0, chunk: 0 },
    };
    let quickly: NodeJS.Timeout | undefined;

    beforeEach(() => {
      vi.useFakeTimers({ toFake: ["performance"] });
      quickly = setInterval(() => vi.advanceTimersByTime(1_000), 10);
    });
    afterEach(() => {
      clearInterval(quickly);
      vi.useRealTimers();
    });

    /** The other target has more than the queue holds. */
    async function leftBehind() {
      world = new MemoryWorld(4, [AWAY]);
      await world.confirm(0, { sync: AWAY });
      world.startRelay();
      const applier = world.startApplier();
      await world.synced();
      for (let i = 0; i < 12; i++) {
        world.fill(1);
        await world.synced();
      }
      const stream = await world.queue.openStream("a");
      const inQueue = () => stream.messages.map(({ message }) => message.mark.batch);
      expect(Math.min(...inQueue())).toBeGreaterThan(4);
      return { applier, inQueue };
    }

    it("goes on without it, and sends it again what it missed", async () => {
      const { inQueue } = await leftBehind();
      await world.queue.documents.put(keys.request("a", AWAY), ALL_AGAIN);
      const last = world.source.headers.length;
      for (let batch = 1; batch <= last; batch++) {
        await world.until(() => inQueue().includes(batch));
        await world.confirm(batch, { sync: AWAY });
      }
      await world.until(() => world.source.purgedTo === last);
    });

    it("sends it what it missed also while the queue is full of what the other does not read", async () => {
      const { applier, inQueue } = await leftBehind();
      applier.stop();
      const { headers } = world.source;
      // The last one is cut and finds no room.
      for (let isFull = false; !isFull; ) {
        isFull = inQueue().length === 4;
        const known = headers.length;
        world.fill(1);
        await world.until(() => headers.length > known);
      }
      await world.queue.documents.put(keys.request("a", AWAY), ALL_AGAIN);
      await world.until(() => inQueue().join() === "1,2,3,4");
    });
  });
});
