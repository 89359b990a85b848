// TPC-B kept in step by both arms, each on a pair of its own: made once, used by several scenarios.
import type { Arm } from "../arms/arm.ts";
import { NativeReplication } from "../arms/native.ts";
import { Tidemark } from "../arms/tidemark.ts";
import type { Bed } from "../bed.ts";
import { createTpcb, lastHistory, TPCB_TABLES, vacuumTpcb } from "../loads/pgbench.ts";
import { Pair } from "../pair.ts";
import type { Context } from "../scenario.ts";

export interface TpcbArms {
  readonly native: NativeReplication;
  readonly tidemark: Tidemark;
}

const made = new WeakMap<Bed, Promise<TpcbArms>>();

/** Both stopped, both in step. */
export function tpcbArms(context: Context): Promise<TpcbArms> {
  const known = made.get(context.bed) ?? make(context);
  made.set(context.bed, known);
  return known;
}

async function make({ bed, say, size }: Context): Promise<TpcbArms> {
  const scale = size(10, 1);
  const nativePair = await Pair.create(bed, "tpcb_native");
  await createTpcb(bed, nativePair.source, scale);
  await createTpcb(bed, nativePair.target, scale);
  const tidemarkPair = await Pair.create(bed, "tpcb_tidemark");
  await createTpcb(bed, tidemarkPair.source, scale);
  const tidemark = await Tidemark.create(bed, tidemarkPair, TPCB_TABLES);
  say("first copy of TPC-B's tables");
  await tidemark.start();
  await tidemark.stop();
  return { native: new NativeReplication(nativePair, TPCB_TABLES), tidemark };
}

/** Runs `work` with the arm up; afterwards the target has caught up, and the arm is down. */
export async function withArm<T>(arm: Arm, work: () => Promise<T>): Promise<T> {
  const { pair } = arm;
  await vacuumTpcb(pair.source);
  await pair.settle();
  await arm.start();
  try {
    return await work();
  } finally {
    const last = await lastHistory(pair.source);
    if (last > 0) await pair.visible("pgbench_history", last);
    await arm.stop();
  }
}

/** Notes what is wrong at the targets. */
export async function checkTpcb({ results }: Context, name: string, arms: TpcbArms): Promise<void> {
  for (const arm of [arms.native, arms.tidemark]) {
    const wrong = await arm.pair.differences(TPCB_TABLES);
    results.wrong.push(...wrong.map((what) => `${name}: ${what}`));
  }
}
