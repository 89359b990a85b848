// A process of its own for worlds in simulated time: node run-seeds.ts FIRST COUNT [PLANT] [--log]
// Prints a line of JSON for each seed that fails, and one at the end for all of them.
import type { Logger } from "../../../src/core/log.ts";
import { NO_PLANT, PLANTS } from "./plants.ts";
import { SimulatedWorld } from "./world.ts";

/** What a range of seeds has shown. */
export interface Summary {
  readonly seeds: number;
  readonly failed: readonly { readonly seed: number; readonly violations: readonly string[] }[];
  readonly counts: Readonly<Record<string, number>>;
  /** Of each seed that healed, from the end of the storm until all was in step. */
  readonly healedMs: readonly number[];
}

const [first = "1", count = "1", plantName = "", log] = process.argv.slice(2);
const plant = plantName === "" ? NO_PLANT : PLANTS[plantName];
if (plant === undefined) throw new Error(`no plant is named "${plantName}"`);

// Nobody reads them, and faults make many.
if (log !== "--log") Error.stackTraceLimit = 0;
const failed: { seed: number; violations: readonly string[] }[] = [];
const counts = new Map<string, number>();
const healedMs: number[] = [];
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const world = new SimulatedWorld(seed, plant);
  if (log === "--log") world.logger = printing(world);
  const verdict = await world.run();
  for (const [what, times] of verdict.counts) counts.set(what, (counts.get(what) ?? 0) + times);
  if (verdict.healedMs !== null) healedMs.push(Math.round(verdict.healedMs));
  if (verdict.violations.length > 0) failed.push({ seed, violations: verdict.violations });
}
const summary: Summary = {
  ...{ seeds: Number(count), failed, counts: Object.fromEntries(counts), healedMs },
};
// Worlds that are over leave promises that never settle, and timers of their own kind.
process.stdout.write(`${JSON.stringify(summary)}\n`, () => process.exit(0));

function printing({ clock }: SimulatedWorld): Logger {
  const print = (fields: object, message: string) => {
    const { err, ...others } = fields as { err?: unknown };
    const why = err === undefined ? "" : ` ${err}`;
    console.error(`${clock.now.toFixed(1)} ms  ${message}${why} ${JSON.stringify(others)}`);
  };
  const logger: Logger = {
    ...{ debug() {}, info: print, warn: print, error: print, child: () => logger },
  };
  return logger;
}
