// What a resync does at a target that keeps no progress of its own (G1).
import { expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { BOUND } from "../../test/support/memory-target.ts";
import type { RowChange } from "../core/definition.ts";
import { keys } from "../core/documents.ts";
import type { Progress } from "../core/target.ts";
import { DeliverTarget } from "./deliver-target.ts";
import { emptyForResync } from "./resync.ts";

const SYNC = "a->b";
const TABLE = {
  source: "t",
  rule: { table: "t" },
  columns: ["id"],
  types: ["text"],
  key: ["id"],
  bound: BOUND,
  fingerprint: "",
};
const COPIED: Progress = {
  timeline: "tl",
  position: { batch: 1, chunk: 1 },
  hash: "",
  tables: [{ table: "t", state: "copying", cursor: "7", copy: "c:", hasRows: true }],
};

it("hands a function no clear that could be all that it is handed", async () => {
  const { documents } = new MemoryQueue();
  await documents.put(keys.delivered(SYNC), COPIED);
  const handed: RowChange[] = [];
  const deliver = ({ changes }: { readonly changes: readonly RowChange[] }) => {
    handed.push(...changes);
  };
  const session = await new DeliverTarget(deliver, documents).openApplier(SYNC);
  const resync = () =>
    emptyForResync(session, { sync: SYNC, tables: [TABLE], parked: null }, new Set(["t"]));
  documents.failing = { prefix: keys.delivered(SYNC), times: 1 };
  await expect(resync()).rejects.toThrow("The queue is away.");
  // The copy goes on behind what was handed over before.
  expect(await session.load()).toEqual(COPIED);
  expect(handed).toEqual([]);
  await resync();
  expect(await session.load()).toEqual({ ...COPIED, tables: [] });
});
