import { afterEach, expect, it, vi } from "vitest";
import { MemoryWorld, SYNC } from "../../test/support/memory-world.ts";
import type { Layout } from "../core/change.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { tail } from "./tail.ts";

let world = new MemoryWorld();
const definition: PipelineDefinition = {
  databases: [],
  queue: { url: "", maxStreamBytes: 0 },
  syncs: [{ name: SYNC, from: "a", to: "b", tables: [] }],
  retention: { maxLogBytes: 0, keptMs: 0 },
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

it("gives nothing more once the signal has aborted", async () => {
  world = new MemoryWorld();
  world.source.insert("first");
  world.source.insert("second");
  world.startRelay();
  const ended = new AbortController();
  const options = { signal: ended.signal, fromStart: true };
  const seen: unknown[] = [];
  for await (const { row } of tail(definition, world.queue, options)) {
    seen.push(row);
    // The next one is on its way meanwhile.
    await new Promise((resolve) => setImmediate(resolve));
    ended.abort();
  }
  expect(seen).toEqual([{ id: "first" }]);
});

it("says so at once when no sync reads the source that was asked for", async () => {
  const { signal } = new AbortController();
  const reading = tail(definition, world.queue, { signal, source: "b" }).next();
  await expect(reading).rejects.toMatchObject({
    code: "TM-USAGE",
    message: 'No sync reads from a database named "b".',
    fix: "Known sources: a.",
  });
});

it("waits for what the queue has lost of how rows look, and passes over none of them", async () => {
  world = new MemoryWorld();
  const { source, queue } = world;
  source.insert("first");
  const relay = world.startRelay();
  const stream = await queue.openStream("a");
  await world.until(async () => (await stream.tail()).mark !== null);
  relay.stop();
  const layouts = await queue.documents.list("layout/");
  expect(layouts.size).toBe(1);
  for (const key of layouts.keys()) await queue.documents.remove(key);

  const ended = new AbortController();
  const seen: unknown[] = [];
  const asked = vi.spyOn(queue.documents, "get");
  const reading = (async () => {
    const options = { signal: ended.signal, fromStart: true };
    for await (const { row, index } of tail(definition, queue, options)) seen.push({ row, index });
  })();
  await world.until(() => asked.mock.calls.length > 1);
  expect(seen).toEqual([]);
  for (const [key, layout] of layouts) await queue.documents.put(key, layout);
  await world.until(() => seen.length === 1);
  expect(seen).toEqual([{ row: { id: "first" }, index: 0 }]);
  ended.abort();
  await reading;
});

it("names a column as it is called, be it by what every object has", async () => {
  world = new MemoryWorld();
  const { source, queue } = world;
  source.insert("first");
  const relay = world.startRelay();
  const stream = await queue.openStream("a");
  await world.until(async () => (await stream.tail()).mark !== null);
  relay.stop();
  for (const [key, layout] of await queue.documents.list("layout/")) {
    const { columns } = layout as unknown as Layout;
    const renamed = columns.map((column) => ({ ...column, name: "__proto__" }));
    await queue.documents.put(key, { ...(layout as object), columns: renamed });
  }
  const { signal } = new AbortController();
  for await (const { row, key } of tail(definition, queue, { signal, fromStart: true })) {
    expect([row, key].map((each) => Object.entries(each ?? {}))).toEqual([
      [["__proto__", "first"]],
      [["__proto__", "first"]],
    ]);
    break;
  }
});
