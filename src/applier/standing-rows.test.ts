import { describe, expect, it } from "vitest";
import { BOUND } from "../../test/support/memory-target.ts";
import type { ApplierSession } from "../core/target.ts";
import type { RowEffect, SyncTable } from "./mapping.ts";
import { NetEffect } from "./net-effect.ts";
import { StandingRows } from "./standing-rows.ts";
import { TableStates } from "./tables.ts";

const TABLE: SyncTable = {
  source: "t",
  rule: { table: "t" },
  columns: ["id"],
  types: ["text"],
  key: ["id"],
  bound: BOUND,
  fingerprint: "f",
};
const KEYLESS: SyncTable = { ...TABLE, key: [], bound: { ...BOUND, key: [] } };

/** A table at the target and what is known of it. */
function site(table: SyncTable, rows: number) {
  const copy = { table: "t", state: "live", cursor: null, copy: "c:f", hasRows: rows > 0 } as const;
  const states = new TableStates([table], [copy]);
  const standing = new StandingRows(states);
  const questions: number[] = [];
  const session = {
    countRows: async (_: unknown, limit: number) => {
      questions.push(limit);
      return Math.min(rows, limit);
    },
  } as unknown as ApplierSession;
  let next = 0;
  const effect = (part: Partial<RowEffect>): RowEffect => ({
    ...{ table, clear: false, gone: [], row: null, moved: false, fresh: false },
    ...part,
  });
  return {
    questions,
    hasRows: () => states.hasRows("t"),
    async take(...parts: Partial<RowEffect>[]) {
      const net = new NetEffect();
      for (const part of parts) net.add(effect(part));
      standing.note(net);
      standing.note(net);
      await standing.settle(session);
    },
    /** Deletes rows that stand. */
    async remove(count: number) {
      rows -= count;
      const gone = Array.from({ length: count }, () => [String(next++)]);
      await this.take(...gone.map((key) => ({ gone: [key] })));
    },
  };
}

describe("rows that stand at the target", () => {
  it("are there with the first, and gone with the last", async () => {
    const { take, hasRows, questions } = site(TABLE, 0);
    await take({ gone: [["1"]] });
    expect(hasRows()).toBe(false);
    await take({ row: ["1"] }, { row: ["2"] });
    expect(hasRows()).toBe(true);
    await take({ gone: [["1"]] });
    expect(questions).toEqual([]);
    await take({ gone: [["2"]] });
    expect([hasRows(), questions]).toEqual([false, [1_000]]);
  });

  it("are gone with a clear, unless others follow", async () => {
    const { take, hasRows, questions } = site(TABLE, 5);
    await take({ row: ["1"] }, { clear: true });
    expect(hasRows()).toBe(false);
    await take({ clear: true }, { row: ["1"] });
    expect([hasRows(), questions]).toEqual([true, []]);
  });

  it("are counted seldom, however many go", async () => {
    const world = site(TABLE, 50_000);
    for (let i = 0; i < 300; i++) await world.remove(100);
    expect(world.hasRows()).toBe(true);
    expect(world.questions).toEqual([1_000, 10_000, 100_000]);
    await world.remove(20_000);
    expect(world.hasRows()).toBe(false);
  });

  it("count each time where there is no key", async () => {
    const { take, hasRows, questions } = site(KEYLESS, 0);
    await take({ row: ["a"] }, { row: ["a"] });
    await take({ gone: [["a"]] });
    expect([hasRows(), questions]).toEqual([true, []]);
    await take({ gone: [["a"]] });
    expect([hasRows(), questions]).toEqual([false, [1_000]]);
  });
});
