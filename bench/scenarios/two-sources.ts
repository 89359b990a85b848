// The same load on two PostgreSQL databases, one of which does something more for it.
import type { Database } from "../database.ts";
import { pgbench, vacuumTpcb } from "../loads/pgbench.ts";
import { insertWide, UPDATE_WIDE } from "../loads/wide.ts";
import { runRounds, timed } from "../rounds.ts";
import type { Context } from "../scenario.ts";

export interface Sides {
  readonly scenario: string;
  readonly baseline: Database;
  /** What the baseline is called. */
  readonly against: string;
  /** A source with capture. */
  readonly measured: Database;
  readonly goals?: { readonly tps: number; readonly insert: number; readonly update: number };
}

export async function transactions(
  context: Context,
  { baseline, measured, scenario, against, goals }: Sides,
  { figure, script }: { figure: string; script?: string },
): Promise<void> {
  const { bed, results, say } = context;
  const run = async (database: Database, seconds: number) => {
    if (script === undefined) await vacuumTpcb(database);
    await database.query("CHECKPOINT");
    return { tps: await pgbench(bed, database, { seconds, ...(script && { script }) }) };
  };
  for (const database of [baseline, measured]) await run(database, context.size(3, 1)); // warm-up
  const seconds = context.size(8, 1);
  const rounds = await runRounds(
    context.rounds(3),
    () => run(baseline, seconds),
    async () => {
      await emptyLog(measured);
      return run(measured, seconds);
    },
    say,
  );
  const options = {
    figure: "tps",
    label: figure,
    unit: "tps",
    better: "higher",
    goal: goals?.tps ?? null,
  } as const;
  results.compare(scenario, against, rounds, options);
}

export async function bulk(
  context: Context,
  { baseline, measured, scenario, against, goals }: Sides,
): Promise<void> {
  const { results, say } = context;
  const size = context.size(100_000, 1_000);
  const run = async (database: Database) => {
    await database.query("TRUNCATE wide");
    await database.query("CHECKPOINT");
    const insert = await timed(() => database.query(insertWide(size)));
    await database.query("VACUUM ANALYZE wide");
    await database.query("CHECKPOINT");
    const update = await timed(() => database.query(UPDATE_WIDE));
    return { insert, update };
  };
  for (const database of [baseline, measured]) await run(database); // warm-up
  const rounds = await runRounds(
    context.rounds(5),
    () => run(baseline),
    async () => {
      await emptyLog(measured);
      return run(measured);
    },
    say,
  );
  const options = { unit: "ms", better: "lower" } as const;
  results.compare(scenario, against, rounds, {
    ...options,
    figure: "insert",
    label: `INSERT of ${size} rows`,
    goal: goals?.insert ?? null,
  });
  results.compare(scenario, against, rounds, {
    ...options,
    figure: "update",
    label: `UPDATE of ${size} rows`,
    goal: goals?.update ?? null,
  });
}

/** As the relay does when it rotates the log. */
async function emptyLog(database: Database): Promise<void> {
  await database.query(
    "TRUNCATE tidemark.change_log_0, tidemark.change_log_1, tidemark.change_log_2",
  );
}
