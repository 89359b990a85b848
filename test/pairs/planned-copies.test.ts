// What a plan says a changed config will copy, and leave, before anything is changed (G8).
import { expect, test } from "vitest";
import type { TableRule } from "../../src/core/definition.ts";
import { silentLogger } from "../../src/core/log.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { resync } from "../support/resync.ts";
import { PATIENCE_MS, type Rules, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ONE: TestTable = { name: "one", columns: { id: "integer", note: "varchar" }, key: ["id"] };
const TWO: TestTable = { ...ONE, name: "two" };

test("each table that is to be copied is told with the reason, and so is what a sync leaves behind", async () => {
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite", second: "sqlite" });
  const source = await bed.sql("source");
  await createTables(source, "sqlite", [ONE, TWO]);
  for (const table of [ONE, TWO]) await insertRow(source, table, { id: 1, note: "n" });
  const syncs = (tables: readonly (string | TableRule)[]): Rules[] => [
    { from: "source", to: "target", tables },
  ];
  const planned = async (rules: readonly Rules[]) => {
    const { copies, databases } = await makePlan(bed.define(rules), silentLogger);
    return { copies, notes: databases.flatMap(({ notes }) => notes).join("\n") };
  };
  const sync = "source->target";
  const both = [...syncs(["one", "two"]), { from: "source", to: "second", tables: ["one"] }];

  const atFirst = await planned(both);
  expect(atFirst.copies).toEqual([
    {
      ...{ sync, left: [], over: [] },
      tables: ["one", "two"].map((table) => ({ table, reason: "first" })),
    },
    { sync: "source->second", left: [], over: [], tables: [{ table: "one", reason: "first" }] },
  ]);
  expect(atFirst.notes).toContain(`${sync}: copies for the first time: one, two.`);

  const pipeline = await bed.start(bed.define(both));
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  expect((await planned(both)).copies.flatMap(({ tables }) => tables)).toEqual([]);
  await bed.stop(pipeline);

  const changed = await planned(
    syncs([
      { table: "one", where: "id > 0" },
      { table: "two", as: "apart" },
    ]),
  );
  expect(changed.copies).toEqual([
    {
      ...{ sync, left: [], over: [] },
      tables: [
        { table: "one", reason: "altered" },
        { table: "two", reason: "elsewhere" },
      ],
    },
  ]);
  expect(changed.notes).toMatch(
    /kept from batch \d+ on, .*"source->second", a sync that the config does not have/,
  );

  const fewer = await planned(syncs(["two"]));
  expect(fewer.copies).toEqual([{ sync, left: ["one"], over: [], tables: [] }]);
  expect(fewer.notes).toContain(`${sync}: no longer kept in step, though its rows stay: one.`);
});

test("a first copy over rows that stand is told, with what empties them: a table that comes back into the config", async () => {
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
  const source = await bed.sql("source");
  await createTables(source, "sqlite", [ONE, TWO]);
  for (const id of [1, 2]) await insertRow(source, ONE, { id, note: "n" });
  const define = (tables: readonly string[]) =>
    bed.define([{ from: "source", to: "target", tables }]);
  const runOnce = async (tables: readonly string[]) => {
    const pipeline = await bed.start(define(tables));
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(pipeline);
  };
  await runOnce(["one"]);
  await runOnce(["two"]);
  await source.run("DELETE FROM one WHERE id = 1");

  const { copies, databases } = await makePlan(define(["one", "two"]), silentLogger);
  expect(copies.map(({ over }) => over)).toEqual([["one"]]);
  expect(databases.flatMap(({ notes }) => notes).join("\n")).toContain(
    "leaves those that the source does not have: one. `tidemark resync one` empties",
  );
  await resync(bed, define(["one", "two"]), ["one"]);
  await runOnce(["one", "two"]);
  await bed.expectSame(ONE);
});
