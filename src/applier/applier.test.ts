// The applier between a queue and a target that fail at chosen moments (G1, G2, G4, G5).
import { afterEach, describe, expect, it } from "vitest";
import { connectionLost } from "../../test/support/memory-target.ts";
import { MemoryWorld, SYNC } from "../../test/support/memory-world.ts";
import { keys, type Order, type RequestDocument, type SyncStatus } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Progress } from "../core/target.ts";

const FEW_SECONDS = 20_000;
let world = new MemoryWorld();

afterEach(() => world.stop());

const request = async () =>
  (await world.queue.documents.get(keys.request("a", SYNC))) as RequestDocument | null;

describe("applier", { timeout: FEW_SECONDS }, () => {
  it("takes back what an earlier run asked for and did not live to take back", async () => {
    world = new MemoryWorld();
    world.fill(1);
    const header = world.source.cutNow();
    const position = { batch: 1, chunk: 0 };
    const tables = [
      { table: "t", state: "live", cursor: "1", copy: "c:f", hasRows: false } as const,
    ];
    world.target.progress = { timeline: "tl", position, hash: header?.hash ?? "", tables };
    const stale = { resend: { id: "x", from: 1 }, copies: [], position };
    await world.queue.documents.put(keys.request("a", SYNC), stale);
    world.startApplier();
    await world.until(async () => (await request())?.resend === null);
  });

  it("tells a position although the queue was away when it was reached", async () => {
    world = await MemoryWorld.running();
    world.queue.documents.failing = { prefix: "progress/", times: 3 };
    world.fill(1);
    await world.synced();
    await world.until(
      async () => (await world.notice())?.position.batch === world.source.headers.length,
    );
  });

  it("leaves the status to the one that took its lease while it was refused", async () => {
    world = await MemoryWorld.running();
    const refused = new TidemarkError("TM-AUTH-FAILED", "no");
    world.target.openApplier = () => Promise.reject(refused);
    world.target.failNextCommit = refused;
    world.fill(1);
    const { documents } = world.queue;
    const key = keys.applier(SYNC);
    const told = async () => (await documents.get(key)) as SyncStatus;
    await world.until(async () => (await told()).error !== null);
    const heartbeatAt = new Date(Date.now() + 1).toISOString();
    const other = { ...(await told()), error: null, heartbeatAt };
    await documents.put(key, other);
    await world.stop();
    expect(await told()).toEqual(other);
  });

  it("goes on copying although its request could not be written", async () => {
    world = new MemoryWorld();
    world.fill(40);
    world.queue.documents.failing = { prefix: "request/", times: 3 };
    world.startRelay();
    world.startApplier();
    await world.synced();
  });

  it("writes its notice again into a queue that lost its documents", async () => {
    world = await MemoryWorld.running();
    world.queue.documents.wipe();
    await world.until(
      async () => (await world.notice())?.position.batch === world.source.headers.length,
    );
  });

  it("takes chunks from a queue that was emptied in the middle of a copy", async () => {
    world = new MemoryWorld();
    world.fill(300);
    world.source.cutNow();
    const stream = await world.queue.openStream("a");
    let resets = 0;
    world.target.onCommit = ({ position }) => {
      if (position.chunk > 20 && resets++ === 0) void stream.reset();
    };
    world.startRelay();
    world.startApplier();
    await world.synced();
    expect(resets).toBeGreaterThan(0);
  });

  it("tells how far it has read, although all of that was copied for another", async () => {
    world = new MemoryWorld();
    world.fill(3);
    world.source.cutNow();
    const { documents } = world.queue;
    const copy = { table: "t", copy: "c", attempt: 0, after: null };
    const other = { resend: null, copies: [copy], position: { batch: 0, chunk: 0 } };
    await documents.put(keys.request("a", "a->c"), other);
    documents.failing = { prefix: "request/", times: Number.POSITIVE_INFINITY };
    world.startRelay();
    world.startApplier();
    await world.until(async () => ((await world.notice())?.position.chunk ?? 0) >= 3);
    expect((await world.notice())?.tablesPending).toBe(1);
  });

  it("stops when it was given up and the stream is empty", async () => {
    world = new MemoryWorld();
    world.fill(1);
    world.startRelay();
    const applier = world.startApplier();
    await world.synced();
    const stream = await world.queue.openStream("a");
    await stream.reset();
    const from = world.source.headers.length + 1;
    await world.queue.documents.put(keys.refusal("a", SYNC), { at: "", from, message: "gone" });
    await world.until(() => applier.status.state === "stopped");
    expect(applier.status.error?.code).toBe("TM-BATCH-PURGED");
  });

  describe("with progress that a queue which has lost all does not speak of", () => {
    /** At the third batch; the source has so many. */
    async function restored(batches: number, changed: Partial<Progress> = {}) {
      world = await MemoryWorld.running();
      for (let i = 0; i < 2; i++) {
        world.fill(1);
        await world.synced();
      }
      await world.stop();
      const { source, target } = world;
      world = Object.assign(new MemoryWorld(), { source, target });
      source.headers.splice(batches);
      target.progress = { ...target.progress, ...changed };
      // The relay is told of it by nobody else.
      world.queue.documents.failing = { prefix: "progress/", times: Number.POSITIVE_INFINITY };
      return { relay: world.startRelay(), applier: world.startApplier() };
    }

    it.each([
      ["has fewer batches", 2, {}],
      ["has none", 0, {}],
      ["has another batch in its place", 3, { hash: "other" }],
    ])("stops at a source that %s and sends nothing", async (_, batches, changed) => {
      const { relay, applier } = await restored(batches, changed);
      await world.until(() => applier.status.state === "stopped");
      expect(applier.status.error?.code).toBe("TM-SOURCE-REWOUND");
      expect(relay.status.state).toBe("running");
    });

    it("goes on with a source that has it", async () => {
      const { applier } = await restored(3);
      world.fill(1);
      await world.synced();
      expect(applier.status.error).toBe(null);
    });
  });

  it("passes by what a queue lost after it was applied, and goes on behind it", async () => {
    world = await MemoryWorld.running();
    const { source, target, queue } = world;
    const stream = await queue.openStream("a");
    // It was read before the queue had it on disk: nobody was told, so the log still has it.
    queue.documents.failing = { prefix: "progress/", times: Number.POSITIVE_INFINITY };
    for (let i = 0; i < 3; i++) {
      world.fill(1);
      await world.synced();
    }
    await world.stop();
    stream.lose(2);
    world = Object.assign(new MemoryWorld(), { source, queue, target });
    const commits: number[] = [];
    target.onCommit = ({ position }) => commits.push(position.batch);
    const last = source.headers.length;
    const isThere = () => stream.messages.some(({ message }) => message.mark.batch === last);
    world.startRelay();
    await world.until(isThere);
    queue.documents.failing = null;
    world.startApplier();
    world.fill(1);
    await world.synced();
    expect(commits.filter((batch) => batch <= last)).toEqual([]);
  });

  it("tells a position only when the target cannot lose it", async () => {
    world = await MemoryWorld.running();
    const { source, target } = world;
    let release = () => {};
    const durable = new Promise<void>((resolve) => {
      release = resolve;
    });
    let asked = 0;
    target.flush = () => {
      asked++;
      return durable;
    };
    const before = await world.notice();
    world.fill(1);
    await world.synced();
    await world.until(() => asked > 0);
    expect(await world.notice()).toEqual(before);
    release();
    await world.until(async () => (await world.notice())?.position.batch === source.headers.length);
  });

  it("answers who asked about rows set aside only when the target cannot lose what was done", async () => {
    world = await MemoryWorld.running();
    const { target, queue } = world;
    const { documents } = queue;
    let [committed, durable] = [0, 0];
    target.onCommit = () => {
      committed++;
    };
    target.flush = async () => {
      durable = committed;
    };
    const put = documents.put.bind(documents);
    let answeredAt: readonly [committed: number, durable: number] | null = null;
    documents.put = (key, value) => {
      const isAnswer = key.startsWith(keys.orders(SYNC)) && (value as Order).answer !== null;
      if (isAnswer) answeredAt = [committed, durable];
      return put(key, value);
    };
    const order: Order = { askedAt: "", action: "drop", ids: null, answer: null };
    await documents.put(keys.order(SYNC, "1"), order);
    await world.until(() => answeredAt !== null);
    expect(answeredAt).toEqual([1, 1]);
  });

  it("applies again what a target has lost that crashed after a commit", async () => {
    world = await MemoryWorld.running();
    const { target } = world;
    const before = { progress: target.progress, rows: [...target.rows] };
    let crashes = 0;
    target.flush = async () => {
      if (crashes++ > 0) return;
      target.progress = before.progress;
      target.rows.clear();
      for (const row of before.rows) target.rows.add(row);
      throw connectionLost();
    };
    world.fill(1);
    await world.until(() => crashes > 0);
    await world.synced();
    await world.until(async () => (await world.notice())?.position.batch === 2);
  });

  // These wait for what an applier lets pass: side by side, each in a world of its own.
  it.concurrent.for([
    ["is sent again what it has lost, while that is kept", 3_600_000] as const,
    ["stops where that is gone from the log", 0] as const,
  ])(
    "finds out that a target was put back while the source is quiet: %s",
    async ([_, keptMs], { onTestFinished }) => {
      const world = new MemoryWorld();
      onTestFinished(() => world.stop());
      world.keptMs = keptMs;
      world.fill(1);
      world.startRelay();
      const applier = world.startApplier();
      await world.synced();
      const { target } = world;
      const before = { progress: target.progress, rows: [...target.rows] };
      world.fill(1);
      await world.synced();
      const last = world.source.headers.length;
      await world.until(async () => (await world.notice())?.position.batch === last);
      // Else the queue has it still.
      await world.until(() => world.queue.streams.get("a")?.messages.length === 0);
      const all = [...target.rows];
      target.progress = before.progress;
      target.rows.clear();
      for (const row of before.rows) target.rows.add(row);
      if (keptMs === 0) {
        await expect(world.ended(applier)).rejects.toMatchObject({ code: "TM-BATCH-PURGED" });
      } else {
        await world.until(() => target.progress.position.batch === last);
        expect([...target.rows]).toEqual(all);
      }
    },
  );

  it.concurrent("holds nothing open at the target while the rest of a batch does not come", async ({
    onTestFinished,
  }) => {
    const world = await MemoryWorld.running();
    onTestFinished(() => world.stop());
    const { source, target, queue } = world;
    const stream = await queue.openStream("a");
    const append = stream.append.bind(stream);
    let release = () => {};
    const rest = new Promise<void>((resolve) => {
      release = resolve;
    });
    stream.append = async (after, messages) => {
      const tail = await append(after, messages);
      if (messages.some(({ mark }) => mark.batch === 2 && mark.piece === 3)) await rest;
      return tail;
    };
    for (let i = 0; i < 20_000; i++) source.insert(`${i}`.padStart(60));
    await world.until(() => target.open === 1);
    await world.until(() => target.open === 0);
    expect(target.progress.position.batch).toBe(1);
    release();
    await world.synced();
  });

  it.each([
    ["is away", connectionLost()],
    ["withholds a right", new TidemarkError("TM-GRANT-MISSING", "NATS does not permit it.")],
  ])("does not end because the queue %s while it asks for a resend", async (_title, failure) => {
    world = await MemoryWorld.running();
    const stream = await world.queue.openStream("a");
    let failed = false;
    const { documents } = world.queue;
    const get = documents.get.bind(documents);
    documents.get = async (key) => {
      if (failed || !key.startsWith("refusal/")) return get(key);
      failed = true;
      throw failure;
    };
    stream.losing = true;
    world.fill(1);
    await world.until(() => world.source.headers.length === 2);
    stream.losing = false;
    world.fill(1);
    await world.synced();
    expect(failed).toBe(true);
  });
});
