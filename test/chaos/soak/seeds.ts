// What `npm run soak` asks for: pairs, seeds, and for how long.
import type { DatabaseKind } from "../../servers/index.ts";
import { NINE_PAIRS, type TestPair } from "../../support/pairs.ts";

const {
  TIDEMARK_SOAK_SEED,
  TIDEMARK_SOAK_MINUTES = "0",
  TIDEMARK_SOAK_PAIR = "",
  TIDEMARK_SOAK_SIZE = "short",
} = process.env;

export interface Asked {
  readonly pairs: readonly (readonly [name: string, pair: TestPair])[];
  readonly size: string;
  readonly minutes: number;
}

/** One pair may be of any kinds; all are the nine, or where nothing is asked for `few` of them. */
export function asked(few?: readonly string[]): Asked {
  const minutes = Number(TIDEMARK_SOAK_MINUTES);
  return {
    pairs: pairsAsked(TIDEMARK_SOAK_SEED === undefined ? few : undefined),
    size: TIDEMARK_SOAK_SIZE,
    minutes,
  };
}

function pairsAsked(few: readonly string[] | undefined): Asked["pairs"] {
  const [source, target] = TIDEMARK_SOAK_PAIR.split("-") as [DatabaseKind, DatabaseKind];
  const pairs: readonly TestPair[] =
    TIDEMARK_SOAK_PAIR === "" ? NINE_PAIRS : [{ source, target, queue: "embedded" }];
  const named = pairs.map((pair) => [`${pair.source}-${pair.target}`, pair] as const);
  if (TIDEMARK_SOAK_PAIR !== "" || few === undefined) return named;
  return named.filter(([name]) => few.includes(name));
}

/** From the seed asked for on, until the time is over: one at least. */
export async function overSeeds(
  name: string,
  minutes: number,
  play: (seed: number) => Promise<object>,
): Promise<void> {
  const until = performance.now() + minutes * 60_000;
  let seed = Number(TIDEMARK_SOAK_SEED ?? "1");
  do {
    const report = await play(seed);
    if (minutes > 0) console.log(`${name} seed ${seed}: ${JSON.stringify(report)}`);
    seed++;
  } while (performance.now() < until);
}
