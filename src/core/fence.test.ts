// Fences between parts of a pipeline that are upgraded one after the other.
import { expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { type FenceDocument, keys } from "./documents.ts";
import { askFence } from "./fence.ts";

it("takes what the relay of an earlier version answers, which compares nothing", async () => {
  const { documents } = new MemoryQueue();
  const { signal } = new AbortController();
  const holds = { timeline: "tl", batch: 1, hash: "h" };
  const asked = askFence(documents, "a", { holds, signal });
  for await (const { key, value } of documents.watch(keys.fences("a"), signal)) {
    const answer = { timeline: "tl", batch: 2, hash: "i" };
    await documents.put(key, { ...(value as FenceDocument), answer });
    break;
  }
  expect(await asked).toEqual({
    ...{ timeline: "tl", batch: 2, hash: "i" },
    ...{ fits: true, syncs: {}, database: null },
  });
});
