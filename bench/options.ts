// The command line of the benchmark.
import { parseArgs } from "node:util";

export interface Options {
  /** Names of scenarios; empty: all. */
  readonly only: readonly string[];
  /** How often each comparison is repeated; null: as the scenario says. */
  readonly rounds: number | null;
  /** Tiny sizes: shows that everything runs. Its figures mean nothing. */
  readonly quick: boolean;
  readonly queue: "embedded" | "nats";
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
      profile: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const { queue, rounds } = values;
  if (queue !== "embedded" && queue !== "nats") throw new Error("--queue is embedded or nats.");
  if (rounds !== undefined && !/^[1-9]\d*$/.test(rounds)) throw new Error("--rounds is a number.");
  return {
    only: values.only.split(",").filter((name) => name !== ""),
    rounds: rounds === undefined ? null : Number(rounds),
    quick: values.quick,
    queue,
    profile: values.profile ?? null,
    help: values.help,
  };
}

export function usage(scenarios: readonly { name: string; what: string }[]): string {
  return [
    "npm run bench -- [options]",
    "",
    "  --only NAME,…     only these scenarios",
    "  --rounds N        repeat each comparison N times",
    "  --quick           tiny sizes: shows that it runs, its figures mean nothing",
    "  --queue KIND      embedded (default) or nats",
    "  --profile FOLDER  CPU profiles of the Tidemark processes",
    "",
    ...scenarios.map(({ name, what }) => `  ${name.padEnd(16)} ${what}`),
  ].join("\n");
}
