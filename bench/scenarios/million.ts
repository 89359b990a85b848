// One transaction of a million rows: from its commit until all of it is visible at the target; and
// the most memory that relay and applier, each a process of its own, ever had.
import type { Arm } from "../arms/arm.ts";
import { NativeReplication } from "../arms/native.ts";
import { type Role, Tidemark } from "../arms/tidemark.ts";
import { createWide, insertWide, WIDE } from "../loads/wide.ts";
import { Pair } from "../pair.ts";
import type { Figures } from "../results.ts";
import { runRounds, timed } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";

const MEMORY_GOAL_MB = 256;

export const million: Scenario = {
  name: "million",
  what: "one INSERT of a million rows: changes a second from commit to visible / native; memory",

  async run(context: Context): Promise<void> {
    const { bed, results } = context;
    const nativePair = await Pair.create(bed, "wide_native");
    const tidemarkPair = await Pair.create(bed, "wide_tidemark");
    for (const { source, target } of [nativePair, tidemarkPair]) {
      await createWide(source);
      await createWide(target);
    }
    const native = new NativeReplication(nativePair, [WIDE]);
    const tidemark = await Tidemark.create(bed, tidemarkPair, [WIDE], ["relay", "applier"]);
    const peaks = { relay: [] as number[], applier: [] as number[] };
    const measured = await runRounds(
      context.rounds(2),
      () => measure(context, native),
      () => measure(context, tidemark, () => notePeaks(tidemark, peaks)),
      context.say,
    );
    const rate = { figure: "rate", unit: "changes/s", better: "higher", goal: 0.5 } as const;
    results.compare("million", "native", measured, rate);
    const insert = { figure: "insert", label: "INSERT at the source", unit: "ms" } as const;
    results.compare("million", "native", measured, { ...insert, better: "lower" });
    for (const [role, samples] of Object.entries(peaks)) {
      if (samples.length === 0) {
        results.missing.push(`million: memory of the ${role} (no /proc here)`);
        continue;
      }
      const figure = `peak memory of the ${role}`;
      results.single("million", samples, {
        ...{ figure, unit: "MB", better: "lower", goal: MEMORY_GOAL_MB },
      });
    }
  },
};

async function measure(context: Context, arm: Arm, atEnd?: () => void): Promise<Figures> {
  const { pair } = arm;
  const rows = context.size(1_000_000, 20_000);
  // Emptied on both sides while nothing replicates.
  await Promise.all([pair.source.query("TRUNCATE wide"), pair.target.query("TRUNCATE wide")]);
  await arm.start();
  await pair.settle();
  const insert = await timed(() => pair.source.query(insertWide(rows)));
  const start = performance.now();
  const seconds = ((await pair.visible(WIDE, rows)) - start) / 1000;
  atEnd?.();
  await arm.stop();
  const wrong = await pair.differences([WIDE]);
  context.results.wrong.push(...wrong.map((what) => `million: ${what}`));
  return { rate: rows / seconds, insert };
}

function notePeaks(tidemark: Tidemark, peaks: Partial<Record<Role, number[]>>): void {
  for (const role of ["relay", "applier"] as const) {
    const peak = tidemark.peakMemory(role);
    if (peak !== null) peaks[role]?.push(peak);
  }
}
