// Random schemas under random changes, over the nine pairs (G1, G3). A seed makes the schema and every
// statement. `npm run soak` runs more of them (CONTRIBUTING.md).
import { describe, expect, test } from "vitest";
import { available } from "../support/pairs.ts";
import { asked, overSeeds } from "./soak/seeds.ts";
import { type SoakSize, soak } from "./soak/soak-run.ts";

const SIZES: Readonly<Record<string, SoakSize>> = {
  short: { rounds: 3, writers: 3, transactions: 10, types: 8 },
  long: { rounds: 5, writers: 4, transactions: 30, types: 14 },
};
const { pairs, size, minutes } = asked();
const SIZE = SIZES[size] as SoakSize;

describe.each(pairs)("%s", (name, pair) => {
  test.skipIf(!available(pair))(
    "random changes of a random schema arrive",
    () =>
      overSeeds(name, minutes / pairs.length, async (seed) => {
        const report = await soak(pair, seed, SIZE);
        expect(report.committed).toBeGreaterThan(5);
        expect(report.rows).toBeGreaterThan(5);
        expect(report.states).toBeGreaterThan(2);
        return report;
      }),
    (minutes + 5) * 60_000,
  );
});
