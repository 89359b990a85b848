// A pair of any kind (--pair), kept in step by Tidemark, and by the database itself where it can.
import { type AnyKind, AnyPair } from "../any-pair.ts";
import type { Arm } from "../arms/arm.ts";
import { createMariadbReplication } from "../arms/mariadb-replication.ts";
import { Tidemark } from "../arms/tidemark.ts";
import type { Bed } from "../bed.ts";
import { ROWS } from "../loads/rows.ts";
import type { Figures } from "../results.ts";
import { type Laps, runLaps } from "../rounds.ts";
import type { Context } from "../scenario.ts";

export interface AnyArms {
  readonly tidemark: Tidemark<AnyPair>;
  readonly rivals: ReadonlyMap<string, Arm<AnyPair>>;
}

const made = new WeakMap<Bed, Promise<AnyArms>>();

/** All stopped, all in step. */
export function anyArms(context: Context): Promise<AnyArms> {
  const known = made.get(context.bed) ?? make(context);
  made.set(context.bed, known);
  return known;
}

async function make({ bed, results, say }: Context): Promise<AnyArms> {
  const { pair: name, against } = bed.options;
  const kinds = name.split("-") as [AnyKind, AnyKind];
  const pair = await AnyPair.create(bed, "any_tidemark", kinds);
  const tidemark = await Tidemark.create(bed, pair, [ROWS]);
  await tidemark.start();
  await tidemark.stop();
  const rivals = new Map<string, Arm<AnyPair>>();
  if (name === "mariadb-mariadb" && against.includes("mariadb")) {
    try {
      const { arm, version } = await createMariadbReplication(bed, "any_mariadb");
      rivals.set("mariadb", arm);
      results.versions.mariadb = version;
    } catch (error) {
      const reason = (error as Error).message;
      say(`without mariadb: ${reason}`);
      results.missing.push(`mariadb: ${reason}`);
    }
  }
  return { tidemark, rivals };
}

/** The rounds of one measurement, each with the arm up; what is wrong at the targets is noted. */
export async function measureAnyArms(
  { bed, results, rounds, say }: Context,
  scenario: string,
  { tidemark, rivals }: AnyArms,
  measure: (arm: Arm<AnyPair>) => Promise<Figures>,
): Promise<Laps> {
  const up = async (arm: Arm<AnyPair>) => {
    await arm.start();
    try {
      return await measure(arm);
    } finally {
      await arm.stop();
    }
  };
  const laps = await runLaps(
    rounds(3),
    { name: "Tidemark", measure: () => up(tidemark) },
    [...rivals].map(([name, arm]) => ({ name, measure: () => up(arm) })),
    say,
  );
  for (const [name, error] of laps.failed) {
    results.missing.push(`${scenario}: ${name} failed: ${error.message}`);
  }
  for (const arm of [tidemark, ...rivals.values()]) {
    const wrong = await arm.pair.differences([ROWS]);
    results.wrong.push(...wrong.map((what) => `${scenario}, ${bed.options.pair}: ${what}`));
  }
  return laps;
}
