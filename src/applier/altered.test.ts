// What is kept in mind of a target that was altered (G1, G4).
import { beforeEach, expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { MemoryTarget } from "../../test/support/memory-target.ts";
import { keys, type Notice } from "../core/documents.ts";
import { silentLogger } from "../core/log.ts";
import type { Documents } from "../core/queue.ts";
import type { Progress } from "../core/target.ts";
import { noteAltered } from "./altered.ts";

const SYNC = "a->b";
const LIVE: Progress = {
  timeline: "tl",
  position: { batch: 3, chunk: 0 },
  hash: "h",
  tables: ["t", "u"].map((table) => ({
    ...{ table, state: "live", cursor: null, copy: "c:", hasRows: true },
  })),
};
const { timeline, position, hash } = LIVE;
const TOLD: Notice = {
  ...{ sync: SYNC, source: "a", timeline, position, hash, tablesPending: 0 },
  ...{ at: "2026-01-01T00:00:00.000Z", lagMs: 0, fingerprint: "f" },
};

let documents: MemoryQueue["documents"];
let target: MemoryTarget;
beforeEach(async () => {
  ({ documents } = new MemoryQueue());
  target = new MemoryTarget();
  target.progress = LIVE;
  await documents.put(keys.progress(SYNC), TOLD);
});

const options = () => ({
  ...{ sync: SYNC, openTarget: async () => target, logger: silentLogger },
  withDocuments: (use: (documents: Documents) => Promise<void>) => use(documents),
});
const copying = () => target.progress.tables.filter(({ state }) => state === "copying");

it("is told before it is copied: nobody who waits may take the target to have it all", async () => {
  let told = documents.get("nothing");
  target.onCommit = () => {
    told = documents.get(keys.progress(SYNC));
  };
  await noteAltered(options(), ["t"]);
  expect(copying().map(({ table }) => table)).toEqual(["t"]);
  expect(await told).toEqual({ ...TOLD, tablesPending: 1 });
});

it("is noted although the queue is away", async () => {
  documents.failing = { prefix: keys.progress(SYNC), times: 1 };
  await noteAltered(options(), ["t"]);
  expect(copying()).toHaveLength(1);
});

it("is noted when an applier that has just ended is missed a moment later", async () => {
  const open = target.openApplier.bind(target);
  let asked = 0;
  const late = Object.assign(target, {
    openApplier: async () => (++asked < 3 ? null : await open()),
  });
  await noteAltered({ ...options(), openTarget: async () => late as MemoryTarget }, ["t"]);
  expect(copying()).toHaveLength(1);
});
