import { describe, expect, it } from "vitest";
import type { Change, Layout } from "../core/change.ts";
import type { RowObject, TableRule } from "../core/definition.ts";
import { LayoutMapping, type SyncTable } from "./mapping.ts";

const text = { kind: "text" } as const;

function layout(columns: readonly string[], filters: readonly string[] = []): Layout {
  const described = columns.map((name) => ({
    name,
    type: text,
    nativeType: "text",
    nullable: true,
    generated: false,
  }));
  return { id: 1, table: { schema: null, name: "t" }, columns: described, key: [0], filters };
}

function table(columns: readonly string[], rule: Partial<TableRule> = {}): SyncTable {
  const bound = {
    name: { schema: null, name: "t" },
    columns: columns.map((name) => ({ name, type: text })),
    key: [columns.indexOf("id")],
    parents: [],
    cascades: false,
    followed: false,
  };
  return {
    source: "t",
    rule: { table: "t", ...rule },
    columns,
    types: columns.map(() => "text"),
    key: ["id"],
    bound,
    fingerprint: "",
  };
}

function change(parts: Partial<Change>): Change {
  const none = { keyBefore: null, row: null, rowBefore: null, filters: [], transaction: null };
  return { layout: 1, op: "update", ...none, origin: null, hops: [], ...parts };
}

describe("mapping of a layout", () => {
  it("picks and orders the columns of the target", () => {
    const mapping = new LayoutMapping(table(["name", "id"]), layout(["id", "secret", "name"]));
    const effect = mapping.effectOf(change({ row: ["1", "s", "n"] }));
    expect([effect.row, effect.gone]).toEqual([["n", "1"], []]);
  });

  it("takes the old key away when the key changed", () => {
    const mapping = new LayoutMapping(table(["id"]), layout(["id"]));
    expect(mapping.effectOf(change({ keyBefore: ["1"], row: ["2"] })).gone).toEqual([["1"]]);
    expect(mapping.effectOf(change({ keyBefore: ["2"], row: ["2"] })).gone).toEqual([]);
  });

  it("tells a key given up from one deleted", () => {
    const mapping = new LayoutMapping(table(["id"]), layout(["id"]));
    const moved = (parts: Partial<Change>) => mapping.effectOf(change(parts)).moved;
    expect(moved({ keyBefore: ["1"], row: ["2"] })).toBe(true);
    expect(moved({ keyBefore: ["1"] })).toBe(true);
    expect(moved({ op: "delete", keyBefore: ["1"] })).toBe(false);
    expect(moved({ row: ["1"] })).toBe(false);
    const filtered = new LayoutMapping(table(["id"], { filter: () => false }), layout(["id"]));
    expect(filtered.effectOf(change({ keyBefore: ["1"], row: ["2"] }))).toMatchObject({
      gone: [["1"], ["2"]],
      moved: false,
    });
  });

  it("applies, ignores or refuses a truncate, as the rule says", () => {
    const clear = (truncate: "apply" | "ignore" | "stop") =>
      new LayoutMapping(table(["id"], { truncate }), layout(["id"])).effectOf(
        change({ op: "truncate" }),
      ).clear;
    expect([clear("apply"), clear("ignore")]).toEqual([true, false]);
    expect(() => clear("stop")).toThrow(
      expect.objectContaining({ code: "TM-TRUNCATE-REFUSED" }) as Error,
    );
  });

  it("applies, ignores or refuses the truncate of a part, as the rule says", () => {
    for (const without of [{}, { key: [] }]) {
      const effect = (truncate: "apply" | "ignore" | "stop") =>
        new LayoutMapping(
          { ...table(["id"], { truncate }), ...without },
          { ...layout(["id"]), ...without },
        ).effectOf(change({ op: "truncate", keyBefore: ["1"] }));
      expect(effect("apply")).toMatchObject({ clear: false, gone: [["1"]] });
      expect(effect("ignore")).toMatchObject({ clear: false, gone: [], row: null });
      expect(() => effect("stop")).toThrow(
        expect.objectContaining({ code: "TM-TRUNCATE-REFUSED" }) as Error,
      );
    }
  });

  it("takes away a row that leaves the filter, by whichever filter", () => {
    const leaves = { gone: [["1"]], row: null };
    const sql = new LayoutMapping(table(["id"], { where: "b" }), layout(["id"], ["a", "b"]));
    expect(sql.effectOf(change({ row: ["1"], filters: [true, false] }))).toMatchObject(leaves);
    const filter = new LayoutMapping(table(["id"], { filter: () => false }), layout(["id"]));
    expect(filter.effectOf(change({ row: ["1"] }))).toMatchObject(leaves);
    const transform = new LayoutMapping(table(["id"], { transform: () => null }), layout(["id"]));
    expect(transform.effectOf(change({ row: ["1"] }))).toMatchObject(leaves);
  });

  it("refuses a transform that changes the key, throws or gives no text", () => {
    const bad = [
      () => ({ id: "2" }),
      () => ({}),
      () => ({ id: 1 as unknown as string }),
      () => {
        throw new TypeError("broken");
      },
    ];
    for (const transform of bad) {
      const mapping = new LayoutMapping(table(["id"], { transform }), layout(["id"]));
      expect(() => mapping.effectOf(change({ row: ["1"] }))).toThrow(/transform/);
    }
  });

  it("tells a transform that speaks of a renamed column by its name at the source", () => {
    const rule = {
      rename: { id: "number", note: "text" },
      transform: () => ({ id: "1", note: "" }),
    };
    const mapping = new LayoutMapping(table(["id"], rule), layout(["id"]));
    expect(() => mapping.effectOf(change({ row: ["1"] }))).toThrow(
      'gave a column "note": it is renamed, and functions know it as "text"',
    );
  });

  it.each(["filter", "transform"] as const)(
    "does not take a renamed column for empty where a %s asks for it by its old name",
    (name) => {
      const ask = (row: RowObject) => row.name !== "draft";
      const rule =
        name === "filter"
          ? { filter: ask }
          : { transform: (row: RowObject) => (ask(row) ? row : null) };
      const renamed = table(["id", "state"], { rename: { name: "state" }, ...rule });
      const mapping = new LayoutMapping(renamed, layout(["id", "state"]));
      const cause = new ReferenceError('column "name" is renamed: functions know it as "state"');
      const failing = () => mapping.effectOf(change({ row: ["1", "draft"] }));
      expect(failing).toThrow(expect.objectContaining({ code: "TM-TRANSFORM-FAILED", cause }));
    },
  );

  it("takes true for a yes, false and null for a no, and refuses what else a filter gives", () => {
    const passes = (answer: unknown) => {
      const filter = () => answer as boolean;
      const mapping = new LayoutMapping(table(["id"], { filter }), layout(["id"]));
      return mapping.effectOf(change({ row: ["1"] })).row !== null;
    };
    expect([true, false, null].map(passes)).toEqual([true, false, false]);
    expect(() => passes("false")).toThrow("filter gave a string (true or false is wanted)");
    expect(() => passes(undefined)).toThrow("filter gave nothing");
    expect(() => passes(Promise.reject(new Error("later")))).toThrow("must not be async");
  });

  it("takes for a no what a filter that goes by a column gives of a null or of an empty text", () => {
    const passes = (filter: (row: RowObject) => unknown, name: string | null) => {
      const rule = { filter: filter as (row: RowObject) => boolean };
      const mapping = new LayoutMapping(table(["id", "name"], rule), layout(["id", "name"]));
      return mapping.effectOf(change({ row: ["1", name] })).row !== null;
    };
    const values = ["axe", "box", "", null];
    const asked = (filter: (row: RowObject) => unknown) =>
      values.map((value) => passes(filter, value));
    expect(asked(({ name }) => name?.startsWith("a"))).toEqual([true, false, false, false]);
    expect(asked(({ name }) => name && name < "b")).toEqual([true, false, false, false]);
    const without = ({ name }: RowObject) => {
      name?.startsWith("a");
    };
    for (const value of values) {
      expect(() => passes(without, value)).toThrow("filter gave nothing");
    }
  });

  it("does nothing for an unread change, unless it was logged without the key that there is now", () => {
    const whole = { ...table(["id", "name"]), key: [] };
    const keyless = { ...layout(["id", "name"]), key: [] };
    for (const op of ["insert", "update", "delete"] as const) {
      const nothing = { gone: [], row: null, clear: false };
      expect(new LayoutMapping(whole, keyless).effectOf(change({ op }))).toMatchObject(nothing);
    }
    const keyed = new LayoutMapping(table(["id", "name"]), keyless);
    expect(keyed.effectOf(change({ op: "insert" })).gone).toEqual([]);
    expect(() => keyed.effectOf(change({ op: "delete" }))).toThrow(/none can tell which/);
  });

  it("puts nothing of a layout that lacks a column or the filter, but takes away what is gone", () => {
    const older = [
      new LayoutMapping(table(["id", "added"]), layout(["id"])),
      new LayoutMapping(table(["id"], { where: "new" }), layout(["id"], ["old"])),
    ];
    for (const mapping of older) {
      expect(mapping.incomplete).toBe(true);
      const update = mapping.effectOf(change({ keyBefore: ["1"], row: ["2"] }));
      expect([update.row, update.gone]).toEqual([null, [["1"]]]);
      const removal = mapping.effectOf(change({ op: "delete", keyBefore: ["1"] }));
      expect(removal.gone).toEqual([["1"]]);
    }
  });

  it("says of rows copied otherwise than they were asked for whether the table or the relay's config is another", () => {
    const unfiltered = new LayoutMapping(table(["id"], { where: "id > 5" }), layout(["id"]));
    const error = unfiltered.outdated();
    expect(error.message).toBe(
      "t was copied without the condition that this sync has for it (where: id > 5): its relay was started with another config.",
    );
    expect(error.fix).toMatch(/the same config, restart the relay/);
    expect(error.details).toMatchObject({ altered: ["t"] });
    const retyped = new LayoutMapping({ ...table(["id"]), types: ["integer"] }, layout(["id"]));
    expect(retyped.outdated().message).toMatch(/t changed at the source/);
  });

  it("stops when the key is another", () => {
    const other = new LayoutMapping(table(["id"]), layout(["other"]));
    expect(() => other.effectOf(change({ row: ["1"] }))).toThrow(/key/);
  });

  it("gives the row before whole where there is no key, as it was mapped", () => {
    const keyless = (rule: Partial<TableRule>): SyncTable => {
      const made = table(["id", "name"], rule);
      return { ...made, key: [], bound: { ...made.bound, key: [] } };
    };
    const logged = { ...layout(["id", "secret", "name"]), key: [] };
    const update = change({ keyBefore: ["1", "s", "a"], row: ["1", "s", "b"] });
    const plain = new LayoutMapping(keyless({}), logged).effectOf(update);
    expect([plain.gone, plain.row]).toEqual([[["1", "a"]], ["1", "b"]]);
    const filter = ({ name }: RowObject) => name !== "a";
    const filtered = new LayoutMapping(keyless({ filter }), logged).effectOf(update);
    expect([filtered.gone, filtered.row]).toEqual([[], ["1", "b"]]);
    // Given a key since: the row before holds it.
    const keyed = new LayoutMapping(table(["id", "name"]), logged).effectOf(update);
    expect([keyed.gone, keyed.row]).toEqual([[], ["1", "b"]]);
    const moved = change({ keyBefore: ["1", "s", "a"], row: ["2", "s", "a"] });
    const effect = new LayoutMapping(table(["id", "name"]), logged).effectOf(moved);
    expect([effect.gone, effect.row]).toEqual([[["1"]], ["2", "a"]]);
    const lost = new LayoutMapping(keyless({}), layout(["id", "name"]));
    expect(() => lost.effectOf(update)).toThrow(
      expect.objectContaining({
        message: expect.stringContaining("no longer missing"),
        fix: expect.stringMatching(/^tidemark resync \w+, then tidemark run/),
      }),
    );
  });
});
