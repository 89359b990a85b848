import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IdSet, joinNear, type Run, subtract } from "./id-set.ts";

const run = fc
  .tuple(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 0, max: 12 }))
  .map(([first, more]): Run => [first, first + more]);

function members(set: IdSet): number[] {
  return set.runs.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i),
  );
}

function expand(runs: readonly Run[]): number[] {
  const ids = new Set<number>();
  for (const [first, last] of runs) for (let id = first; id <= last; id++) ids.add(id);
  return [...ids].sort((a, b) => a - b);
}

describe("IdSet", () => {
  it("holds exactly the ids that were added, in any order, as disjoint runs", () => {
    fc.assert(
      fc.property(fc.array(run, { maxLength: 40 }), (runs) => {
        const set = new IdSet();
        set.addAll(runs);
        expect(members(set)).toEqual(expand(runs));
        for (let i = 1; i < set.runs.length; i++) {
          expect(set.runs[i]?.[0]).toBeGreaterThan((set.runs[i - 1]?.[1] ?? 0) + 1);
        }
        for (let id = 0; id < 220; id++) expect(set.has(id)).toBe(expand(runs).includes(id));
      }),
      { numRuns: 200 },
    );
  });

  it("reads back what it wrote", () => {
    fc.assert(
      fc.property(fc.array(run, { maxLength: 40 }), (runs) => {
        const set = new IdSet();
        set.addAll(runs);
        expect(IdSet.parse(set.toString()).runs).toEqual(set.runs);
      }),
    );
    expect(IdSet.parse("").runs).toEqual([]);
    expect(IdSet.parse("1-5,7").toString()).toBe("1-5,7");
  });

  it("tells the gaps and forgets below a floor", () => {
    fc.assert(
      fc.property(
        fc.array(run, { maxLength: 30 }),
        fc.integer({ min: 1, max: 200 }),
        (runs, floor) => {
          const set = new IdSet();
          set.addAll(runs);
          const inside = expand(runs);
          const gaps = expand(set.gaps(floor, 220));
          expect(gaps).toEqual(
            Array.from({ length: 221 - floor }, (_, i) => floor + i).filter(
              (id) => !inside.includes(id),
            ),
          );
          set.dropBelow(floor);
          expect(members(set)).toEqual(inside.filter((id) => id >= floor));
        },
      ),
    );
  });
});

describe("subtract", () => {
  it("leaves exactly the ids that only the first has", () => {
    fc.assert(
      fc.property(fc.array(run, { maxLength: 20 }), fc.array(run, { maxLength: 20 }), (a, b) => {
        const [all, without] = [new IdSet(), new IdSet()];
        all.addAll(a);
        without.addAll(b);
        const expected = expand(a).filter((id) => !without.has(id));
        expect(expand(subtract(all.runs, without.runs))).toEqual(expected);
      }),
    );
  });
});

describe("joinNear", () => {
  it("joins runs that few ids part", () => {
    expect(
      joinNear(
        [
          [1, 2],
          [5, 5],
          [20, 21],
        ],
        3,
      ),
    ).toEqual([
      [1, 5],
      [20, 21],
    ]);
    expect(joinNear([], 3)).toEqual([]);
  });
});
