// The relay between a source and a queue that fail at chosen moments (G1, G5, G7).
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connectionLost } from "../../test/support/memory-target.ts";
import { MemoryWorld, SYNC } from "../../test/support/memory-world.ts";
import {
  keys,
  type Notice,
  type RefusalDocument,
  type SourceStatus,
  UNKNOWN_SOURCE,
} from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import { askFence } from "../core/fence.ts";
import { silentLogger } from "../core/log.ts";

const FEW_SECONDS = 15_000;
let world = new MemoryWorld();

afterEach(() => world.stop());

describe("relay", { timeout: FEW_SECONDS }, () => {
  it("leaves the status to the one that took its lease while it was refused", async () => {
    world = await MemoryWorld.running();
    const refused = new TidemarkError("TM-AUTH-FAILED", "no");
    world.source.openChangeLog = () => Promise.reject(refused);
    world.source.failNextCut = refused;
    world.fill(1);
    const { documents } = world.queue;
    const told = async () => (await documents.get(keys.relay("a"))) as SourceStatus;
    await world.until(async () => (await told()).error !== null);
    const heartbeatAt = new Date(Date.now() + 1).toISOString();
    const other = { ...(await told()), error: null, heartbeatAt };
    await documents.put(keys.relay("a"), other);
    await world.stop();
    expect(await told()).toEqual(other);
  });

  it("tells what keeps it from beginning, over what the one before it has told", async () => {
    world = new MemoryWorld();
    const { documents } = world.queue;
    const last = { ...UNKNOWN_SOURCE, name: "a", state: "stopped" as const, batch: 7 };
    await documents.put(keys.relay("a"), last);
    const { openChangeLog } = world.source;
    const fix = "end it";
    const held = new TidemarkError("TM-RELAY-FENCED", "a session does not end", { fix });
    world.source.openChangeLog = () => Promise.reject(held);
    world.startRelay();
    const told = async () => (await documents.get(keys.relay("a"))) as SourceStatus;
    await world.until(async () => (await told()).error !== null);
    expect(await told()).toMatchObject({
      state: "running",
      batch: 7,
      error: { code: "TM-RELAY-FENCED", fix },
    });
    world.source.openChangeLog = openChangeLog;
    await world.until(async () => (await told()).error === null);
    expect(await told()).toMatchObject({ state: "running", batch: 0 });
  });

  it.each([false, true])(
    "tells once a minute that its status cannot be told: %s",
    async (begun) => {
      world = new MemoryWorld();
      const lines: string[] = [];
      world.logger = { ...silentLogger, warn: (_, message) => lines.push(message) };
      vi.useFakeTimers();
      try {
        const relay = world.startRelay();
        if (begun) await vi.waitUntil(() => relay.status.state === "running");
        world.source.openChangeLog = () => Promise.reject(connectionLost());
        world.source.failNextCut = connectionLost();
        world.fill(1);
        const prefix = keys.relay("a");
        world.queue.documents.failing = { prefix, times: Number.POSITIVE_INFINITY };
        await vi.advanceTimersByTimeAsync(600_000);
      } finally {
        vi.useRealTimers();
      }
      const told = lines.filter((line) => line.startsWith("status could not be published"));
      expect(told.length).toBeGreaterThan(8);
      expect(told.length).toBeLessThan(12);
    },
  );

  it("goes on with a copy when its session ended before a chunk was read", async () => {
    world = new MemoryWorld();
    world.fill(3);
    world.source.failNextCut = connectionLost();
    const request = { table: "t", copy: "c", attempt: 0, after: null };
    const position = { batch: 0, chunk: 0 };
    const document = { resend: null, copies: [request], position };
    await world.queue.documents.put(keys.request("a", SYNC), document);
    world.startRelay();
    const stream = await world.queue.openStream("a");
    await world.until(() => stream.messages.some(({ message }) => message.mark.chunk === 3));
  });

  it("begins its work while what is to be purged takes its time", async () => {
    world = new MemoryWorld();
    world.fill(1);
    world.source.cutNow();
    await world.confirm(1);
    const purge = Promise.withResolvers<void>();
    world.source.purging = purge.promise;
    world.startRelay();
    const stream = await world.queue.openStream("a");
    world.fill(1);
    await world.until(() => stream.messages.at(-1)?.message.mark.batch === 2);
    expect(world.source.purgedTo).toBe(0);
    purge.resolve();
    await world.until(() => world.source.purgedTo === 1);
  });

  it("tells the last batch when it stops, however soon that is", async () => {
    world = new MemoryWorld();
    const relay = world.startRelay();
    world.startApplier();
    await world.until(() => relay.status.state === "running");
    world.fill(1);
    await world.synced();
    await world.stop();
    expect(relay.status).toMatchObject({ state: "stopped", batch: world.source.headers.length });
    const stored = await world.queue.documents.get(keys.relay("a"));
    expect(stored).toMatchObject({ state: "stopped", batch: world.source.headers.length });
  });

  it.each([
    [{ timeline: "tl", database: "elsewhere" }, true],
    [{ timeline: null, database: "here" }, true],
    [{ timeline: null, database: null }, true],
    [{ timeline: "other", database: "here" }, false],
    [{ timeline: null, database: "elsewhere" }, false],
  ])("lets who means %j join: %s", async (meant, joins) => {
    world = new MemoryWorld();
    world.startRelay("here");
    const { signal } = new AbortController();
    const { documents } = world.queue;
    const answer = await askFence(documents, "a", { join: "a->c", meant, signal });
    expect(answer).toMatchObject({ timeline: "tl", database: "here" });
    expect(world.source.confirmed.has("a->c")).toBe(joins);
  });

  it("takes a question that an earlier version has left in the queue", async () => {
    world = new MemoryWorld();
    const { documents } = world.queue;
    const key = keys.fence("a", "1");
    await documents.put(key, { askedAt: "", join: "a->c", answer: null });
    const relay = world.startRelay("here");
    await world.until(() => world.source.confirmed.has("a->c"));
    await world.until(() => relay.status.state === "running");
    const { signal } = new AbortController();
    await askFence(documents, "a", { signal });
    expect(await documents.get(key)).toMatchObject({ answer: { timeline: "tl", fits: true } });
  });

  it("goes on for a target of which an earlier version has told, without the hash of its batch", async () => {
    world = new MemoryWorld();
    world.fill(1);
    world.source.cutNow();
    await world.confirm(1);
    const { documents } = world.queue;
    const { hash: _, ...notice } = (await documents.get(keys.progress(SYNC))) as Notice;
    await documents.put(keys.progress(SYNC), notice);
    const relay = world.startRelay();
    await world.until(() => world.source.confirmed.get(SYNC) === 1 || relay.status.error !== null);
    expect(relay.status.error).toBe(null);
  });

  it("touches nothing of a database that has taken its name meanwhile", async () => {
    world = new MemoryWorld();
    const relay = world.startRelay();
    await world.until(() => relay.status.state === "running");
    const { documents } = world.queue;
    const claim = { timeline: "other", identity: null, database: "elsewhere", state: "held" };
    await documents.put(keys.claim("a"), claim);
    const stream = await world.queue.openStream("a");
    await stream.reset();
    const at = { batch: 9, chunk: 0, piece: 0, fragment: 0, fragments: 1, last: true };
    const message = { mark: { timeline: "other", ...at, checksum: 0 }, body: new Uint8Array() };
    await stream.append(await stream.tail(), [message]);
    await world.until(() => relay.status.error?.code === "TM-QUEUE-CONFLICT");
    await documents.put(keys.claim("a"), claim);
    await world.stop();
    expect(stream.messages).toHaveLength(1);
    expect(await documents.get(keys.claim("a"))).toEqual(claim);
  });

  describe("whose source another relay holds", () => {
    const claim = { timeline: "tl", identity: null, database: null, state: "held" };
    let free: boolean;
    let asked: number;

    beforeEach(() => {
      world = new MemoryWorld();
      free = false;
      asked = 0;
      const { source } = world;
      const open = source.openChangeLog.bind(source);
      const openChangeLog = async () => {
        asked++;
        return free ? open() : null;
      };
      Object.assign(source, { openChangeLog });
      vi.useFakeTimers({ toFake: ["performance"], shouldAdvanceTime: true });
    });
    afterEach(() => void vi.useRealTimers());

    it("stands by for one of its queue", async () => {
      await world.queue.documents.put(keys.claim("a"), claim);
      const relay = world.startRelay();
      await world.until(() => relay.status.state === "standby");
    });

    it("is refused where that works for another queue", async () => {
      await world.queue.documents.put(keys.claim("a"), { ...claim, state: "left" });
      const relay = world.startRelay();
      await world.until(() => asked > 0);
      vi.advanceTimersByTime(61_000);
      await expect(world.ended(relay)).rejects.toMatchObject({ code: "TM-SOURCE-TAKEN" });
      expect(relay.status).toMatchObject({ state: "stopped", error: { code: "TM-SOURCE-TAKEN" } });
    });

    it("has it when that has ended meanwhile", async () => {
      const relay = world.startRelay();
      await world.until(() => asked > 0);
      expect(relay.status.state).toBe("unknown");
      free = true;
      await world.until(() => relay.status.state === "running");
    });
  });

  it("goes on behind what the queue lost, when all have confirmed it", async () => {
    world = new MemoryWorld();
    const stream = await world.queue.openStream("a");
    await world.confirm(0);
    const relay = world.startRelay();
    for (let i = 1; i <= 4; i++) {
      world.fill(1);
      await world.until(() => world.source.headers.length === i);
    }
    await world.confirm(4);
    await world.until(() => world.source.purgedTo === 4 && stream.messages.length === 0);
    stream.lose(2);
    world.fill(1);
    await world.until(() => stream.messages.at(-1)?.message.mark.batch === 5);
    expect(relay.status.state).toBe("running");
  });

  it("tells a sync that was given up once more, when the queue has lost that", async () => {
    world = new MemoryWorld();
    for (let i = 0; i < 4; i++) {
      world.fill(1);
      world.source.cutNow();
    }
    world.source.purgedTo = 4;
    await world.confirm(2);
    world.source.confirmed.delete(SYNC);
    world.startRelay();
    const refusal = () => world.queue.documents.get(keys.refusal("a", SYNC));
    await world.until(async () => (await refusal()) !== null);
    expect(await refusal()).toMatchObject({ from: 3 });
    world.queue.documents.wipe();
    await world.until(async () => (await refusal()) !== null);
  });

  it("takes no notice of a resend asked for by an applier that catches up meanwhile", async () => {
    world = new MemoryWorld();
    for (let i = 0; i < 3; i++) {
      world.fill(1);
      world.source.cutNow();
    }
    await world.confirm(1);
    const relay = world.startRelay();
    await world.until(() => relay.status.state === "running");
    const { documents } = world.queue;
    const put = documents.put.bind(documents);
    let isServed = false;
    documents.put = async (key, value) => {
      await put(key, value);
      // Before batches are sent anew.
      if (key !== keys.tables("a")) return;
      await world.confirm(3);
      world.source.purgedTo = 3;
      isServed = true;
    };
    const request = { resend: { id: "x", from: 2 }, copies: [], position: { batch: 0, chunk: 0 } };
    await documents.put(keys.request("a", SYNC), request);
    await world.until(() => isServed);
    world.fill(1);
    const stream = await world.queue.openStream("a");
    await world.until(() => stream.messages.at(-1)?.message.mark.batch === 4);
    expect(await documents.get(keys.refusal("a", SYNC))).toBe(null);
  });

  it("takes no notice of a resend asked for by an applier that has caught up", async () => {
    world = new MemoryWorld();
    for (let i = 0; i < 3; i++) {
      world.fill(1);
      world.source.cutNow();
    }
    world.source.purgedTo = 3;
    await world.confirm(3);
    const position = { batch: 0, chunk: 0 };
    const stale = { resend: { id: "x", from: 2 }, copies: [], position };
    await world.queue.documents.put(keys.request("a", SYNC), stale);
    const relay = world.startRelay();
    await world.until(() => relay.status.state === "running" && relay.status.heartbeatAt !== null);
    world.fill(1);
    const stream = await world.queue.openStream("a");
    await world.until(() => stream.messages.at(-1)?.message.mark.batch === 4);
    const refusal = await world.queue.documents.get(keys.refusal("a", SYNC));
    expect(refusal as RefusalDocument | null).toBe(null);
  });

  it("stops, and purges nothing, when a target has a batch that the source does not have", async () => {
    world = new MemoryWorld();
    world.fill(1);
    await world.confirm(0);
    const relay = world.startRelay();
    await world.until(() => relay.status.state === "running" && world.source.headers.length === 1);
    await world.confirm(4);
    await world.until(() => relay.status.state === "stopped");
    expect(relay.status.error?.code).toBe("TM-SOURCE-REWOUND");
    expect(world.source.purgedTo).toBe(0);
    expect(world.source.confirmed.get(SYNC)).toBe(0);
  });

  it("publishes nothing when it is told so before it begins", async () => {
    world = new MemoryWorld();
    world.fill(1);
    world.source.cutNow();
    await world.confirm(0);
    await world.confirm(2);
    const relay = world.startRelay();
    await world.until(() => relay.status.state === "stopped");
    expect(relay.status.error?.code).toBe("TM-SOURCE-REWOUND");
    const stream = await world.queue.openStream("a");
    expect(stream.messages).toEqual([]);
  });

  it("stops when a target has another batch of that number", async () => {
    world = new MemoryWorld();
    for (let i = 0; i < 3; i++) {
      world.fill(1);
      world.source.cutNow();
    }
    await world.confirm(2, { hash: "other" });
    const relay = world.startRelay();
    await world.until(() => relay.status.state === "stopped");
    expect(relay.status.error?.code).toBe("TM-SOURCE-REWOUND");
  });

  it("asks nothing of a notice that tells of another timeline", async () => {
    world = new MemoryWorld();
    world.fill(1);
    world.source.cutNow();
    await world.confirm(9, { timeline: "before" });
    const relay = world.startRelay();
    const stream = await world.queue.openStream("a");
    world.fill(1);
    await world.until(() => stream.messages.at(-1)?.message.mark.batch === 2);
    await world.until(() => relay.status.heartbeatAt !== null);
    expect(relay.status.state).toBe("running");
  });
});
