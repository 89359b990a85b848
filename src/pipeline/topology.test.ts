import { describe, expect, it } from "vitest";
import type { SyncDefinition } from "../core/definition.ts";
import { levelsOf } from "./topology.ts";

function sync(from: string, to: string): SyncDefinition {
  return { name: `${from}->${to}`, from, to, tables: [] };
}

describe("levels of syncs", () => {
  it("puts what reads a target after what writes it", () => {
    const syncs = [sync("b", "c"), sync("a", "b"), sync("a", "d"), sync("c", "e")];
    const names = levelsOf(syncs).map((level) => level.map(({ name }) => name));
    expect(names).toEqual([["a->b", "a->d"], ["b->c"], ["c->e"]]);
  });

  it("ends on a loop", () => {
    expect(levelsOf([sync("a", "b"), sync("b", "a")]).flat()).toHaveLength(2);
  });
});
