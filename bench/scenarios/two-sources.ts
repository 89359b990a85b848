// The same load on two PostgreSQL databases, one of which does something more for it.
import type { Database } from "../database.ts";
import { INSERT_DOCUMENTS } from "../loads/documents.ts";
import { pgbench, vacuumTpcb } from "../loads/pgbench.ts";
import { insertWide, UPDATE_WIDE } from "../loads/wide.ts";
import type { Figures, Round } from "../results.ts";
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
  sides: Sides,
  { figure, script }: { figure: string; script?: string },
): Promise<void> {
  const { bed, results } = context;
  const { baseline, measured, scenario, against, goals } = sides;
  const run = async (database: Database, seconds: number) => {
    if (script === undefined) await vacuumTpcb(database);
    await database.query("CHECKPOINT");
    return { tps: await pgbench(bed, database, { seconds, ...(script && { script }) }) };
  };
  for (const database of [baseline, measured]) await run(database, context.size(3, 1)); // warm-up
  const seconds = context.size(8, 1);
  const rounds = await inTurn(context, sides, 3, (database) => run(database, seconds));
  const options = {
    figure: "tps",
    label: figure,
    unit: "tps",
    better: "higher",
    goal: goals?.tps ?? null,
  } as const;
  results.compare(scenario, against, rounds, options);
}

export async function bulk(context: Context, sides: Sides): Promise<void> {
  const { results } = context;
  const { baseline, measured, scenario, against, goals } = sides;
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
  const rounds = await inTurn(context, sides, 5, run);
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

/** One INSERT of the documents that are laid ready (createDocuments). */
export async function longRows(context: Context, sides: Sides): Promise<void> {
  const { baseline, measured, scenario, against } = sides;
  const run = async (database: Database) => {
    await database.query("TRUNCATE documents");
    await database.query("CHECKPOINT");
    return { documents: await timed(() => database.query(INSERT_DOCUMENTS)) };
  };
  for (const database of [baseline, measured]) await run(database); // warm-up
  const rounds = await inTurn(context, sides, 5, run);
  context.results.compare(scenario, against, rounds, {
    figure: "documents",
    label: "INSERT of documents of 20 KB",
    unit: "ms",
    better: "lower",
    goal: null,
  });
}

function inTurn(
  { rounds, say }: Context,
  { baseline, measured }: Sides,
  count: number,
  run: (database: Database) => Promise<Figures>,
): Promise<readonly Round[]> {
  return runRounds(
    rounds(count),
    () => run(baseline),
    async () => {
      await emptyLog(measured);
      return run(measured);
    },
    say,
  );
}

/** As the relay does when it rotates the log. */
async function emptyLog(database: Database): Promise<void> {
  await database.query(
    "TRUNCATE tidemark.change_log_0, tidemark.change_log_1, tidemark.change_log_2",
  );
}
