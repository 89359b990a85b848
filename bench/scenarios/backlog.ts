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

/** Enough to last a second: with less, what happens once (sessions that wake, a sort at the source) is most of it. */
const TRANSACTIONS = 40_000;
/** Not measured: a backlog runs code that a trickle does not, and it is compiled while it runs. */
const WARM_UP_TRANSACTIONS = 10_000;

function measure(context: Context, arm: Arm): Promise<Figures> {
  return withArm(context, arm, async () => {
    await piledUp(context, arm, context.size(WARM_UP_TRANSACTIONS, 100));
    const transactions = context.size(TRANSACTIONS, 400);
    const seconds = await piledUp(context, arm, transactions);
    return { rate: (transactions * CHANGES_PER_TRANSACTION) / seconds };
  });
}

/** Lets so many transactions gather while the arm is held; seconds from its release until the target has all. */
async function piledUp({ bed }: Context, arm: Arm, transactions: number): Promise<number> {
  const { pair } = arm;
  await arm.hold();
  // The load itself is not measured here: it need not wait for the disk.
  await pair.source.query(`ALTER DATABASE ${pair.source.name} SET synchronous_commit = off`);
  await pgbench(bed, pair.source, { transactionsPerClient: transactions / 4 });
  await pair.source.query(`ALTER DATABASE ${pair.source.name} RESET synchronous_commit`);
  await pair.settle();
  const last = await lastHistory(pair.source);
  const start = performance.now();
  await arm.release();
  return ((await pair.visible("pgbench_history", last)) - start) / 1000;
}
