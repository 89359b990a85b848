// Targets for which the change log is kept no longer, since its bound was reached, and the way back (G1, G7, G8).
import { expect, test } from "vitest";
import type { Delivery } from "../../src/core/definition.ts";
import { keys } from "../../src/core/documents.ts";
import type { Queue } from "../../src/core/queue.ts";
import { resync } from "../support/resync.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const TABLE: TestTable = {
  name: "things",
  columns: { id: "integer", note: "varchar" },
  key: ["id"],
};
/** What is kept waiting: a database and a function. */
const AWAY = ["away", "kept"];

test("are stopped, and copied anew by one resync", { timeout: PATIENCE_MS }, async () => {
  await using bed = await TestBed.make({ source: "sqlite", away: "sqlite", near: "sqlite" });
  const source = await bed.sql("source");
  await createTables(source, "sqlite", [TABLE]);
  for (const id of [1, 2, 3]) await insertRow(source, TABLE, { id, note: "at first" });
  const kept = new Map<unknown, unknown>();
  const keep = ({ changes }: Delivery) => {
    for (const { op, key, row } of changes) {
      if (op === "clear") kept.clear();
      else if (op === "put") kept.set(key?.id, row);
      else kept.delete(key?.id);
    }
  };
  const syncs = ["near", ...AWAY].map((to) => ({ from: "source", to, tables: [TABLE.name] }));
  const definition = bed.define(syncs, { kept: keep });
  const first = await bed.start(definition);
  await first.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.stop(first);

  const bounded = { ...definition, retention: { maxLogBytes: 1, keptMs: 0 } };
  const second = await bed.start(bounded, { databases: ["source", "near"] });
  await source.run("DELETE FROM things WHERE id = 2");
  await insertRow(source, TABLE, { id: 4, note: "while they are away" });
  for (const to of AWAY) await refused(second.queue, `source->${to}`);
  await second.waitFor({ sync: ["source->near"], timeoutMs: PATIENCE_MS });
  await bed.expectSame(TABLE, { to: "near" });
  await bed.stop(second);

  for (const to of AWAY) {
    const started = async () =>
      (await bed.start(definition, { databases: ["source", to] })).finished;
    const fix = expect.stringContaining(`tidemark resync '*' --sync 'source->${to}'`);
    await expect(started()).rejects.toMatchObject({ code: "TM-BATCH-PURGED", fix });
    await resync(bed, definition, ["*"], `source->${to}`);
  }
  const third = await bed.start(definition);
  await third.waitFor({ timeoutMs: PATIENCE_MS });
  for (const to of ["near", "away"]) await bed.expectSame(TABLE, { to });
  expect([...kept.keys()].sort()).toEqual((await contents(source, TABLE)).map(({ id }) => id));
});

/** Resolves when the relay has told this sync that the log was cut over its head. */
async function refused({ documents }: Queue, sync: string): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  for await (const { value } of documents.watch(keys.refusal("source", sync), signal)) {
    if (value !== null) return;
  }
}
