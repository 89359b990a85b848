// Another table that takes the place of a target's table and holds rows of its own, as when one is restored alone or two
// swap names: nobody may be told that it is in step before it was copied anew (G8).
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { available } from "../servers/index.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const TABLE: TestTable = { name: "t", columns: { id: "integer", note: "varchar" }, key: ["id"] };

const MAKE = "CREATE TABLE other (LIKE t INCLUDING ALL); INSERT INTO other VALUES (1, 'of before')";
const SWAPS = [
  ["dropped and made again with rows", `${MAKE}; DROP TABLE t; ALTER TABLE other RENAME TO t`],
  [
    "exchanged by names",
    `${MAKE}; ALTER TABLE t RENAME TO old; ALTER TABLE other RENAME TO t; ALTER TABLE old RENAME TO other`,
  ],
  [
    "exchanged by schemas",
    `${MAKE}; CREATE SCHEMA aside; ALTER TABLE t SET SCHEMA aside; ALTER TABLE other RENAME TO t`,
  ],
] as const;

describe.skipIf(!available("postgres"))("a table of the target", () => {
  test.each(SWAPS)("%s while nothing runs is copied anew", async (_, swap) => {
    await using bed = await bedOfTwoRows();
    await bed.stop(await synced(bed));
    expect(await planned(bed)).toEqual([]);
    await (await bed.sql("target")).run(swap);
    expect(await planned(bed)).toEqual([{ table: "public.t", reason: "replaced" }]);
    const second = await synced(bed);
    await bed.expectSame(TABLE);
    expect(bed.logger.text()).toContain("is another one than was copied into, and holds rows");
    expect(await copiedRows(second)).toBe(2);
    await bed.stop(second);
    const third = await synced(bed);
    expect(await copiedRows(third)).toBe(0);
  });

  test.each(SWAPS)("%s while the source is quiet is copied anew", async (_, swap) => {
    await using bed = await bedOfTwoRows();
    await synced(bed);
    const target = await bed.sql("target");
    await target.run(swap);
    await untilCopied(target);
  });

  test("that an earlier version copied into is told from the first start on", async () => {
    await using bed = await bedOfTwoRows();
    await bed.stop(await synced(bed));
    const target = await bed.sql("target");
    await target.run(
      "UPDATE tidemark.progress_tables SET copy = regexp_replace(copy, '@[^:]*', '')",
    );
    const second = await synced(bed);
    expect(await copiedRows(second)).toBe(0);
    await target.run(SWAPS[0][1]);
    await untilCopied(target);
  });

  test("made again together with what is kept of the sync goes on", async () => {
    await using bed = await bedOfTwoRows();
    await bed.stop(await synced(bed));
    const target = await bed.sql("target");
    for (const name of ["t", "tidemark.progress_tables"]) {
      await target.run(`CREATE TABLE restored (LIKE ${name} INCLUDING ALL);
        INSERT INTO restored SELECT * FROM ${name}; DROP TABLE ${name}`);
      const [schema, bare] = name === "t" ? ["public", "t"] : name.split(".");
      await target.run(`ALTER TABLE restored RENAME TO ${bare}`);
      if (schema !== "public") await target.run(`ALTER TABLE ${bare} SET SCHEMA ${schema}`);
    }
    await insertRow(await bed.sql("source"), TABLE, { id: 3, note: "three" });
    const second = await synced(bed);
    await bed.expectSame(TABLE);
    expect(await copiedRows(second)).toBe(0);
  });
});

async function bedOfTwoRows(): Promise<TestBed> {
  const bed = await TestBed.make({ source: "postgres", target: "postgres" });
  const source = await bed.sql("source");
  await createTables(source, "postgres", [TABLE]);
  await insertRow(source, TABLE, { id: 1, note: "one" });
  await insertRow(source, TABLE, { id: 2, note: "two" });
  return bed;
}

function definitionOf(bed: TestBed): PipelineDefinition {
  return bed.define([{ from: "source", to: "target", tables: [TABLE.name] }]);
}

/** What a plan says is to be copied. */
async function planned(bed: TestBed) {
  const { copies } = await makePlan(definitionOf(bed), bed.logger);
  return copies.flatMap(({ tables }) => tables);
}

/** Started, once the target has what the source has. */
async function synced(bed: TestBed): Promise<Pipeline> {
  const pipeline = await bed.start(definitionOf(bed));
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  return pipeline;
}

async function untilCopied(target: SqlClient): Promise<void> {
  await expect
    .poll(() => target.rows("SELECT note FROM t ORDER BY id"), { timeout: PATIENCE_MS })
    .toEqual([{ note: "one" }, { note: "two" }]);
}

async function copiedRows(pipeline: Pipeline): Promise<number> {
  const [sync] = (await pipeline.status()).syncs;
  return sync?.rowsCopied ?? -1;
}
