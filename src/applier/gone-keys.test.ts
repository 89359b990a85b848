// Which rows were deleted by the runs before (G3).
import { describe, expect, it } from "vitest";
import { BOUND } from "../../test/support/memory-target.ts";
import { GoneKeys } from "./gone-keys.ts";
import type { RowEffect, SyncTable } from "./mapping.ts";
import { NetEffect } from "./net-effect.ts";

const PARENTS: SyncTable = {
  source: "parents",
  rule: { table: "parents" },
  columns: ["id"],
  types: ["text"],
  key: ["id"],
  bound: { ...BOUND, cascades: true },
  fingerprint: "f",
};
const CHILDREN: SyncTable = {
  ...PARENTS,
  source: "children",
  bound: { ...BOUND, parents: [0] },
};
const OTHERS: SyncTable = { ...PARENTS, source: "others", bound: BOUND };

const TABLES = [PARENTS, CHILDREN, OTHERS];

const NOTHING = { clear: false, gone: [], row: null, moved: false, fresh: false };
const goes = (table: SyncTable, ids: readonly string[]): RowEffect => ({
  ...{ ...NOTHING, table },
  gone: ids.map((id) => [id]),
});
const comes = (table: SyncTable, id: string, fresh = true): RowEffect => ({
  ...{ ...NOTHING, table, fresh },
  row: [id],
});

function run(...effects: readonly RowEffect[]): NetEffect {
  const net = new NetEffect();
  for (const effect of effects) net.add(effect);
  return net;
}

describe("rows gone in earlier runs of a batch", () => {
  it("are told when they come back", () => {
    const gone = new GoneKeys();
    gone.note(run(goes(PARENTS, ["1", "2"])), TABLES);
    expect(gone.returningTo(run(comes(PARENTS, "3"), goes(PARENTS, ["1"])))).toBeNull();
    expect(gone.returningTo(run(comes(PARENTS, "3"), comes(PARENTS, "2", false)))).toBe(PARENTS);
    gone.clear();
    expect(gone.returningTo(run(comes(PARENTS, "2")))).toBeNull();
  });

  it("are no matter where no foreign key carries their deletion on, nor where they came back at once", () => {
    const gone = new GoneKeys();
    gone.note(run(goes(OTHERS, ["1"]), goes(PARENTS, ["5"]), comes(PARENTS, "5")), TABLES);
    expect(gone.returningTo(run(comes(OTHERS, "1"), comes(PARENTS, "5")))).toBeNull();
  });

  it("are no matter where only tables refer to them that are not in the sync", () => {
    const gone = new GoneKeys();
    gone.note(run(goes(PARENTS, ["1"])), [PARENTS, OTHERS]);
    expect(gone.returningTo(run(comes(PARENTS, "1")))).toBeNull();
  });

  it("are taken for any that are inserted, where they are too many", () => {
    const gone = new GoneKeys();
    const ids = Array.from({ length: 200_001 }, (_, i) => `many ${i}`);
    gone.note(run(goes(PARENTS, ids.slice(0, 199_999))), TABLES);
    expect(gone.returningTo(run(comes(PARENTS, "another")))).toBeNull();
    gone.note(run(goes(PARENTS, ids.slice(199_999))), TABLES);
    expect(gone.returningTo(run(comes(PARENTS, "another", false)))).toBeNull();
    expect(gone.returningTo(run(comes(PARENTS, "another")))).toBe(PARENTS);
    expect(gone.returningTo(run(comes(OTHERS, "another")))).toBeNull();
  });
});
