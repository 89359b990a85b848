// What remains of many changes of a row (G3).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Row } from "../core/value.ts";
import type { RowEffect, SyncTable } from "./mapping.ts";
import { NetEffect, surplus } from "./net-effect.ts";

const table: SyncTable = {
  source: "t",
  rule: { table: "t" },
  columns: ["id", "v"],
  types: ["bigint", "text"],
  key: ["id"],
  fingerprint: "f",
  bound: {
    name: { schema: null, name: "t" },
    columns: [
      { name: "id", type: { kind: "integer", bits: 64 } },
      { name: "v", type: { kind: "text" } },
    ],
    key: [0],
    parents: [],
    cascades: false,
    followed: false,
  },
};

const empty: RowEffect = { table, gone: [], moved: false, row: null, clear: false, fresh: false };

const key = fc.integer({ min: 1, max: 5 }).map(String);
const effect: fc.Arbitrary<RowEffect> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(key, fc.string()).map(([id, v]) => put(id, v)) },
  { weight: 3, arbitrary: key.map((id) => ({ ...empty, gone: [[id]] })) },
  { weight: 2, arbitrary: fc.tuple(key, key, fc.string()).map(([a, b, v]) => move(a, b, v)) },
  { weight: 1, arbitrary: fc.constant({ ...empty, clear: true }) },
);

function put(id: string, v: string): RowEffect {
  return { ...empty, row: [id, v] };
}

function move(from: string, to: string, v: string): RowEffect {
  return { ...empty, gone: from === to ? [] : [[from]], row: [to, v] };
}

/** The plain meaning: one effect after the other. */
function oneByOne(rows: Map<string, string>, effects: readonly RowEffect[]): Map<string, string> {
  const state = new Map(rows);
  for (const { clear, gone, row } of effects) {
    if (clear) state.clear();
    for (const [id] of gone) state.delete(String(id));
    if (row !== null) state.set(String(row[0]), String(row[1]));
  }
  return state;
}

/** As the applier does it: clear, remove, put. */
function asSets(rows: Map<string, string>, net: NetEffect): Map<string, string> {
  const state = new Map(rows);
  for (const entry of net.tables) {
    if (entry.clear) state.clear();
    for (const outcome of entry.rows.values())
      if (outcome.row === null) state.delete(String(outcome.key[0]));
    for (const { row } of entry.rows.values())
      if (row !== null) state.set(String(row[0]), String(row[1]));
  }
  return state;
}

describe("net effect", () => {
  it("leaves what applying one by one leaves", () => {
    fc.assert(
      fc.property(fc.dictionary(key, fc.string()), fc.array(effect), (before, effects) => {
        const net = new NetEffect();
        for (const one of effects) net.add(one);
        const start = new Map(Object.entries(before));
        const expected = [...oneByOne(start, effects)].sort();
        expect([...asSets(start, net)].sort()).toEqual(expected);
      }),
    );
  });

  it("calls a row fresh only when its first change was an insert", () => {
    const net = new NetEffect();
    net.add({ ...put("1", "a"), fresh: true });
    net.add(put("1", "b"));
    net.add(put("2", "a"));
    net.add({ ...empty, gone: [["3"]] });
    net.add({ ...put("3", "a"), fresh: true });
    const fresh = [...(net.tables[0]?.rows.values() ?? [])].map((outcome) => outcome.fresh);
    expect(fresh).toEqual([true, false, false]);
  });

  it("tells keys that were given up from those deleted, and those that came back", () => {
    const net = new NetEffect();
    const movesAndReturns = () => [net.tables[0]?.moves, net.tables[0]?.returns];
    net.add({ ...empty, gone: [["1"]] });
    expect(movesAndReturns()).toEqual([false, false]);
    net.add({ ...empty, gone: [["2"]], moved: true, row: ["3", "a"] });
    expect(movesAndReturns()).toEqual([true, false]);
    net.add(put("1", "again"));
    expect(movesAndReturns()).toEqual([true, true]);
    const moved = [...(net.tables[0]?.rows.values() ?? [])].filter((outcome) => outcome.moved);
    expect(moved.map((outcome) => outcome.key)).toEqual([["2"]]);
  });

  it.each([
    [true, ["1.0", "1.00"], 1],
    [true, ["0", "-0"], 1],
    [true, ["100", "1"], 2],
    [true, ["1e+20", "1e+2"], 2],
    // Kept as texts.
    [false, ["1.0", "1.00"], 2],
  ] as const)(
    "takes texts of one number for one key where the target does: %s, %s",
    (numeric, keys, count) => {
      const [, second = never()] = table.bound.columns;
      const id = { name: "id", type: { kind: "decimal" }, numeric } as const;
      const numbers = { ...table, bound: { ...table.bound, columns: [id, second] } };
      const net = new NetEffect();
      for (const key of keys) net.add({ ...empty, table: numbers, row: [key, "a"] });
      expect(net.tables[0]?.rows.size).toBe(count);
    },
  );
});

function never(): never {
  throw new TypeError("unreachable");
}

describe("net effect of a table without a key", () => {
  const keyless: SyncTable = { ...table, key: [], bound: { ...table.bound, key: [] } };
  const cell = fc.constantFrom("a", "A", "1", "1.0", "null", null);
  const row = fc.tuple(cell, cell);
  const came = row.map((one) => ({ ...empty, table: keyless, row: one }));
  const went = row.map((one) => ({ ...empty, table: keyless, gone: [one] }));
  const changed = fc
    .tuple(row, row)
    .map(([a, b]) => ({ ...empty, table: keyless, gone: [a], row: b }));
  const count = (rows: Map<string, number>, one: unknown, by: number) => {
    const text = JSON.stringify(one);
    rows.set(text, (rows.get(text) ?? 0) + by);
  };

  it("is the sum of what came and went of each row", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(came, went, changed)), (effects) => {
        const expected = new Map<string, number>();
        const net = new NetEffect();
        for (const effect of effects) {
          for (const gone of effect.gone) count(expected, gone, -1);
          if (effect.row !== null) count(expected, effect.row, 1);
          net.add(effect);
        }
        const found = new Map<string, number>();
        for (const entry of net.tables) {
          for (const one of surplus(entry, "came")) count(found, one, 1);
          for (const one of surplus(entry, "went")) count(found, one, -1);
        }
        const sums = [...expected].filter(([, sum]) => sum !== 0);
        expect(new Map(sums)).toEqual(found);
      }),
    );
  });

  it("knows how many of those that stood have been touched", () => {
    fc.assert(
      fc.property(fc.array(row), fc.array(fc.oneof(came, went, changed)), (stood, effects) => {
        const standing = new Map<string, number>();
        const touched = new Map<string, number>();
        const net = new NetEffect();
        for (const one of stood) count(standing, one, 1);
        const least = new Map(standing);
        for (const effect of effects) {
          for (const gone of effect.gone) count(standing, gone, -1);
          for (const [text, times] of standing) {
            least.set(text, Math.min(least.get(text) ?? 0, times));
          }
          if (effect.row !== null) count(standing, effect.row, 1);
          net.add(effect);
        }
        for (const one of stood) count(touched, one, 1);
        for (const entry of net.tables) {
          for (const one of surplus(entry, "went", { touched: true })) count(touched, one, -1);
          expect(touched).toEqual(new Map([...touched].map(([text]) => [text, least.get(text)])));
          for (const one of surplus(entry, "came", { touched: true })) count(touched, one, 1);
        }
        const rows = (of: Map<string, number>) =>
          new Map([...of].filter(([, times]) => times !== 0));
        expect(rows(touched)).toEqual(rows(standing));
      }),
    );
  });

  it("tells long values apart by their last character, and a blob from the text of its digits", () => {
    const long = "0".repeat(200_000);
    const net = new NetEffect();
    const add = (row: Row, gone: readonly Row[] = []) =>
      net.add({ ...empty, table: keyless, row, gone });
    add(["a", `${long}0`]);
    add(["a", `${long}1`]);
    add(["a", ["blob", `${long}0`]]);
    // No valid Unicode: as UTF-8 these two would be one.
    add(["a", `${long}\ud800`]);
    add(["a", `${long}\ud801`]);
    const entry = () => net.tables[0] ?? expect.fail("no effect");
    expect(entry().balances.size).toBe(5);
    add(["a", null], [["a", `${long}1`]]);
    expect(surplus(entry(), "came").map(([, value]) => value)).not.toContain(`${long}1`);
    expect(surplus(entry(), "went")).toEqual([]);
  });

  it("forgets what came before a clear", () => {
    const net = new NetEffect();
    net.add({ ...empty, table: keyless, row: ["a", "b"] });
    net.add({ ...empty, table: keyless, clear: true });
    net.add({ ...empty, table: keyless, row: ["a", null] });
    const [entry] = net.tables;
    if (entry === undefined) throw new Error("no effect");
    expect([entry.clear, surplus(entry, "came"), surplus(entry, "went")]).toEqual([
      true,
      [["a", null]],
      [],
    ]);
  });
});
