// Two databases that go by one name in one queue, as when two projects share a server, or a config was copied: none gets
// the other's rows, and whoever comes second is told (G1, G8).
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", note: "varchar" },
  key: ["id"],
};
const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "mariadb", queue: "nats" },
  { source: "mariadb", target: "postgres", queue: "nats" },
];
const TAKEN = { code: "TM-NAME-TAKEN" };

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  const testThere = test.skipIf(!available(pair));
  testThere("a project beside another one is refused, whole", () => beside(pair, "all"));
  testThere("a project beside another one is refused, target by target", () =>
    beside(pair, "applier"),
  );
  testThere("a source that another queue is fed from is refused", () => twoQueues(pair));
  testThere("a project has the name when the other one has ended", () => afterwards(pair));
});

/** Two sources, each with rows that tell whose they are, and a target for each. */
async function twoProjects(pair: TestPair) {
  const { source, target } = pair;
  const bed = await TestBed.make({ source, target, other: source, there: target }, pair);
  for (const name of ["source", "other"]) {
    const sql = await bed.sql(name);
    await createTables(sql, source, [ITEMS]);
    for (const id of [1, 2]) await insertRow(sql, ITEMS, { id, note: name });
  }
  const first = bed.define([{ from: "source", to: "target", tables: ["items"] }]);
  // Its config has the same names, but for that of the sync, or has all of them: both are met with.
  const places = new Map([
    ["source", bed.database("other").url],
    ["target", bed.database("there").url],
  ]);
  const second = (sync: string): PipelineDefinition => ({
    ...first,
    databases: [...places].map(([name, url]) => ({ name, url })),
    syncs: first.syncs.map((each) => ({ ...each, name: sync })),
  });
  return { bed, first, second };
}

async function beside(pair: TestPair, role: "all" | "applier"): Promise<void> {
  const { bed, first, second } = await twoProjects(pair);
  await using _ = bed;
  const pipeline = await bed.start(first);
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  for (const sync of ["source->target", "elsewhere"]) {
    const refused = await bed.open(second(sync), { role });
    await expect(startedAndFinished(refused)).rejects.toMatchObject(TAKEN);
    await bed.stop(refused);
    expect(await rowsOf(bed, "there")).toEqual([]);
  }
  // The first goes on, and keeps its log for nobody else.
  await insertRow(await bed.sql("source"), ITEMS, { id: 3, note: "source" });
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.expectSame(ITEMS);
  await bed.stop(pipeline);
  const again = await bed.start(first);
  await again.waitFor({ timeoutMs: PATIENCE_MS });
  expect(bed.logger.text()).not.toContain("kept for a sync that is not in this config");
}

/** The source is the same, and so is all else but the queue. */
async function twoQueues(pair: TestPair): Promise<void> {
  const { bed, first } = await twoProjects(pair);
  await using _ = bed;
  const pipeline = await bed.start(first);
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  const url = `sqlite:${join(bed.folder, "second", "queue.db")}`;
  const { url: there } = bed.database("there");
  const second = {
    ...first,
    queue: { ...first.queue, url },
    databases: first.databases.map((each) =>
      each.name === "target" ? { name: "target", url: there } : each,
    ),
  };
  vi.useFakeTimers({ toFake: ["performance"], shouldAdvanceTime: true });
  onTestFinished(() => void vi.useRealTimers());
  const refused = expect(bed.start(second)).rejects.toMatchObject({ code: "TM-SOURCE-TAKEN" });
  const isWaiting = () => bed.logger.text().includes("none is at work in this queue");
  await expect.poll(isWaiting, { timeout: PATIENCE_MS }).toBe(true);
  vi.advanceTimersByTime(61_000);
  await refused;
  expect(await rowsOf(bed, "there")).toEqual([]);
  await insertRow(await bed.sql("source"), ITEMS, { id: 3, note: "source" });
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.expectSame(ITEMS);
  // Where it has ended, the other one may have the source; the log says what that means.
  await bed.stop(pipeline);
  const other = await bed.start(second);
  await other.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.expectSame(ITEMS, { to: "there" });
  expect(bed.logger.text()).toContain("this source was read through another queue");
}

async function afterwards(pair: TestPair): Promise<void> {
  const { bed, first, second } = await twoProjects(pair);
  await using _ = bed;
  const [relay, applier] = await Promise.all([
    bed.start(first, { role: "relay" }),
    bed.start(first, { role: "applier" }),
  ]);
  await applier.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.stop(relay);
  // Its target still follows what it has left there.
  await expect(bed.start(second("elsewhere"))).rejects.toMatchObject({
    ...TAKEN,
    message: expect.stringContaining("source->target"),
  });
  await bed.stop(applier);

  for (const [definition, from, to] of [
    [second("elsewhere"), "other", "there"],
    [first, "source", "target"],
  ] as const) {
    await insertRow(await bed.sql(from), ITEMS, { id: 3, note: from });
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS, { from, to });
    await bed.stop(pipeline);
  }
}

async function startedAndFinished(pipeline: Pipeline): Promise<void> {
  await pipeline.start();
  await pipeline.finished;
}

async function rowsOf(bed: TestBed, name: string): Promise<readonly unknown[]> {
  return contents(await bed.sql(name), ITEMS).catch(() => []);
}
