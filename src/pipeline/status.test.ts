// What status tells between two heartbeats (G4).
import { expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import {
  keys,
  type Notice,
  type SourceStatus,
  UNKNOWN_SOURCE,
  UNKNOWN_SYNC,
} from "../core/documents.ts";
import { readStatus } from "./status.ts";

const DEFINITION: PipelineDefinition = {
  retention: { maxLogBytes: 1_000_000, keptMs: 0 },
  databases: [],
  queue: { url: "sqlite:./queue", maxStreamBytes: 1_000_000 },
  syncs: [{ name: "a->b", from: "a", to: "b", tables: [] }],
};

async function told(notice: Partial<Notice>, relay: Partial<SourceStatus> = {}) {
  const { documents } = new MemoryQueue();
  const heartbeatAt = new Date().toISOString();
  const running = { state: "running", heartbeatAt } as const;
  const source = { ...UNKNOWN_SOURCE, ...running, name: "a", timeline: "t", batch: 5, ...relay };
  await documents.put(keys.relay("a"), source);
  const position = { batch: 4, chunk: 0 };
  const sync = { ...UNKNOWN_SYNC, ...running, name: "a->b", from: "a", to: "b", position };
  await documents.put(keys.applier("a->b"), sync);
  const at = new Date().toISOString();
  const whole = { sync: "a->b", source: "a", timeline: "t", at, lagMs: 7, tablesPending: 0 };
  await documents.put(keys.progress("a->b"), { ...whole, fingerprint: "", ...notice });
  const queue = Object.assign(new MemoryQueue(), { documents });
  return (await readStatus(DEFINITION, queue)).syncs[0];
}

it("knows of a batch that a notice has told of, and the applier's heartbeat not yet", async () => {
  const sync = await told({ position: { batch: 5, chunk: 0 } });
  expect(sync).toMatchObject({ behindBatches: 0, position: { batch: 5 }, lagMs: 0 });
  expect(sync?.appliedAt).not.toBeNull();
});

it.each([
  ["cannot be reached", { error: { code: "TM-CONNECT-FAILED", message: "", fix: null } }],
  ["has no relay at work", { state: "stopped" } as const],
])("does not say that there is no lag behind a source that %s", async (_, relay) => {
  expect(await told({ position: { batch: 5, chunk: 0 } }, relay)).toMatchObject({ lagMs: 7 });
});

it("does not say that there is no lag where the relay at work does not have the sync", async () => {
  const there = { position: { batch: 5, chunk: 0 } };
  expect(await told(there, { syncs: ["a->c"] })).toMatchObject({ lagMs: 7 });
  expect(await told(there, { syncs: ["a->b"] })).toMatchObject({ lagMs: 0 });
});

it("goes by the heartbeat where the notice is older, or of another timeline", async () => {
  expect(await told({ position: { batch: 3, chunk: 0 } })).toMatchObject({ behindBatches: 1 });
  const other = { timeline: "u", position: { batch: 5, chunk: 0 } };
  expect(await told(other)).toMatchObject({ behindBatches: 1, position: { batch: 4 } });
});

it.each([
  ["is heard of no more", -60_000],
  ["stopped while its clock was ahead", 3_600_000],
])("believes nobody to be running who %s", async (_, aheadMs) => {
  const { documents } = new MemoryQueue();
  const heartbeatAt = new Date(Date.now() + aheadMs).toISOString();
  const running = { state: "running", heartbeatAt } as const;
  await documents.put(keys.relay("a"), { ...UNKNOWN_SOURCE, ...running, name: "a" });
  const sync = { ...UNKNOWN_SYNC, ...running, name: "a->b", from: "a", to: "b" };
  await documents.put(keys.applier("a->b"), sync);
  const queue = Object.assign(new MemoryQueue(), { documents });
  const { sources, syncs } = await readStatus(DEFINITION, queue);
  expect([...sources, ...syncs].map(({ state }) => state)).toEqual(["unknown", "unknown"]);
});
