// The source flat out, with the whole pipeline beside it on the same machine.
import type { Arm } from "../arms/arm.ts";
import { lastHistory, pgbench } from "../loads/pgbench.ts";
import type { Figures } from "../results.ts";
import { report } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";
import { checkTpcb, measureArms, tpcbArms, withArm } from "./tpcb-arms.ts";

export const beside: Scenario = {
  name: "beside",
  what: "source flat out with the pipeline beside it: TPC-B tps / with native beside it",

  async run(context: Context): Promise<void> {
    const arms = await tpcbArms(context);
    const laps = await measureArms(context, "beside", arms, (arm) => measure(context, arm));
    const { results } = context;
    const tps = { figure: "tps", unit: "tps", better: "higher", goal: 0.9 } as const;
    report(results, "beside", laps, tps);
    const behind = {
      figure: "behind",
      label: "behind at the end",
      unit: "ms",
      better: "lower",
    } as const;
    report(results, "beside", laps, behind);
    await checkTpcb(context, "beside", arms);
  },
};

function measure(context: Context, arm: Arm): Promise<Figures> {
  const { bed, size } = context;
  const { pair } = arm;
  return withArm(context, arm, async () => {
    await pgbench(bed, pair.source, { seconds: 1 }); // warm-up
    const tps = await pgbench(bed, pair.source, { seconds: size(8, 2) });
    const ended = performance.now();
    const seen = await pair.visible("pgbench_history", await lastHistory(pair.source));
    return { tps, behind: seen - ended };
  });
}
