import { afterEach, expect, it } from "vitest";
import { MemoryWorld, SYNC } from "../../test/support/memory-world.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { tail } from "./tail.ts";

const world = new MemoryWorld();
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
