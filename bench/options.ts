// The command line of the benchmark.
import { parseArgs } from "node:util";

/** Who else keeps a pair in step, each in a file of bench/arms/. */
export const RIVALS = [
  "native",
  "pglogical",
  "bucardo",
  "debezium",
  "pgstream",
  "mariadb",
] as const;
export type RivalName = (typeof RIVALS)[number];

/** The database kinds of a source and a target. */
export const PAIRS = [
  "postgres-postgres",
  "postgres-mariadb",
  "postgres-sqlite",
  "mariadb-postgres",
  "mariadb-mariadb",
  "mariadb-sqlite",
  "sqlite-postgres",
  "sqlite-mariadb",
  "sqlite-sqlite",
] as const;
export type PairName = (typeof PAIRS)[number];

export interface Options {
  /** Names of scenarios; empty: all. */
  readonly only: readonly string[];
  /** How often each comparison is repeated; null: as the scenario says. */
  readonly rounds: number | null;
  /** Tiny sizes: shows that everything runs. Its figures mean nothing. */
  readonly quick: boolean;
  readonly queue: "embedded" | "nats";
  /** Whom Tidemark is compared with; who does not know the pair is left out. */
  readonly against: readonly RivalName[];
  /** What lag and backlog are measured between. */
  readonly pair: PairName;
  /** Transactions a second, for the lag. */
  readonly rates: readonly number[];
  /** A folder for the CPU profiles of every Tidemark process. */
  readonly profile: string | null;
  readonly help: boolean;
}

export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", default: "" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      queue: { type: "string", default: "embedded" },
      against: { type: "string", default: "native,mariadb" },
      pair: { type: "string", default: "postgres-postgres" },
      rates: { type: "string", default: "300" },
      profile: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const { queue, rounds } = values;
  if (queue !== "embedded" && queue !== "nats") throw new Error("--queue is embedded or nats.");
  if (rounds !== undefined && !/^[1-9]\d*$/.test(rounds)) throw new Error("--rounds is a number.");
  const against = values.against === "all" ? RIVALS : list(values.against).map(rivalNamed);
  const pair = PAIRS.find((name) => name === values.pair);
  if (pair === undefined) throw new Error(`--pair is one of ${PAIRS.join(", ")}.`);
  const rates = list(values.rates).map(Number);
  if (rates.length === 0 || !rates.every((rate) => rate > 0)) {
    throw new Error("--rates are numbers: 10,100,300.");
  }
  return {
    only: list(values.only),
    against,
    pair,
    rates,
    rounds: rounds === undefined ? null : Number(rounds),
    quick: values.quick,
    queue,
    profile: values.profile ?? null,
    help: values.help,
  };
}

function list(text: string): string[] {
  return text.split(",").filter((each) => each !== "");
}

function rivalNamed(text: string): RivalName {
  const name = RIVALS.find((each) => each === text);
  if (name === undefined) throw new Error(`--against names some of ${RIVALS.join(", ")}, or all.`);
  return name;
}

export function usage(scenarios: readonly { name: string; what: string }[]): string {
  return [
    "npm run bench -- [options]",
    "",
    "  --only NAME,…     only these scenarios",
    "  --rounds N        repeat each comparison N times",
    "  --quick           tiny sizes: shows that it runs, its figures mean nothing",
    `  --against NAME,…  some of ${RIVALS.join(", ")}, or all`,
    "                    (lag, backlog and million; default: native or mariadb, as the pair is)",
    "  --pair KIND-KIND  what lag and backlog are measured between, of postgres, mariadb and sqlite",
    "  --rates N,…       transactions a second, for the lag (default: 300)",
    "  --queue KIND      embedded (default) or nats",
    "  --profile FOLDER  CPU profiles of the Tidemark processes",
    "",
    ...scenarios.map(({ name, what }) => `  ${name.padEnd(16)} ${what}`),
  ].join("\n");
}
