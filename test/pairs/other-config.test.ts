// A config that is changed between two runs: what a table was copied as, and to, is not believed for what it is now (G1, G4, G8).
import { describe, expect, test } from "vitest";
import type { PipelineDefinition, TableRule } from "../../src/core/definition.ts";
import { available, FOUR_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import {
  asTarget,
  contents,
  createTables,
  insertRow,
  type TestTable,
} from "../support/test-tables.ts";

const ONE: TestTable = {
  name: "one",
  columns: { id: "integer", note: "varchar" },
  key: ["id"],
};
const TWO: TestTable = { ...ONE, name: "two" };

describe.each(FOUR_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("a table that goes to another one is copied there", () =>
    toAnother(pair),
  );
  test.skipIf(!available(pair))("two tables whose targets are exchanged are both copied", () =>
    exchanged(pair),
  );
  test.skipIf(!available(pair)).each([ONE, TWO])(
    "another source by mistake, with a table $name, costs the target nothing",
    (table) => elsewhere(pair, table),
  );
  test.skipIf(!available(pair))("targets exchanged and put right are copied anew", () =>
    targetsExchanged(pair),
  );
  test.skipIf(!available(pair))("a sync that is named back copies anew", () => renamed(pair));
});

async function toAnother(pair: TestPair): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const [source, target] = [await bed.sql("source"), await bed.sql("target")];
  await createTables(source, pair.source, [ONE]);
  const other = { ...asTarget(ONE, pair.source, pair.target), name: "other" };
  await createTables(target, pair.target, [other]);
  await insertRow(target, other, { id: 100, note: "here alone" });
  for (const id of [1, 2, 3]) await insertRow(source, ONE, { id, note: "n" });
  await runOnce(bed, { one: "first" });
  await bed.expectSame(ONE, { as: "first" });

  // What was told of the one before is no answer to who waits for this one.
  const relay = await bed.start(define(bed, { one: "other" }), { role: "relay" });
  const early = relay.waitFor({ timeoutMs: 2_000 });
  await expect(early).rejects.toMatchObject({ code: "TM-WAIT-TIMEOUT" });
  await bed.stop(relay);
  await runOnce(bed, { one: "other" });
  expect(bed.logger.text().match(/holds rows already/g)).toHaveLength(1);
  const ids = (await contents(target, other)).map(({ id }) => Number(id));
  expect(ids.sort((a, b) => a - b)).toEqual([1, 2, 3, 100]);

  // What was written meanwhile, the first one has not had.
  await insertRow(source, ONE, { id: 4, note: "n" });
  await runOnce(bed, { one: "other" });
  await runOnce(bed, { one: "first" });
  await bed.expectSame(ONE, { as: "first" });
}

async function exchanged(pair: TestPair): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, [ONE, TWO]);
  for (const table of [ONE, TWO]) {
    for (const id of [1, 2]) await insertRow(source, table, { id, note: table.name });
  }
  await runOnce(bed, { one: "x", two: "y" });
  await runOnce(bed, { one: "y", two: "x" });
  await bed.expectSame(ONE, { as: "y" });
  await bed.expectSame(TWO, { as: "x" });
}

/** `table`: of the other source. */
async function elsewhere(pair: TestPair, table: TestTable): Promise<void> {
  const kinds = { source: pair.source, elsewhere: pair.source, target: pair.target };
  await using bed = await TestBed.make(kinds, pair);
  const [source, other] = [await bed.sql("source"), await bed.sql("elsewhere")];
  await createTables(source, pair.source, [ONE]);
  await createTables(other, pair.source, [table]);
  for (const id of [1, 2, 3]) await insertRow(source, ONE, { id, note: "n" });
  const right = bed.define([{ from: "source", to: "target", tables: ["*"] }]);
  const first = await bed.start(right);
  await first.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.stop(first);
  await source.run("DELETE FROM one WHERE id = 1");

  const { url } = bed.database("elsewhere");
  const databases = right.databases.map((each) =>
    each.name === "source" ? { name: "source", url } : each,
  );
  const wrong = await bed.open({ ...right, databases });
  const refused = async () => {
    await wrong.start();
    await insertRow(other, table, { id: 101, note: "not of these" });
    await wrong.finished;
  };
  await expect(refused()).rejects.toMatchObject({ code: "TM-TIMELINE-CHANGED" });
  await bed.stop(wrong);

  // What was read of the wrong one is in the queue still.
  const again = await bed.start(right);
  await again.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.expectSame(ONE);
  expect(bed.logger.text()).not.toContain("holds rows already");
}

/** Two targets exchanged for a run, then corrected: neither holds what its sync has once copied there. */
async function targetsExchanged(pair: TestPair): Promise<void> {
  const { source: kind } = pair;
  const [here, there] = [pair.target, pair.target];
  await using bed = await TestBed.make({ source: kind, second: kind, here, there }, pair);
  for (const name of ["source", "second"]) {
    const sql = await bed.sql(name);
    await createTables(sql, kind, [ONE, TWO]);
    for (const id of [1, 2]) await insertRow(sql, ONE, { id, note: name });
    await insertRow(sql, TWO, { id: 1, note: name });
  }
  const syncs = [
    { from: "source", to: "here", tables: ["one"] },
    { from: "second", to: "there", tables: ["one", { table: "two", as: "apart" }] },
  ];
  const right = bed.define(syncs);
  const urls = new Map([
    ["here", bed.database("there").url],
    ["there", bed.database("here").url],
  ]);
  const exchanged = right.databases.map((each) => ({
    ...each,
    url: urls.get(each.name) ?? bed.database(each.name).url,
  }));
  const runs = [right.databases, exchanged, right.databases];
  for (const [run, databases] of runs.entries()) {
    const pipeline = await bed.start({ ...right, databases });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    // What the wrong target has confirmed, the right one has not had.
    await (await bed.sql("source")).run(`UPDATE one SET note = 'run ${run}' WHERE id = 1`);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(pipeline);
  }
  await bed.expectSame(ONE, { from: "source", to: "here" });
  await bed.expectSame(ONE, { from: "second", to: "there" });
  // Nobody else has written that one: it was not copied a third time.
  const said = bed.logger.text().match(/another sync has copied into the same table/g);
  expect(said).toHaveLength(4);
}

/** A sync that was renamed, with other rows, and is named back. */
async function renamed(pair: TestPair): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, [ONE]);
  for (const id of [1, 2, 3, 4]) await insertRow(source, ONE, { id, note: "n" });
  const run = async (name: string, table: TableRule) => {
    const definition = bed.define([{ from: "source", to: "target", tables: [table] }]);
    const syncs = definition.syncs.map((sync) => ({ ...sync, name }));
    const pipeline = await bed.start({ ...definition, syncs });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(pipeline);
  };
  await run("first", { table: "one" });
  await run("second", { table: "one", where: "id > 2" });
  await source.run("UPDATE one SET note = 'for the second' WHERE id = 1");
  await run("first", { table: "one" });
  await bed.expectSame(ONE);
}

/** By source table, the target's. */
type Names = Readonly<Record<string, string>>;

function define(bed: TestBed, names: Names): PipelineDefinition {
  const tables = Object.entries(names).map(([table, as]) => ({ table, as }));
  return bed.define([{ from: "source", to: "target", tables }]);
}

async function runOnce(bed: TestBed, names: Names): Promise<void> {
  const pipeline = await bed.start(define(bed, names));
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.stop(pipeline);
}
