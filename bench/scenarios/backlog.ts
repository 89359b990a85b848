// Many small transactions piled up at the source: how fast they reach the target once let go.
import type { Arm } from "../arms/arm.ts";
import { lastHistory, pgbench } from "../loads/pgbench.ts";
import type { Figures } from "../results.ts";
import { report } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";
import { anyBacklog } from "./any-backlog.ts";
import { checkTpcb, measureArms, tpcbArms, withArm } from "./tpcb-arms.ts";

const CHANGES_PER_TRANSACTION = 4;

export const backlog: Scenario = {
  name: "backlog",
  what: "a backlog of small transactions: changes a second at the target / native or others",

  async run(context: Context): Promise<void> {
    if (context.bed.options.pair !== "postgres-postgres") return anyBacklog(context);
    const arms = await tpcbArms(context);
    const laps = await measureArms(context, "backlog", arms, (arm) => measure(context, arm));
    report(context.results, "backlog", laps, {
      figure: "rate",
      unit: "changes/s",
      better: "higher",
      goal: 1,
    });
    await checkTpcb(context, "backlog", arms);
  },
};

function measure(context: Context, arm: Arm): Promise<Figures> {
  const { bed, size } = context;
  const { pair } = arm;
  return withArm(context, arm, async () => {
    const transactions = size(24_000, 400);
    await arm.hold();
    // The load itself is not measured here: it need not wait for the disk.
    await pair.source.query(`ALTER DATABASE ${pair.source.name} SET synchronous_commit = off`);
    await pgbench(bed, pair.source, { transactionsPerClient: transactions / 4 });
    await pair.source.query(`ALTER DATABASE ${pair.source.name} RESET synchronous_commit`);
    await pair.settle();
    const last = await lastHistory(pair.source);
    const start = performance.now();
    await arm.release();
    const seconds = ((await pair.visible("pgbench_history", last)) - start) / 1000;
    return { rate: (transactions * CHANGES_PER_TRANSACTION) / seconds };
  });
}
