// Power cuts of real disks (G1 to G5). `npm run chaos -- --power` plays more of them, for as long as asked
// (docs/reference/checker.md).
import { expect, test } from "vitest";
import { whyNoPowerCut } from "../servers/index.ts";
import { PLANTS, type Plant } from "./servers/plants.ts";
import { asked, IS_SHORT, PATIENCE_MS, playRun } from "./servers/run.ts";

const { TIDEMARK_CHAOS_PLANT = "" } = process.env;

test(
  "the power of source, target and queue is cut: nothing lost, invented, doubled, torn or out of order",
  async ({ skip }) => {
    const why = await whyNoPowerCut();
    if (why !== null) {
      console.log(`0 power cuts: ${why}`);
      skip(why);
    }
    const plant = plantOf(TIDEMARK_CHAOS_PLANT);
    const { pair, queue } = asked();
    const { totals, missed } = await playRun({
      level: "power",
      shortWorlds: 1,
      wishes: () => ({
        ...{ level: "power", plant },
        queue: IS_SHORT || plant !== null ? "embedded" : queue,
        pair: pair ?? (IS_SHORT ? { source: "sqlite", target: "sqlite" } : null),
        faults: IS_SHORT ? [3, 3] : [5, 9],
        // The disks are small.
        flood: IS_SHORT ? 20_000 : 100_000,
      }),
    });
    if (plant !== null) return expect(totals.violations).not.toEqual([]);
    expect(totals.violations.map((violation) => violation.slice(0, 300))).toEqual([]);
    expect(totals.states["wait ended"]).toBeGreaterThan(0);
    expect(missed).toEqual([]);
  },
  PATIENCE_MS,
);

function plantOf(name: string): Plant | null {
  const plant = PLANTS[name];
  if (name === "" || plant !== undefined) return plant ?? null;
  throw new Error(`No fault is named "${name}". Known: ${Object.keys(PLANTS).join(", ")}.`);
}
