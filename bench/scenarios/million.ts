// One transaction of a million rows: from its commit until all of it is visible at the target; and
// the most memory that relay and applier, each a process of its own, ever had.
import type { Arm } from "../arms/arm.ts";
import { createRivals } from "../arms/rivals.ts";
import { Tidemark } from "../arms/tidemark.ts";
import { createWide, insertWide, WIDE } from "../loads/wide.ts";
import { Pair } from "../pair.ts";
import { processorSeconds } from "../process-figures.ts";
import type { Figures } from "../results.ts";
import { report, runLaps, timed } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";

const MEMORY_GOAL_MB = 256;
const HALVES = ["relay", "applier"] as const;
type Half = (typeof HALVES)[number];

export const million: Scenario = {
  name: "million",
  what: "one INSERT of a million rows: changes a second from commit to visible / native or others; memory",

  async run(context: Context): Promise<void> {
    const { bed, results } = context;
    const fill = async ({ source, target }: Pair) => {
      await createWide(source);
      await createWide(target);
    };
    const rivals = await createRivals(context, { name: "wide", tables: [WIDE], fill });
    const tidemarkPair = await Pair.create(bed, "wide_tidemark");
    await fill(tidemarkPair);
    const tidemark = await Tidemark.create(bed, tidemarkPair, [WIDE], ["relay", "applier"]);
    const costs = new Costs(tidemark);
    const laps = await runLaps(
      context.rounds(2),
      { name: "Tidemark", measure: () => measure(context, tidemark, costs) },
      [...rivals].map(([name, arm]) => ({ name, measure: () => measure(context, arm) })),
      context.say,
    );
    for (const [name, error] of laps.failed) {
      results.missing.push(`million: ${name} failed: ${error.message}`);
    }
    const rate = { figure: "rate", unit: "changes/s", better: "higher", goal: 0.5 } as const;
    report(results, "million", laps, rate);
    const insert = { figure: "insert", label: "INSERT at the source", unit: "ms" } as const;
    report(results, "million", laps, { ...insert, better: "lower" });
    costs.report(context);
  },
};

async function measure(context: Context, arm: Arm, costs?: Costs): Promise<Figures> {
  const { pair } = arm;
  const rows = context.size(1_000_000, 20_000);
  // Emptied on both sides while nothing replicates.
  await Promise.all([pair.source.query("TRUNCATE wide"), pair.target.query("TRUNCATE wide")]);
  await arm.start();
  let figures: Figures;
  try {
    await pair.settle();
    const insert = await timed(() => pair.source.query(insertWide(rows)));
    const start = performance.now();
    costs?.begin();
    const seconds = ((await pair.visible(WIDE, rows)) - start) / 1000;
    costs?.end(rows);
    figures = { rate: rows / seconds, insert };
  } finally {
    await arm.stop();
  }
  const wrong = await pair.differences([WIDE]);
  context.results.wrong.push(...wrong.map((what) => `million: ${what}`));
  return figures;
}

/** What the two processes took: the most memory ever, and processor time for each change. */
class Costs {
  readonly #tidemark: Tidemark;
  readonly #memory: Record<Half, number[]> = { relay: [], applier: [] };
  readonly #time: Record<Half, number[]> = { relay: [], applier: [] };
  #begun: Partial<Record<Half, number>> = {};

  constructor(tidemark: Tidemark) {
    this.#tidemark = tidemark;
  }

  begin(): void {
    for (const half of HALVES) {
      const seconds = this.#seconds(half);
      if (seconds !== null) this.#begun[half] = seconds;
    }
  }

  end(changes: number): void {
    for (const half of HALVES) {
      const peak = this.#tidemark.peakMemory(half);
      if (peak !== null) this.#memory[half].push(peak);
      const [from, to] = [this.#begun[half], this.#seconds(half)];
      if (from !== undefined && to !== null) this.#time[half].push(((to - from) / changes) * 1e6);
    }
  }

  report({ results }: Context): void {
    for (const half of HALVES) {
      if (this.#memory[half].length === 0) {
        results.missing.push(`million: memory and processor time of the ${half} (no /proc here)`);
        continue;
      }
      results.single("million", this.#memory[half], {
        ...{ figure: `peak memory of the ${half}`, unit: "MB", better: "lower" },
        goal: MEMORY_GOAL_MB,
      });
      results.single("million", this.#time[half], {
        ...{ figure: `processor time of the ${half}`, unit: "us/change", better: "lower" },
      });
    }
  }

  #seconds(half: Half): number | null {
    return processorSeconds(this.#tidemark.pids.get(half) ?? 0);
  }
}
