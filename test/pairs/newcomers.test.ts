// A table that comes after the start is told, and taken up by the next start (G8).
import { rm } from "node:fs/promises";
import { expect, test, vi } from "vitest";
import { describeStatus } from "../../src/cli/describe-status.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const TABLE: TestTable = { name: "t_1", columns: { id: "integer", note: "varchar" }, key: ["id"] };
const NEWCOMER: TestTable = { ...TABLE, name: "t_2" };
const LEFT_OUT: TestTable = { ...TABLE, name: "t_old" };
const OTHER: TestTable = { ...TABLE, name: "other" };

test("a table that a glob matches and that came after the start is named, and synced from the next on", async () => {
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
  const source = await bed.sql("source");
  await createTables(source, "sqlite", [TABLE]);
  const definition = bed.define([
    { from: "source", to: "target", tables: ["t_*"], except: ["t_o*"] },
  ]);
  const first = await bed.start(definition);
  await createTables(source, "sqlite", [NEWCOMER, LEFT_OUT, OTHER]);
  await insertRow(source, NEWCOMER, { id: 1, note: "before anybody looks" });
  await vi.waitFor(async () => expect(await newcomers(first)).toEqual(["t_2"]), PATIENCE_MS);
  expect(describeStatus(await first.status())).toMatch(/not synced yet.*: t_2\n/);
  expect(bed.logger.text()).toMatch(/match have come since the start/);
  await bed.stop(first);

  const second = await bed.start(definition);
  await second.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.expectSame(NEWCOMER);
  expect(await newcomers(second)).toEqual([]);
});

test("an applier apart tells of tables that its relay has taken up since", async () => {
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
  const source = await bed.sql("source");
  await createTables(source, "sqlite", [TABLE]);
  const definition = bed.define([{ from: "source", to: "target", tables: ["t_*"] }]);
  const relay = await bed.start(definition, { role: "relay" });
  await bed.start(definition, { role: "applier" });
  await bed.stop(relay);
  await createTables(source, "sqlite", [NEWCOMER]);
  await bed.start(definition, { role: "relay" });
  await vi.waitFor(
    () => expect(bed.logger.text()).toMatch(/match have come since the start.*t_2/),
    PATIENCE_MS,
  );
});

test("so does one whose source came late", async () => {
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
  const source = await bed.sql("source");
  const target = await bed.sql("target");
  await createTables(source, "sqlite", [TABLE]);
  await createTables(target, "sqlite", [OTHER]);
  const definition = bed.define([
    { from: "source", to: "target", tables: ["t_*"] },
    { from: "target", to: "source", tables: ["other"] },
  ]);
  const both = await bed.start(definition);
  await both.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.stop(both);
  // The targets know that their syncs have worked, and no relay has told of its tables.
  await rm(definition.queue.url.replace(/^sqlite:/, ""));
  await bed.start(definition, { role: "relay", databases: ["target"] });
  const applier = await bed.start(definition, { role: "applier", tablesWithinMs: 500 });
  expect(bed.logger.text()).toMatch(/cannot be begun with yet/);
  const relay = await bed.start(definition, { role: "relay", databases: ["source"] });
  await applier.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.stop(relay);
  await createTables(source, "sqlite", [NEWCOMER]);
  await bed.start(definition, { role: "relay", databases: ["source"] });
  await vi.waitFor(
    () => expect(bed.logger.text()).toMatch(/match have come since the start.*t_2/),
    PATIENCE_MS,
  );
});

async function newcomers(pipeline: Pipeline): Promise<readonly string[]> {
  return (await pipeline.status()).sources.flatMap((each) => each.newcomers);
}
