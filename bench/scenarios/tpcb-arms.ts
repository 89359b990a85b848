// TPC-B kept in step by all arms, each on a pair of its own: made once, used by several scenarios.
import type { Arm } from "../arms/arm.ts";
import { createRivals } from "../arms/rivals.ts";
import { Tidemark } from "../arms/tidemark.ts";
import type { Bed } from "../bed.ts";
import { createTpcb, lastHistory, pgbench, TPCB_TABLES, vacuumTpcb } from "../loads/pgbench.ts";
import { Pair } from "../pair.ts";
import type { Figures } from "../results.ts";
import { type Laps, runLaps } from "../rounds.ts";
import type { Context } from "../scenario.ts";

export interface TpcbArms {
  readonly tidemark: Tidemark;
  readonly rivals: ReadonlyMap<string, Arm>;
}

const made = new WeakMap<Bed, Promise<TpcbArms>>();

/** All stopped, all in step. */
export function tpcbArms(context: Context): Promise<TpcbArms> {
  const known = made.get(context.bed) ?? make(context);
  made.set(context.bed, known);
  return known;
}

async function make(context: Context): Promise<TpcbArms> {
  const { bed, say, size } = context;
  const scale = size(10, 1);
  const tidemarkPair = await Pair.create(bed, "tpcb_tidemark");
  await createTpcb(bed, tidemarkPair.source, scale);
  const tidemark = await Tidemark.create(bed, tidemarkPair, TPCB_TABLES);
  say("first copy of TPC-B's tables");
  await tidemark.start();
  await tidemark.stop();
  const rivals = await createRivals(context, {
    name: "tpcb",
    tables: TPCB_TABLES,
    async fill({ source, target }) {
      await createTpcb(bed, source, scale);
      await createTpcb(bed, target, scale);
    },
  });
  return { tidemark, rivals };
}

/** The rounds of one measurement; who failed, and what is wrong at the targets, is noted. */
export async function measureArms(
  context: Context,
  scenario: string,
  { tidemark, rivals }: TpcbArms,
  measure: (arm: Arm) => Promise<Figures>,
): Promise<Laps> {
  const { results, rounds, say } = context;
  const laps = await runLaps(
    rounds(3),
    { name: "Tidemark", measure: () => measure(tidemark) },
    [...rivals].map(([name, arm]) => ({ name, measure: () => measure(arm) })),
    say,
  );
  for (const [name, error] of laps.failed) {
    results.missing.push(`${scenario}: ${name} failed: ${error.message}`);
  }
  return laps;
}

/** Runs `work` with the arm up and warm; afterwards the target has caught up, and the arm is down. */
export async function withArm<T>(
  { bed, size }: Context,
  arm: Arm,
  work: () => Promise<T>,
): Promise<T> {
  const { pair } = arm;
  await vacuumTpcb(pair.source);
  await pair.settle();
  await arm.start();
  try {
    // Connections are made, plans cached, code compiled, before anything is measured.
    await pgbench(bed, pair.source, { seconds: size(2, 1), rate: 300 });
    await pair.visible("pgbench_history", await lastHistory(pair.source));
    const result = await work();
    await pair.visible("pgbench_history", await lastHistory(pair.source));
    return result;
  } finally {
    await arm.stop();
  }
}

/** Notes what is wrong at the targets. */
export async function checkTpcb(
  { results }: Context,
  name: string,
  { tidemark, rivals }: TpcbArms,
): Promise<void> {
  for (const arm of [tidemark, ...rivals.values()]) {
    const wrong = await arm.pair.differences(TPCB_TABLES);
    results.wrong.push(...wrong.map((what) => `${name}: ${what}`));
  }
}
