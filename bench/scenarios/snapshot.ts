// The first copy of a table: from the start of the command until all rows are at the target.
import { setTimeout as sleep } from "node:timers/promises";
import { Tidemark } from "../arms/tidemark.ts";
import { Database } from "../database.ts";
import { createWide, insertWide, WIDE } from "../loads/wide.ts";
import { Pair } from "../pair.ts";
import { postgresEnvironment, runProgram } from "../programs.ts";
import type { Figures } from "../results.ts";
import { runRounds, timed } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";

/** In millions. The start of the command, which is in the rate, is the same for each. */
const SIZES = [1, 5];
/** A hundredth of what is measured: nobody looks at the target while `psql` fills it. */
const LOOK_MS = 25;

export const snapshot: Scenario = {
  name: "snapshot",
  what: `first copy of ${SIZES.join(" and ")} million rows: rows a second, start-up included / pg_dump piped to psql`,

  async run(context: Context): Promise<void> {
    for (const millions of SIZES) await compare(context, millions);
  },
};

async function compare(context: Context, millions: number): Promise<void> {
  const name = `${millions}m`;
  const template = await Database.create(await context.bed.source(), `template_${name}`);
  await createWide(template);
  await template.query(insertWide(millions * context.size(1_000_000, 20_000)));
  await template.query("VACUUM ANALYZE wide");
  await template.close(); // a template may have no sessions
  let number = 0;
  const side = (kind: string, work: (context: Context, pair: Pair) => Promise<number>) => () =>
    measure(context, `${kind}_${name}_${++number}`, { template: template.name, work });
  const measured = await runRounds(
    context.rounds(3),
    side("dump", dump),
    side("copy", copy),
    context.say,
  );
  context.results.compare("snapshot", "pg_dump | psql", measured, {
    figure: "rate",
    label: `rate at ${millions}M rows`,
    unit: "rows/s",
    better: "higher",
    goal: 0.8,
    at: { axis: "million rows", value: millions },
  });
}

async function measure(
  context: Context,
  name: string,
  { template, work }: { template: string; work: (context: Context, pair: Pair) => Promise<number> },
): Promise<Figures> {
  const pair = await Pair.create(context.bed, name, { template });
  await pair.settle();
  const ms = await work(context, pair);
  const wrong = await pair.differences([WIDE]);
  context.results.wrong.push(...wrong.map((what) => `snapshot: ${what}`));
  const rows = await pair.source.number("SELECT count(*) FROM wide");
  await pair.close();
  return { rate: rows / (ms / 1000) };
}

function dump({ bed }: Context, { source, target }: Pair): Promise<number> {
  const programs = ["pg_dump", "psql"].map((name) => bed.postgresProgram(name));
  const [from, to] = [postgresEnvironment(source.url), postgresEnvironment(target.url)];
  // Each side's parameters come from the environment; the shell only joins the two.
  const environment = { TO_PORT: to.PGPORT ?? "", TO_DATABASE: to.PGDATABASE ?? "" };
  const receive = 'PGPORT="$TO_PORT" PGDATABASE="$TO_DATABASE" "$1" --quiet --no-psqlrc';
  return timed(() =>
    runProgram(
      "/bin/sh",
      ["-c", `"$0" | ${receive} --set=ON_ERROR_STOP=1 > /dev/null`, ...programs],
      { env: { ...from, ...environment } },
    ),
  );
}

async function copy({ bed }: Context, pair: Pair): Promise<number> {
  const tidemark = await Tidemark.create(bed, pair, [WIDE]);
  const rows = await pair.source.number("SELECT count(*) FROM wide");
  await pair.settle();
  const start = performance.now();
  tidemark.launch();
  // The table is not there at first; ids are given in key order, so the last one comes last.
  while ((await pair.target.value("SELECT to_regclass('wide')")) === null) await sleep(LOOK_MS);
  const ms = (await pair.visible(WIDE, rows, LOOK_MS)) - start;
  await tidemark.stop();
  return ms;
}
