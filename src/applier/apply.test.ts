import { describe, expect, it } from "vitest";
import { TidemarkError } from "../core/errors.ts";
import { START } from "../core/position.ts";
import type { Progress, TargetTransaction } from "../core/target.ts";
import { applyEffect, commitAtOnce } from "./apply.ts";
import type { SyncTable } from "./mapping.ts";
import { NetEffect } from "./net-effect.ts";

const next: Progress = { timeline: "t", position: START, hash: "", tables: [] };

function table(name: string): SyncTable {
  const columns = [{ name: "id", type: { kind: "text" } as const }];
  const bound = {
    name: { schema: null, name },
    columns,
    key: [0],
    parents: [],
    cascades: false,
    followed: false,
  };
  return {
    source: name,
    rule: { table: name },
    columns: ["id"],
    types: ["text"],
    key: ["id"],
    bound,
    fingerprint: "",
  };
}

const [many, few] = [table("many"), table("few")];

function effectOf(counts: readonly (readonly [SyncTable, number])[]): NetEffect {
  const effect = new NetEffect();
  for (const [of, count] of counts) {
    for (let i = 0; i < count; i++) {
      effect.add({ table: of, gone: [], row: [`${i}`], clear: false, fresh: true, moved: false });
    }
  }
  return effect;
}

/** Keeps what it was asked; the first set statement may meet a constraint. */
class Asked {
  readonly calls: string[] = [];
  readonly transaction: TargetTransaction;
  #objects: boolean;

  constructor(objects = false) {
    this.#objects = objects;
    this.transaction = {
      enforcing: true,
      attempt: (work) => work(),
      remove: async () => {},
      clear: async () => {},
      verify: async () => {},
      rollback: async () => {},
      put: async ({ name }, rows, options) => {
        this.calls.push(`put ${rows.length} ${name.name}${options?.fresh ? " fresh" : ""}`);
        const objects = this.#objects;
        this.#objects = false;
        if (objects) throw new TidemarkError("TM-APPLY-CONSTRAINT", "Taken.");
      },
      commit: async () => void this.calls.push("commit"),
    };
  }

  readonly finish = async (work: () => Promise<void>): Promise<void> => {
    await work();
    this.calls.push("finish");
  };
}

describe("committing an effect", () => {
  it("offers fresh rows as such only when they are most of the work", async () => {
    const tables = [many, few];
    const { calls, transaction, finish } = new Asked();
    const one = { effect: effectOf([[many, 10]]), tables, next };
    expect(await commitAtOnce(finish, transaction, one)).toBe(true);
    const both = effectOf([
      [many, 10],
      [few, 6],
    ]);
    expect(await commitAtOnce(finish, transaction, { effect: both, tables, next })).toBe(true);
    expect(calls).toEqual([
      ...["put 10 many fresh", "finish"],
      ...["put 10 many", "put 6 few", "finish"],
    ]);
  });

  it("says so when a constraint objects, and goes change by change in the next transaction", async () => {
    const { calls, transaction, finish } = new Asked(true);
    const work = { effect: effectOf([[many, 2]]), tables: [many], next };
    expect(await commitAtOnce(finish, transaction, work)).toBe(false);
    const again = new Asked(true);
    await applyEffect(again.transaction, work.effect, work.tables);
    expect(calls).toEqual(["put 2 many fresh"]);
    expect(again.calls).toEqual(["put 2 many fresh", "put 1 many", "put 1 many"]);
  });
});
