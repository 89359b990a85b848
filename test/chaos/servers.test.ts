// Seeded schedules of faults on real servers (docs/reference/checker.md). `npm run chaos -- --servers` plays more
// of them, for as long as asked.
import { expect, test } from "vitest";
import { canRun } from "./servers/plan.ts";
import { asked, IS_SHORT, PATIENCE_MS, playRun } from "./servers/run.ts";

/** Not worth servers of their own in CI, where each kind of fault is tested on each server elsewhere. */
const SHORT_PAIRS = [
  { source: "postgres", target: "sqlite" },
  { source: "sqlite", target: "postgres" },
  { source: "sqlite", target: "mariadb" },
] as const;

test(
  "seeded faults on real servers: nothing lost, invented, doubled, torn or out of order",
  async () => {
    const { pair, queue } = asked();
    const pairs = SHORT_PAIRS.filter((each) => canRun(each.source) && canRun(each.target));
    const { totals, missed } = await playRun({
      level: "servers",
      shortWorlds: 2,
      wishes: (seed) => ({
        ...{ level: "servers", queue },
        pair: pair ?? (IS_SHORT ? (pairs[seed % pairs.length] ?? null) : null),
        faults: IS_SHORT ? [3, 3] : [3, 8],
        flood: IS_SHORT ? 20_000 : 1_000_000,
      }),
    });
    expect(totals.violations.map((violation) => violation.slice(0, 300))).toEqual([]);
    expect(totals.states["wait ended"]).toBeGreaterThan(0);
    expect(missed).toEqual([]);
  },
  PATIENCE_MS,
);
