// What the tests share of a target's table that another one takes the place of.
import { expect } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import type { DatabaseKind } from "../servers/databases.ts";
import type { SqlClient } from "./sql-client.ts";
import { PATIENCE_MS, TestBed } from "./test-bed.ts";
import { createTables, insertRow, type TestTable } from "./test-tables.ts";

export const TABLE: TestTable = {
  name: "t",
  columns: { id: "integer", note: "varchar" },
  key: ["id"],
};

/** Of {@link TABLE} at the source. */
export async function bedOfTwoRows(kind: DatabaseKind): Promise<TestBed> {
  const bed = await TestBed.make({ source: kind, target: kind });
  const source = await bed.sql("source");
  await createTables(source, kind, [TABLE]);
  await insertRow(source, TABLE, { id: 1, note: "one" });
  await insertRow(source, TABLE, { id: 2, note: "two" });
  return bed;
}

function definitionOf(bed: TestBed): PipelineDefinition {
  return bed.define([{ from: "source", to: "target", tables: [TABLE.name] }]);
}

/** What a plan says is to be copied. */
export async function planned(bed: TestBed) {
  const { copies } = await makePlan(definitionOf(bed), bed.logger);
  return copies.flatMap(({ tables }) => tables);
}

/** Started, once the target has what the source has. */
export async function synced(bed: TestBed): Promise<Pipeline> {
  const pipeline = await bed.start(definitionOf(bed));
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  return pipeline;
}

/** The rows of {@link bedOfTwoRows} stand at the target. */
export async function untilCopied(target: SqlClient): Promise<void> {
  await expect
    .poll(() => target.rows("SELECT note FROM t ORDER BY id"), { timeout: PATIENCE_MS })
    .toEqual([{ note: "one" }, { note: "two" }]);
}

/** How many of the one sync. */
export async function copiedRows(pipeline: Pipeline): Promise<number> {
  const [sync] = (await pipeline.status()).syncs;
  return sync?.rowsCopied ?? -1;
}
