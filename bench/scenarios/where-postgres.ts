// What a row filter costs a PostgreSQL source: the same load with capture, with one `where` and without.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { postgres } from "../../src/databases/postgres/index.ts";
import { installCapture } from "../capture.ts";
import { Database } from "../database.ts";
import { createWide, INSERT_ONE } from "../loads/wide.ts";
import type { Context, Scenario } from "../scenario.ts";
import { bulk, type Sides, transactions } from "./two-sources.ts";

/** As most are: one column against a constant. */
const CONDITION = "account < 500";

export const wherePostgres: Scenario = {
  name: "where",
  what: "PostgreSQL: transactions a second and bulk statements, captured with a filter / without",

  async run(context: Context): Promise<void> {
    const sides = await prepare(context);
    const script = join(context.bed.folder, "insert-one-filtered.sql");
    writeFileSync(script, INSERT_ONE);
    await transactions(context, sides, { figure: "one-row INSERT", script });
    await bulk(context, sides);
    await assertJudged(context, sides.measured);
    await sides.baseline.close();
    await sides.measured.close();
  },
};

async function prepare({ bed }: Context): Promise<Sides> {
  const server = await bed.source();
  const baseline = await Database.create(server, "captured_all");
  const measured = await Database.create(server, "captured_where");
  bed.atEnd(() => baseline.close());
  bed.atEnd(() => measured.close());
  for (const database of [baseline, measured]) await createWide(database);
  await installCapture(postgres, baseline.url);
  await installCapture(postgres, measured.url, [CONDITION]);
  return { scenario: "where", baseline, against: "no filter", measured };
}

/** A filter that is not evaluated would cost nothing. */
async function assertJudged({ results }: Context, filtered: Database): Promise<void> {
  const letters = await filtered.query(
    `SELECT DISTINCT left(line, 1) AS letter FROM (SELECT "row" AS line FROM tidemark.change_log_0
     UNION ALL SELECT "row" FROM tidemark.change_log_1
     UNION ALL SELECT "row" FROM tidemark.change_log_2) log ORDER BY 1`,
  );
  const found = letters.map(({ letter }) => letter).join("");
  if (found !== "ft") results.wrong.push(`where: rows were judged "${found}", not "ft"`);
}
