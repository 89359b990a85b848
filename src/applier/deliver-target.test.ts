import { expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import type { Delivery } from "../core/definition.ts";
import type { BoundTable } from "../core/target.ts";
import { DeliverTarget } from "./deliver-target.ts";

const TABLE: BoundTable = {
  name: { schema: null, name: "docs" },
  columns: [
    { name: "id", type: { kind: "text" } },
    { name: "body", type: { kind: "text" } },
  ],
  key: [0],
  parents: [],
  cascades: false,
  followed: false,
};

it("hands over no more at a time than a few megabytes, but for one change that is larger (G7)", async () => {
  const calls: Delivery[] = [];
  const target = new DeliverTarget(async (call) => {
    calls.push(call);
  }, new MemoryQueue().documents);
  const session = await target.openApplier("a->f");
  const start = await session.load();
  const transaction = await session.begin(start);
  const [small, wide, larger] = [1, 3, 9].map((megabytes) => "x".repeat(megabytes * 1024 * 1024));
  const bodies = [small, wide, wide, wide, larger, small, small];
  for (const [id, body] of bodies.entries()) {
    await transaction.put(TABLE, [[String(id), body ?? null]]);
  }
  const next = { ...start, timeline: "t", position: { batch: 1, chunk: 0 } };
  await transaction.commit(next);
  const ids = calls.map(({ changes }) => changes.map(({ key }) => Number(key?.id)));
  expect(ids).toEqual([[0, 1, 2], [3], [4], [5, 6]]);
  expect(calls.map(({ complete }) => complete)).toEqual([false, false, false, true]);
  expect(await session.load()).toEqual(next);
});
