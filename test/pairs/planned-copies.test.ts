// What a plan says a changed config will copy, and leave, before anything is changed (G8).
import { expect, test } from "vitest";
import type { TableRule } from "../../src/core/definition.ts";
import { silentLogger } from "../../src/core/log.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
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
    { sync, left: [], tables: ["one", "two"].map((table) => ({ table, reason: "first" })) },
    { sync: "source->second", left: [], tables: [{ table: "one", reason: "first" }] },
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
      sync,
      left: [],
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
  expect(fewer.copies).toEqual([{ sync, left: ["one"], tables: [] }]);
  expect(fewer.notes).toContain(`${sync}: no longer kept in step, though its rows stay: one.`);
});
