import { describe, expect, it } from "vitest";
import type { TableProgress, TableState } from "../core/target.ts";
import type { SyncTable } from "./mapping.ts";
import { TableStates } from "./tables.ts";

function table(fingerprint: string, target = "t"): SyncTable {
  const bound = {
    name: { schema: null, name: target },
    columns: [],
    key: [],
    parents: [],
    cascades: false,
    followed: false,
  };
  return { source: "t", rule: { table: "t" }, columns: [], types: [], key: [], bound, fingerprint };
}

function stored(state: TableState, cursor: string | null, fingerprint = "f1"): TableProgress[] {
  return [{ table: "t", state, cursor, copy: `id:${fingerprint}:t`, hasRows: false }];
}

const stateOf = (states: TableStates) => states.all.map(({ state, cursor }) => [state, cursor]);

describe("states of tables", () => {
  it("goes on where a table stood", () => {
    const states = new TableStates([table("f1")], stored("live", "k9"));
    expect(states.all).toEqual(stored("live", "k9"));
  });

  it("begins a table that it does not know", () => {
    const states = new TableStates([table("f1")], []);
    expect(stateOf(states)).toEqual([["pending", null]]);
    expect([...states.fresh]).toEqual(["t"]);
  });

  it("copies anew, passing no change by, what was copied under another rule", () => {
    const states = new TableStates([table("f2")], stored("live", "k9"));
    expect(stateOf(states)).toEqual([["copying", null]]);
    expect(states.takesChanges("t")).toBe(true);
    expect(states.requests()).toMatchObject([{ table: "t", after: null }]);
    expect(states.all[0]?.copy).not.toBe("id:f1:t");
  });

  it("copies anew, as one that is new to it, what goes to another table of the target", () => {
    const before = stored("live", "k9").map((entry) => ({ ...entry, hasRows: true }));
    const states = new TableStates([table("f1", "u")], before);
    expect(states.all).toMatchObject([{ state: "pending", cursor: null, hasRows: false }]);
    expect([...states.fresh]).toEqual(["t"]);
    expect(states.all[0]?.copy).not.toBe(before[0]?.copy);
    const back = new TableStates([table("f1")], states.all);
    expect([...back.fresh]).toEqual(["t"]);
  });

  it("copies anew, passing no change by, what stands in another table of that name", () => {
    const marked = (mark: string, before: readonly TableProgress[]) =>
      new TableStates([table("f1")], before, new Set(), new Map([["t", mark]]));
    const before = stored("live", "k9");
    const told = marked("7/8", before);
    expect(stateOf(told)).toEqual([["live", "k9"]]);
    expect(stateOf(marked("7/8", told.all))).toEqual([["live", "k9"]]);
    const replaced = marked("7/9", told.all);
    expect(stateOf(replaced)).toEqual([["copying", null]]);
    expect([...replaced.replaced]).toEqual(["t"]);
    expect([...marked("7/9", replaced.all).replaced]).toEqual([]);
  });

  it("goes on with what an earlier version has copied, and tells where to from then on", () => {
    const before = stored("live", "k9").map((entry) => ({ ...entry, copy: "id:f1" }));
    const states = new TableStates([table("f1")], before);
    expect(states.all).toEqual(stored("live", "k9"));
    expect([...states.fresh]).toEqual([]);
  });

  it("lets a table whose first copy has not begun wait on under another rule", () => {
    const states = new TableStates([table("f2")], stored("pending", null));
    expect(stateOf(states)).toEqual([["pending", null]]);
  });

  it("passes by what came in binary and is wanted as text, and has it read again", () => {
    const wanted = new TableStates([table("f1")], stored("copying", "k3"), new Set(["t"]));
    const asText = new TableStates([table("f1")], stored("copying", "k3"));
    expect(wanted.requests()).toMatchObject([{ table: "t", after: "k3", binary: true }]);
    expect(asText.requests()[0]).not.toHaveProperty("binary");
    const chunk = { sync: "s", copy: "id:f1:t", attempt: 0, table: "t", after: "k3", cursor: "k4" };
    const copy = { ...chunk, done: false, estimatedRows: null };
    expect([wanted.judge(copy, true), wanted.judge(copy)]).toEqual(["next", "next"]);
    expect([asText.judge(copy, true), asText.judge(copy)]).toEqual(["lost", "next"]);
    asText.retry("t");
    expect(asText.judge(copy, true)).toBe("other");
  });

  it("copies anew after a change that it could not read, once", () => {
    const states = new TableStates([table("f1")], stored("copying", "k3"));
    states.copyAnew("t");
    const after = states.all;
    states.copyAnew("t");
    expect(stateOf(states)).toEqual([["copying", null]]);
    expect(states.all).toEqual(after);
  });
});
