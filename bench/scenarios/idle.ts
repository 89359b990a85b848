// Nothing happens: what the pipeline costs then, as processor time.
import { setTimeout as sleep } from "node:timers/promises";
import type { Database } from "../database.ts";
import { pgbench } from "../loads/pgbench.ts";
import { processorSeconds } from "../process-figures.ts";
import type { Context, Scenario } from "../scenario.ts";
import { tpcbArms } from "./tpcb-arms.ts";

/** Each of process, source and target. */
const GOAL_PERCENT = 0.5;

export const idle: Scenario = {
  name: "idle",
  what: "processor time of an idle pipeline, and of its sessions at source and target",

  async run(context: Context): Promise<void> {
    const { tidemark } = await tpcbArms(context);
    const { source, target } = tidemark.pair;
    await tidemark.start();
    await pgbench(context.bed, source, { seconds: 1 }); // it has worked before it idles
    await tidemark.synced();
    await sleep(context.size(12_000, 1_000));
    const measured: Record<string, number[]> = {
      "Tidemark's process": [...tidemark.pids.values()],
      "its sessions at the source": await sessions(source),
      "its sessions at the target": await sessions(target),
    };
    const before = Object.values(measured).map(total);
    const seconds = context.size(20, 2);
    await sleep(seconds * 1000);
    const after = Object.values(measured).map(total);
    await tidemark.stop();
    Object.keys(measured).forEach((figure, index) => {
      const [from, to] = [before[index] ?? null, after[index] ?? null];
      if (from === null || to === null) {
        context.results.missing.push(`idle: ${figure} (no /proc here)`);
        return;
      }
      const percent = ((to - from) / seconds) * 100;
      context.results.single("idle", [percent], {
        ...{ figure, unit: "% of a core", better: "lower", goal: GOAL_PERCENT },
      });
    });
  },
};

async function sessions(database: Database): Promise<number[]> {
  const rows = await database.query<{ pid: number }>(
    "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'tidemark%'",
    [database.name],
  );
  return rows.map(({ pid }) => pid);
}

function total(pids: readonly number[]): number | null {
  let sum = 0;
  for (const pid of pids) {
    const seconds = processorSeconds(pid);
    if (seconds === null) return null;
    sum += seconds;
  }
  return sum;
}
