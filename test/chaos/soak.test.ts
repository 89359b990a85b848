// Random schemas under random changes, over the nine pairs (G1, G3). A seed makes the schema and every
// statement. `npm run soak` runs more of them (CONTRIBUTING.md).
import { describe, expect, test } from "vitest";
import type { DatabaseKind } from "../servers/index.ts";
import { available, NINE_PAIRS, type TestPair } from "../support/pairs.ts";
import { type SoakSize, soak } from "./soak/soak-run.ts";

const {
  TIDEMARK_SOAK_SEED = "1",
  TIDEMARK_SOAK_MINUTES = "0",
  TIDEMARK_SOAK_PAIR = "",
  TIDEMARK_SOAK_SIZE = "short",
} = process.env;
const MINUTES = Number(TIDEMARK_SOAK_MINUTES);
const SIZES: Readonly<Record<string, SoakSize>> = {
  short: { rounds: 3, writers: 3, transactions: 10, types: 8 },
  long: { rounds: 5, writers: 4, transactions: 30, types: 14 },
};
const SIZE = SIZES[TIDEMARK_SOAK_SIZE] as SoakSize;

const pairs = pairsAsked().map((pair) => [`${pair.source}-${pair.target}`, pair] as const);

describe.each(pairs)("%s", (name, pair) => {
  test.skipIf(!available(pair))(
    "random changes of a random schema arrive",
    async () => {
      const until = performance.now() + (MINUTES * 60_000) / pairs.length;
      let seed = Number(TIDEMARK_SOAK_SEED);
      do {
        const report = await soak(pair, seed, SIZE);
        if (MINUTES > 0) console.log(`${name} seed ${seed}: ${JSON.stringify(report)}`);
        expect(report.committed).toBeGreaterThan(5);
        expect(report.rows).toBeGreaterThan(5);
        expect(report.states).toBeGreaterThan(2);
        seed++;
      } while (performance.now() < until);
    },
    (MINUTES + 5) * 60_000,
  );
});

/** One pair may be of any kinds; all are the nine. */
function pairsAsked(): readonly TestPair[] {
  if (TIDEMARK_SOAK_PAIR === "") return NINE_PAIRS;
  const [source, target] = TIDEMARK_SOAK_PAIR.split("-") as [DatabaseKind, DatabaseKind];
  return [{ source, target, queue: "embedded" }];
}
