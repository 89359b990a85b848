import { describe, expect, it } from "vitest";
import type { StoredLayout } from "./layouts.ts";
import { LogDecoder } from "./log-rows.ts";

function layout(id: number, columns: readonly [number: number, name: string][]): StoredLayout {
  return {
    id,
    table: { schema: "public", name: "t" },
    columns: columns.map(([, name]) => ({
      name,
      type: { kind: "text" },
      nativeType: "text",
      nullable: true,
      generated: false,
    })),
    key: [0],
    filters: [],
    oid: "16384",
    shape: "statement",
    signature: JSON.stringify(columns.map(([number, name]) => [number, name, "text"])),
    wholeRow: true,
    only: false,
    retired: false,
  };
}

const first = layout(1, [
  [1, "a"],
  [2, "b"],
]);

/** A log row that names layout 1. */
function logged(row: string) {
  return ["1", "700", "2026-01-01 00:00:00+00", "1", "I", null, row, null, null];
}

describe("rows logged between a change of columns and its capture", () => {
  it("are read by the layout that only added columns", () => {
    const added = layout(2, [
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ]);
    const change = new LogDecoder([first, added]).change(logged("(x,y,z)"));
    expect([change.layout, change.row]).toEqual([2, ["x", "y", "z"]]);
  });

  it("stop the sync when a column may have been dropped in between", () => {
    const later = layout(2, [
      [1, "a"],
      [2, "b"],
      [4, "d"],
    ]);
    expect(() => new LogDecoder([first, later]).change(logged("(x,y,z)"))).toThrow(/have changed/);
  });

  it("stop the sync when none has as many", () => {
    expect(() => new LogDecoder([first]).change(logged("(x,y,z)"))).toThrow(/have changed/);
  });
});
