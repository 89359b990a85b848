// Unique values and keys that change hands under the rules of both sides, applied in runs small and large, while the
// applier's sessions are broken into (G1, G2, G3). `npm run soak` plays more of them (CONTRIBUTING.md).
import { describe, expect, test } from "vitest";
import { available } from "../support/pairs.ts";
import { type ExchangeSize, exchange } from "./soak/exchange-run.ts";
import { asked, overSeeds } from "./soak/seeds.ts";

const SIZES: Readonly<Record<string, ExchangeSize>> = {
  short: { rounds: 3, writers: 3, transactions: 8 },
  long: { rounds: 4, writers: 3, transactions: 25 },
};
const { pairs, size, minutes } = asked(["postgres-postgres", "postgres-mariadb", "mariadb-sqlite"]);
const SIZE = SIZES[size] as ExchangeSize;

describe.each(pairs)("%s", (name, pair) => {
  test.skipIf(!available(pair))(
    "what changes hands arrives",
    () =>
      overSeeds(name, minutes / pairs.length, async (seed) => {
        const report = await exchange(pair, seed, SIZE);
        expect(report.committed).toBeGreaterThan(5);
        return report;
      }),
    (minutes + 5) * 60_000,
  );
});
