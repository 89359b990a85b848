// What a wait says when its time is over (G4).
import { expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { waitForSync } from "./wait.ts";

const DEFINITION: PipelineDefinition = {
  retention: { maxLogBytes: 1_000_000 },
  databases: [],
  queue: { url: "sqlite:./queue", maxStreamBytes: 1_000_000 },
  syncs: [{ name: "a->b", from: "a", to: "b", tables: [] }],
};

it("ends by its own code although the queue is away at that moment", async () => {
  const queue = new MemoryQueue();
  queue.documents.failing = { prefix: "fence/", times: Number.POSITIVE_INFINITY };
  const waiting = waitForSync(DEFINITION, queue, { timeoutMs: 20 });
  await expect(waiting).rejects.toMatchObject({ code: "TM-WAIT-TIMEOUT" });
});
