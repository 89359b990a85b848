import { afterEach, expect, it } from "vitest";
import { MemoryWorld, SYNC } from "../../test/support/memory-world.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { tail } from "./tail.ts";

let world = new MemoryWorld();
const definition: PipelineDefinition = {
  databases: [],
  queue: { url: "", maxStreamBytes: 0 },
  syncs: [{ name: SYNC, from: "a", to: "b", tables: [] }],
  retention: { maxLogBytes: 0 },
};

afterEach(() => world.stop());

it("lets a reader leave without waiting for the next change", async () => {
  world.startRelay();
  const { signal } = new AbortController();
  const options = { signal, fromStart: true };
  world.source.insert("first");
  let seen = 0;
  for await (const entry of tail(definition, world.queue, options)) {
    expect(entry.row).toEqual({ id: "first" });
    seen++;
    break;
  }
  expect(seen).toBe(1);
});

it("gives each change once when the stream is sent again, and waits for what the queue has lost of layouts", async () => {
  world = new MemoryWorld();
  const { source, queue } = world;
  const ended = new AbortController();
  const readers: Promise<void>[] = [];
  const reader = () => {
    const seen: (string | undefined | null)[] = [];
    const read = async () => {
      const options = { signal: ended.signal, fromStart: true };
      for await (const { row, batch, index } of tail(definition, queue, options)) {
        seen.push(`${row?.id} ${batch} ${index}`);
      }
    };
    readers.push(read());
    return seen;
  };
  const ids = (seen: readonly (string | undefined | null)[]) =>
    seen.map((text) => text?.split(" ")[0]);
  source.insert("first");
  world.startRelay();
  world.startApplier();
  await world.synced();
  source.insert("second");
  await world.synced();
  const seen = reader();
  await world.until(() => ids(seen).includes("second"));
  // Whoever lacks something has all of it sent again.
  await (await queue.openStream("a")).reset();
  queue.documents.wipe();
  const late = reader();
  source.insert("third");
  await world.until(() => ids(seen).includes("third") && ids(late).includes("third"));
  ended.abort();
  await Promise.all(readers);
  expect(ids(seen).slice(-2)).toEqual(["second", "third"]);
  expect(new Set(seen).size).toBe(seen.length);
});
