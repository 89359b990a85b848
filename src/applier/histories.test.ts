// Which history an applier follows, and what it begins or forgets with it (G1, G2, G4).
import { afterEach, describe, expect, it } from "vitest";
import { connectionLost } from "../../test/support/memory-target.ts";
import { MemoryWorld, SYNC } from "../../test/support/memory-world.ts";
import { keys, type Notice } from "../core/documents.ts";
import { timelineHash } from "../core/hash.ts";
import { encodePieces } from "../core/message.ts";
import { START } from "../core/position.ts";
import type { Progress } from "../core/target.ts";

const FEW_SECONDS = 20_000;
let world = new MemoryWorld();

afterEach(() => world.stop());

/** A sync that has copied a table which is not in it any more. */
function knowingAnother(timeline: string, hash = timelineHash(timeline)): Progress {
  const copied = { state: "live", cursor: "1", copy: "c:f:gone", hasRows: true } as const;
  return { timeline, position: START, hash, tables: [{ table: "gone", ...copied }] };
}

describe("applier", { timeout: FEW_SECONDS }, () => {
  it("changes nothing at the target for a source that is on another history", async () => {
    world = new MemoryWorld();
    world.fill(1);
    const before = knowingAnother("another");
    world.target.progress = before;
    world.startRelay();
    const applier = world.startApplier();
    await world.until(() => applier.status.state === "stopped");
    expect(applier.status.error?.code).toBe("TM-TIMELINE-CHANGED");
    expect(world.target.progress).toEqual(before);
  });

  it("changes nothing at the target before a relay has said which history the source is on", async () => {
    world = new MemoryWorld();
    const before = knowingAnother("tl");
    world.target.progress = before;
    world.source.confirmed.set(SYNC, 0);
    const applier = world.startApplier();
    await world.until(() => applier.status.error !== null);
    expect(applier.status.error?.message).toContain('Waiting for the relay of "a"');
    expect(world.target.progress).toEqual(before);
    world.fill(1);
    world.startRelay();
    await world.until(() => world.target.rows.size === 1);
    await world.synced();
    expect(world.target.progress.tables.map(({ table }) => table)).toEqual(["t"]);
    expect(applier.status.error).toBeNull();
  });

  it("lets another sync forget what it has copied into a table that it begins to write", async () => {
    world = new MemoryWorld();
    world.fill(1);
    const copied = { sync: "old", table: "t", state: "live", copy: "id:f:t" } as const;
    const elsewhere = { ...copied, copy: "id:f:u" };
    const waiting = { ...copied, sync: "waits", state: "pending" } as const;
    world.target.others = [copied, elsewhere, waiting];
    world.startRelay();
    world.startApplier();
    await world.synced();
    expect(world.target.others).toEqual([elsewhere, waiting]);
    // Only then: what comes to be the other one's again is not taken from it at each start.
    await world.stop();
    world.target.others = [copied];
    world.startRelay();
    world.startApplier();
    world.fill(1);
    await world.synced();
    expect(world.target.others).toEqual([copied]);
  });

  it("joins anew when it has had to forget all its tables: the log need not have kept what it had to read", async () => {
    world = new MemoryWorld();
    for (let i = 0; i < 4; i++) {
      world.fill(1);
      world.source.cutNow();
    }
    world.source.purgedTo = 3;
    world.source.confirmed.set(SYNC, 3);
    const position = { batch: 1, chunk: 0 };
    world.target.progress = { timeline: "tl", position, hash: "h1", tables: [] };
    world.startRelay();
    const applier = world.startApplier();
    await world.until(() => applier.status.state === "stopped" || world.target.rows.size === 4);
    expect(applier.status.error).toBeNull();
    await world.synced();
  });

  it.each([
    ["by the word of its source", { timelineOfSource: begun("another") }],
    ["by a source elsewhere", { isApart: true, timelineOfSource: begun("another") }],
    ["by one that was never read", { isApart: true, timelineOfSource: async () => null }],
  ])("does not join the relay of another database, as it knows %s", async (_, knows) => {
    world = new MemoryWorld();
    world.fill(1);
    const relay = world.startRelay("elsewhere");
    await world.until(() => relay.status.state === "running");
    const { documents } = world.queue;
    const theirs = { sync: SYNC, position: START };
    await documents.put(keys.progress(SYNC), theirs);
    const applier = world.startApplier({ database: "here", ...knows });
    await expect(world.ended(applier)).rejects.toMatchObject({ code: "TM-NAME-TAKEN" });
    expect(world.source.confirmed.has(SYNC)).toBe(false);
    expect(world.target.rows.size).toBe(0);
    // The other project may have a sync of that name.
    expect(await documents.get(keys.progress(SYNC))).toEqual(theirs);
    expect(await documents.get(keys.applier(SYNC))).toBeNull();
  });

  it.each([
    ["whose source has its timeline only then", "here", { timelineOfSource: begun(null, "tl") }],
    ["that names the source otherwise", "there", { isApart: true, timelineOfSource: begun("tl") }],
    ["that cannot reach it", "there", { isApart: true, timelineOfSource: unreachable }],
    ["that names it alike", "here", { isApart: true, timelineOfSource: begun("another") }],
  ])("joins the relay of one %s", async (_, database, knows) => {
    world = new MemoryWorld();
    world.fill(1);
    world.startApplier({ database, ...knows });
    world.startRelay("here");
    await world.synced();
  });

  /** What a source says each time that it is asked for its timeline; the last from then on. */
  function begun(...answers: (string | null)[]): () => Promise<string | null> {
    return async () => (answers.length > 1 ? answers.shift() : answers[0]) ?? null;
  }

  async function unreachable(): Promise<null> {
    throw connectionLost();
  }

  describe("when the queue holds what another relay has left there", () => {
    async function leftBy(timeline: string): Promise<void> {
      world = new MemoryWorld();
      const copied = { state: "live", cursor: null, copy: "c:f:t", hasRows: false } as const;
      const followed = { timeline: "tl", position: START, hash: timelineHash("tl") };
      world.target.progress = { ...followed, tables: [{ table: "t", ...copied }] };
      world.source.confirmed.set(SYNC, 0);
      const stream = await world.queue.openStream("a");
      const prevHash = timelineHash(timeline);
      const header = { timeline, batch: 1, prevHash, hash: "h", cutAt: "", committedAt: "" };
      const envelope = { source: "a", header, chunk: 0, copy: null };
      for await (const messages of encodePieces(envelope, nothing(), 1_000_000)) {
        await stream.append(await stream.tail(), messages);
      }
    }

    async function* nothing(): AsyncGenerator<[]> {}

    it("waits for the relay of its source, and goes on", async () => {
      await leftBy("another");
      const applier = world.startApplier();
      await world.until(() => applier.status.error !== null);
      expect(applier.status.state).toBe("running");
      expect(applier.status.error?.message).toContain('Waiting for the relay of "a"');
      world.fill(1);
      world.startRelay();
      await world.until(() => world.target.rows.size === 1);
      await world.synced();
    });

    it("stops when the relay says that its source is on another history", async () => {
      await leftBy("tl");
      await (await world.queue.openStream("a")).reset();
      world.fill(1);
      world.target.progress = { ...world.target.progress, timeline: "another" };
      const applier = world.startApplier();
      await world.until(() => applier.status.state === "running");
      world.startRelay();
      await world.until(() => applier.status.state === "stopped");
      expect(applier.status.error?.code).toBe("TM-TIMELINE-CHANGED");
      expect(applier.status.error?.message).toContain("the source now is on tl");
    });
  });

  it("has told that a table is copied anew when it says that it works", async () => {
    world = await MemoryWorld.running();
    await world.stop();
    world.target.rows.clear();
    let told: Promise<Notice | null> | null = null;
    world.startRelay();
    world.startApplier({}, () => {
      told ??= world.notice();
    });
    await world.until(() => told !== null);
    expect(await told).toMatchObject({ tablesPending: 1 });
  });

  it("does not let a target made anew pass for the one before", async () => {
    world = await MemoryWorld.running();
    await world.stop();
    const { source, queue } = world;
    world = Object.assign(new MemoryWorld(), { source, queue });
    world.startApplier();
    await world.until(async () => (await world.notice()) === null);
  });
});
