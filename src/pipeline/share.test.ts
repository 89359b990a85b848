// What of a pipeline a process does, and that one with nothing to do is refused (G8).
import { expect, test } from "vitest";
import type { PipelineDefinition } from "../core/definition.ts";
import { type ShareOptions, shareOf } from "./share.ts";

const sync = (from: string, to: string) => ({ name: `${from}->${to}`, from, to, tables: [] });
const DEFINITION: PipelineDefinition = {
  retention: { maxLogBytes: 1_000_000, keptMs: 0 },
  databases: ["shop", "copy", "reports", "spare"].map((name) => ({ name, url: `sqlite:${name}` })),
  queue: { url: "sqlite:./queue", maxStreamBytes: 1_000_000 },
  syncs: [sync("shop", "copy"), sync("shop", "reports")],
};

test.each<[ShareOptions, { sources: string[]; targets: string[]; syncs: string[] }]>([
  [{}, { sources: ["shop"], targets: ["copy", "reports"], syncs: ["shop->copy", "shop->reports"] }],
  [
    { databases: ["shop", "copy"] },
    { sources: ["shop"], targets: ["copy"], syncs: ["shop->copy"] },
  ],
  [{ databases: ["copy"] }, { sources: [], targets: ["copy"], syncs: ["shop->copy"] }],
  [{ role: "relay" }, { sources: ["shop"], targets: [], syncs: ["shop->copy", "shop->reports"] }],
  [
    { role: "applier", databases: ["shop", "reports"] },
    { sources: [], targets: ["reports"], syncs: ["shop->reports"] },
  ],
])("%j", (options, expected) => {
  const { sources, targets, syncs } = shareOf(DEFINITION, options);
  expect({ sources: [...sources], targets: [...targets], syncs }).toEqual(expected);
});

test.each<[ShareOptions, string, string]>([
  [{ role: "relay", databases: ["copy"] }, 'reads from "copy"', ": shop."],
  [{ role: "applier", databases: ["shop"] }, 'writes to "shop"', ": copy, reports."],
  [{ databases: ["spare"] }, 'reads or writes "spare"', ": shop, copy, reports."],
])("nothing to do: %j", (options, what, names) => {
  expect(() => shareOf(DEFINITION, options)).toThrow(
    expect.objectContaining({
      code: "TM-USAGE",
      message: `This process would have nothing to do: no sync of the config ${what}.`,
      fix: expect.stringContaining(names),
    }),
  );
});
