// What capture costs a PostgreSQL source: the same load on a database with capture and without.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { postgres } from "../../src/databases/postgres/index.ts";
import { installCapture } from "../capture.ts";
import { Database } from "../database.ts";
import { createTpcb, pgbench, TPCB_TABLES, vacuumTpcb } from "../loads/pgbench.ts";
import { createWide, INSERT_ONE, insertWide, UPDATE_WIDE } from "../loads/wide.ts";
import { runRounds, timed } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";

interface Sides {
  readonly plain: Database;
  readonly captured: Database;
}

export const sourcePostgres: Scenario = {
  name: "source",
  what: "PostgreSQL: transactions a second and bulk statements, with capture / without",

  async run(context: Context): Promise<void> {
    const tpcb = await sides(context, "tpcb", (database) =>
      createTpcb(context.bed, database, context.size(10, 1)),
    );
    await transactions(context, tpcb, { figure: "TPC-B", rounds: 3 });
    await assertLogged(context, tpcb.captured, TPCB_TABLES);
    await drop(tpcb);
    const wide = await sides(context, "wide", createWide);
    const script = join(context.bed.folder, "insert-one.sql");
    writeFileSync(script, INSERT_ONE);
    await transactions(context, wide, { figure: "one-row INSERT", rounds: 3, script });
    await bulk(context, wide);
    await drop(wide);
  },
};

async function sides(
  { bed }: Context,
  name: string,
  create: (database: Database) => Promise<void>,
): Promise<Sides> {
  const server = await bed.source();
  const plain = await Database.create(server, `plain_${name}`);
  const captured = await Database.create(server, `captured_${name}`);
  bed.atEnd(() => plain.close());
  bed.atEnd(() => captured.close());
  for (const database of [plain, captured]) await create(database);
  await installCapture(postgres, captured.url);
  return { plain, captured };
}

async function drop({ plain, captured }: Sides): Promise<void> {
  await plain.close();
  await captured.close();
}

async function transactions(
  context: Context,
  { plain, captured }: Sides,
  { figure, rounds, script }: { figure: string; rounds: number; script?: string },
): Promise<void> {
  const { bed, results, say } = context;
  const run = async (database: Database, seconds: number) => {
    if (script === undefined) await vacuumTpcb(database);
    await database.query("CHECKPOINT");
    return { tps: await pgbench(bed, database, { seconds, ...(script && { script }) }) };
  };
  for (const database of [plain, captured]) await run(database, context.size(3, 1)); // warm-up
  const seconds = context.size(8, 1);
  const measured = await runRounds(
    context.rounds(rounds),
    () => run(plain, seconds),
    async () => {
      await emptyLog(captured);
      return run(captured, seconds);
    },
    say,
  );
  const options = {
    figure: "tps",
    label: figure,
    unit: "tps",
    better: "higher",
    goal: 0.85,
  } as const;
  results.compare("source", "no capture", measured, options);
}

async function bulk(context: Context, { plain, captured }: Sides): Promise<void> {
  const { results, say } = context;
  const rows = context.size(100_000, 1_000);
  const run = async (database: Database) => {
    await database.query("TRUNCATE wide");
    await database.query("CHECKPOINT");
    const insert = await timed(() => database.query(insertWide(rows)));
    await database.query("VACUUM ANALYZE wide");
    await database.query("CHECKPOINT");
    const update = await timed(() => database.query(UPDATE_WIDE));
    return { insert, update };
  };
  for (const database of [plain, captured]) await run(database); // warm-up
  const measured = await runRounds(
    context.rounds(5),
    () => run(plain),
    async () => {
      await emptyLog(captured);
      return run(captured);
    },
    say,
  );
  const options = { unit: "ms", better: "lower" } as const;
  results.compare("source", "no capture", measured, {
    ...options,
    figure: "insert",
    label: `INSERT of ${rows} rows`,
    goal: 3.6,
  });
  results.compare("source", "no capture", measured, {
    ...options,
    figure: "update",
    label: `UPDATE of ${rows} rows`,
    goal: 2.8,
  });
}

/** As the relay does when it rotates the log. */
async function emptyLog(captured: Database): Promise<void> {
  await captured.query(
    "TRUNCATE tidemark.change_log_0, tidemark.change_log_1, tidemark.change_log_2",
  );
}

/** Capture that captures nothing would be cheap. */
async function assertLogged(
  { results }: Context,
  captured: Database,
  tables: readonly string[],
): Promise<void> {
  const logged = await captured.number(
    `SELECT count(DISTINCT left(kind, -1)) FROM (SELECT kind FROM tidemark.change_log_0
     UNION ALL SELECT kind FROM tidemark.change_log_1
     UNION ALL SELECT kind FROM tidemark.change_log_2) log`,
  );
  if (logged === tables.length) return;
  results.wrong.push(`source: changes of ${logged} tables were logged, not of ${tables.length}`);
}
