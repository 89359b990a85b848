// Plays at the source, looks at the target: what most tests of a pair do, again and again.
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { transaction } from "./sql-client.ts";
import { PATIENCE_MS, type TestBed } from "./test-bed.ts";
import type { TestTable } from "./test-tables.ts";

/** Runs the statements at the source as one transaction, and demands that each target then equals it. */
export type Play = (...statements: readonly string[]) => Promise<void>;

export async function player(
  bed: TestBed,
  pipeline: Pipeline,
  { tables, targets = ["target"] }: Compared,
): Promise<Play> {
  const source = await bed.sql("source");
  return async (...statements) => {
    await transaction(source, async () => {
      for (const statement of statements) await source.run(statement);
    });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const what = statements.join("; ");
    for (const table of tables) {
      for (const to of targets) await bed.expectSame(table, { to, what });
    }
  };
}

/** As `player`, of a sync that is started for these tables and has copied them. */
export async function startPlayer(bed: TestBed, compared: Compared): Promise<Play> {
  const { tables, targets = ["target"] } = compared;
  const names = tables.map(({ name }) => name);
  const syncs = targets.map((to) => ({ from: "source", to, tables: names }));
  const play = await player(bed, await bed.start(bed.define(syncs)), compared);
  await play();
  return play;
}

interface Compared {
  readonly tables: readonly TestTable[];
  readonly targets?: readonly string[];
}
