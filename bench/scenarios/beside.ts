// The source flat out, with the whole pipeline beside it on the same machine.
import type { Arm } from "../arms/arm.ts";
import { lastHistory, pgbench } from "../loads/pgbench.ts";
import type { Figures } from "../results.ts";
import { runRounds } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";
import { checkTpcb, tpcbArms, withArm } from "./tpcb-arms.ts";

export const beside: Scenario = {
  name: "beside",
  what: "source flat out with the pipeline beside it: TPC-B tps / with native beside it",

  async run(context: Context): Promise<void> {
    const arms = await tpcbArms(context);
    const measured = await runRounds(
      context.rounds(3),
      () => measure(context, arms.native),
      () => measure(context, arms.tidemark),
      context.say,
    );
    const { results } = context;
    const tps = { figure: "tps", unit: "tps", better: "higher", goal: 0.9 } as const;
    results.compare("beside", "native", measured, tps);
    const behind = {
      figure: "behind",
      label: "behind at the end",
      unit: "ms",
      better: "lower",
    } as const;
    results.compare("beside", "native", measured, behind);
    await checkTpcb(context, "beside", arms);
  },
};

function measure({ bed, size }: Context, arm: Arm): Promise<Figures> {
  const { pair } = arm;
  return withArm(arm, async () => {
    await pgbench(bed, pair.source, { seconds: 1 }); // warm-up
    const tps = await pgbench(bed, pair.source, { seconds: size(8, 2) });
    const ended = performance.now();
    const seen = await pair.visible("pgbench_history", await lastHistory(pair.source));
    return { tps, behind: seen - ended };
  });
}
