import { describe, expect, it } from "vitest";
import { isUnread } from "../../core/change.ts";
import type { StoredLayout } from "./layouts.ts";
import { isoTime, LogDecoder } from "./log-rows.ts";

function layout(readUpTo: number | null, key: readonly number[] = [0]): StoredLayout {
  const columns = ["a", "b"];
  return {
    id: 1,
    table: { schema: "public", name: "t" },
    columns: columns.map((name) => ({
      name,
      type: { kind: "text" },
      nativeType: "text",
      nullable: true,
      generated: false,
    })),
    key,
    filters: [],
    oid: "16384",
    shape: "statement",
    signature: JSON.stringify(columns.map((name, i) => [i + 1, name, "text"])),
    wholeRow: true,
    only: false,
    allColumns: true,
    readUpTo,
    retired: false,
    forgotten: false,
    kept: null,
    blind: false,
  };
}

function logged(op: string, text: string | null) {
  return ["1", "700", "2026-01-01 00:00:00+00", `1${op}`, text];
}

describe("a log row", () => {
  const read = (op: string, text: string | null) => {
    const { keyBefore, row, filters } = new LogDecoder([layout(null)]).change(logged(op, text), 1);
    return { keyBefore, row, filters };
  };

  it("has a letter for each condition before the row", () => {
    expect(read("I", "tf(x,(y)")).toEqual({
      keyBefore: null,
      row: ["x", "(y"],
      filters: [true, false],
    });
    expect(read("U", "(x,y)").filters).toEqual([]);
  });

  it("has the old key, and for TRUNCATE nothing", () => {
    for (const op of ["D", "K", "P"]) {
      expect(read(op, "(x)")).toEqual({ keyBefore: ["x"], row: null, filters: [] });
    }
    expect(read("T", null)).toEqual({ keyBefore: null, row: null, filters: [] });
  });
});

describe("rows of a table that was altered", () => {
  const decoder = new LogDecoder([layout(7)]);

  it("are read in the batches that were cut before", () => {
    const change = decoder.change(logged("I", "(x,y)"), 7);
    expect(change.row).toEqual(["x", "y"]);
  });

  it("are unread in later ones, whatever they hold, but for their keys", () => {
    for (const row of ["(x,y)", "(x)", "(x,y,z)"]) {
      expect(isUnread(decoder.change(logged("U", row), 8))).toBe(true);
    }
    expect(decoder.change(logged("D", "(x)"), 8).keyBefore).toEqual(["x"]);
  });

  it("are unread whole where there is no key", () => {
    const keyless = new LogDecoder([layout(7, [])]);
    for (const op of ["D", "K", "P"]) {
      expect(keyless.change(logged(op, "(x,y)"), 7).keyBefore).toEqual(["x", "y"]);
      expect(isUnread(keyless.change(logged(op, "(x,y,z)"), 8))).toBe(true);
      // Logged without what it was: one of a truncated partition is not all rows of the table.
      expect(isUnread(keyless.change(logged(op, null), 7))).toBe(true);
    }
  });

  it("stop the sync when they do not fit and nobody knows why", () => {
    const change = () => new LogDecoder([layout(null)]).change(logged("I", "(x,y,z)"), 1);
    expect(change).toThrow(/have changed/);
  });

  it("are unread where no sync carries the table, or another layout is in force", () => {
    const nobodys = { isInForce: () => false, lose: () => true };
    const read = (key: readonly number[], op: string, text: string | null) =>
      isUnread(new LogDecoder([layout(null, key)], nobodys).change(logged(op, text), 1));
    expect(read([0], "I", "(x,y,z)")).toBe(true);
    expect(read([0], "I", "(x,y)")).toBe(false);
    expect(read([0], "X", null)).toBe(true);
    expect(read([], "D", "(x,y,z)")).toBe(true);
    expect(read([], "D", "(x,y)")).toBe(false);
  });

  it("tell no key where what was logged as one may be another", () => {
    const blind = { ...layout(7), blind: true };
    const read = (op: string, batch: number) =>
      new LogDecoder([blind]).change(logged(op, "(x)"), batch);
    for (const op of ["D", "K", "P"]) {
      expect(read(op, 7).keyBefore).toEqual(["x"]);
      expect(isUnread(read(op, 8))).toBe(true);
    }
  });
});

it.each([
  ["2026-11-22 22:31:00.12345+00", "2026-11-22T22:31:00.123450Z"],
  ["2026-11-22 22:31:00.123456+00", "2026-11-22T22:31:00.123456Z"],
  ["2026-11-22 22:31:01+00:00", "2026-11-22T22:31:01.000000Z"],
])("tells the time %s so that it sorts as it is", (printed, iso) => {
  expect(isoTime(printed)).toBe(iso);
});
