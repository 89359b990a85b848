// One name in a queue is one database's: which relay may have it, and when it must give way (G1, G8).
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { type ClaimDocument, keys, type Notice, UNKNOWN_SYNC } from "../core/documents.ts";
import { silentLogger } from "../core/log.ts";
import { Claim } from "./claim.ts";

const OURS = { timeline: "ours", identity: "1" };
const THEIRS = { timeline: "theirs", identity: "2" };
const COPY = { timeline: "ours", identity: "2" };
const KEY = keys.claim("shop");
/** Longer than anybody who lives is silent. */
const SILENCE_MS = 16_000;

let queue: MemoryQueue;
let ended: AbortController;
let losses: number;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  queue = new MemoryQueue();
  ended = new AbortController();
  losses = 0;
});
afterEach(() => {
  ended.abort();
  vi.useRealTimers();
});

function claim(database = "ours"): Claim {
  const made = new Claim({
    source: "shop",
    syncs: new Set(["shop->mine"]),
    database,
    documents: queue.documents,
    logger: silentLogger,
    onLost: () => losses++,
  });
  void made.keep(ended.signal);
  return made;
}

/** What becomes of ours: whether it had to wait, and whether it was given the name. */
async function taken(): Promise<{ readonly atOnce: boolean; readonly code: string | null }> {
  let code: string | null | undefined;
  const taking = claim()
    .take(OURS, ended.signal)
    .then(
      () => null,
      (error) => error.code as string,
    )
    .then((found) => {
      code = found;
    });
  await vi.advanceTimersByTimeAsync(0);
  const atOnce = code !== undefined;
  await vi.advanceTimersByTimeAsync(SILENCE_MS);
  await taking;
  return { atOnce, code: code ?? null };
}

const AT_ONCE = { atOnce: true, code: null };
const LATER = { atOnce: false, code: null };
const REFUSED = { atOnce: false, code: "TM-NAME-TAKEN" };

describe("the name of a source", () => {
  it.each([
    ["another database's relay at work", THEIRS, "held", true, REFUSED],
    ["another database's relay that has lost it", THEIRS, "waiting", true, REFUSED],
    ["another database's relay that has vanished", THEIRS, "held", false, LATER],
    ["another database's relay that has ended", THEIRS, "left", false, AT_ONCE],
    ["another relay of this database", OURS, "held", true, AT_ONCE],
    ["the relay of a copy with the same history", COPY, "held", true, REFUSED],
    ["a relay of this database, which has moved", COPY, "waiting", true, AT_ONCE],
    ["a relay of this database, which has moved, that has vanished", COPY, "held", false, LATER],
  ] as const)("where it is of %s", async (_, claimed, state, lives, outcome) => {
    const other = claim("theirs");
    if (lives) {
      await other.take(claimed, ended.signal);
      if (state === "waiting") await other.wait();
    } else {
      const document: ClaimDocument = { ...claimed, database: "theirs", state };
      await queue.documents.put(KEY, document);
    }
    expect(await taken()).toEqual(outcome);
    const holds = outcome.code === null ? "ours" : "theirs";
    expect(await queue.documents.get(KEY)).toMatchObject({ database: holds });
  });

  it.each([
    ["another database's relay ends", THEIRS, (other: Claim) => other.leave()],
    ["a relay finds out that its database has moved", COPY, (other: Claim) => other.wait()],
  ] as const)("where %s meanwhile", async (_, claimed, happens) => {
    const other = claim("theirs");
    await other.take(claimed, ended.signal);
    setTimeout(() => void happens(other), claimed === COPY ? 6_000 : 1_000);
    expect(await taken()).toEqual(LATER);
    expect(await queue.documents.get(KEY)).toMatchObject({ database: "ours" });
  });

  it.each([
    ["lives, of another config", "shop->theirs", "running", true, REFUSED],
    ["has vanished, of another config", "shop->theirs", "running", false, LATER],
    ["has ended, of another config", "shop->theirs", "stopped", false, AT_ONCE],
    ["ends meanwhile, of another config", "shop->theirs", "stopping", true, LATER],
    // It is told by its own check of the history, and stops.
    ["lives, of this config", "shop->mine", "running", true, AT_ONCE],
  ] as const)("where a target of another history %s", async (_, sync, state, lives, outcome) => {
    const { documents } = queue;
    const notice: Partial<Notice> = { sync, source: "shop", timeline: "theirs" };
    await documents.put(keys.progress(sync), notice);
    const status = (now: string) => ({ ...UNKNOWN_SYNC, name: sync, state: now });
    await documents.put(keys.applier(sync), status(state));
    const next = status(state === "stopping" ? "stopped" : state);
    if (lives) setTimeout(() => void documents.put(keys.applier(sync), next), 4_000);
    expect(await taken()).toEqual(outcome);
  });

  it("is one's alone of two that come at the same moment", async () => {
    const both = [claim().take(OURS, ended.signal), claim("theirs").take(THEIRS, ended.signal)];
    const settled = Promise.allSettled(both);
    await vi.advanceTimersByTimeAsync(SILENCE_MS);
    expect((await settled).map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("is said again where the queue has lost it", async () => {
    const ours = claim();
    await ours.take(OURS, ended.signal);
    queue.documents.wipe();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await queue.documents.get(KEY)).toMatchObject({ database: "ours", state: "held" });
    expect(() => ours.throwIfLost()).not.toThrow();
  });

  it.each([
    ["a database that took it meanwhile", THEIRS, 1],
    ["a copy that took it meanwhile", COPY, 1],
    ["another relay of the source", OURS, 0],
  ])("is given up to %s, or not", async (_, claimed, lost) => {
    const ours = claim();
    await ours.take(OURS, ended.signal);
    const document: ClaimDocument = { ...claimed, database: "theirs", state: "held" };
    await queue.documents.put(KEY, document);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(losses).toBe(lost);
    const holds = lost === 0 ? "ours" : "theirs";
    expect(await queue.documents.get(KEY)).toMatchObject({ database: holds });
    if (lost > 0) expect(() => ours.throwIfLost()).toThrow(/taken by the relay/);
  });

  it("is left to another relay of the source by one that only waits", async () => {
    const waiting = claim();
    await waiting.take(OURS, ended.signal);
    await waiting.wait();
    await claim("other").take(COPY, ended.signal);
    await vi.advanceTimersByTimeAsync(5_000);
    await waiting.leave();
    expect(await queue.documents.get(KEY)).toMatchObject({ database: "other", state: "held" });
  });
});
