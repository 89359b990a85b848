// Tables that stand empty at the target when a sync starts: rightly so, or because somebody
// emptied them there (G8).
import { describe, expect, test } from "vitest";
import { type Logger, silentLogger } from "../../src/core/log.ts";
import { available, FOUR_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import {
  asTarget,
  createStatement,
  createTables,
  insertRow,
  type TestTable,
} from "../support/test-tables.ts";

const DRAINED: TestTable = {
  name: "drained",
  columns: { id: "integer", note: "varchar" },
  key: ["id"],
};
const DRAINED_BAG: TestTable = { ...DRAINED, name: "drained_bag", key: [] };
const NEVER: TestTable = { ...DRAINED, name: "never_filled" };
const FILLED: TestTable = { ...DRAINED, name: "filled" };
const EMPTIED: TestTable = { ...DRAINED, name: "emptied" };
const REMADE: TestTable = { ...DRAINED, name: "remade" };
const DROPPED: TestTable = { ...DRAINED, name: "dropped" };
const RIGHTLY = [DRAINED, DRAINED_BAG, NEVER, FILLED];
const WRONGLY = [EMPTIED, REMADE, DROPPED];
const ALL = [...RIGHTLY, ...WRONGLY];

describe.each(FOUR_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("copies anew what was emptied, and only that", () => play(pair));
});

describe.each(FOUR_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("a copy over rows that stand already says so, once", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await createTables(source, pair.source, [FILLED, NEVER]);
    const atTarget = [FILLED, NEVER].map((table) => asTarget(table, pair.source, pair.target));
    await createTables(target, pair.target, atTarget);
    await insertRow(source, FILLED, { id: 1, note: "n" });
    await insertRow(target, FILLED, { id: 2, note: "here alone" });
    const warned: unknown[] = [];
    const logger: Logger = {
      ...silentLogger,
      child: () => logger,
      warn: (fields) => warned.push((fields as { table?: string }).table),
    };
    const tables = [FILLED.name, NEVER.name];
    const definition = bed.define([{ from: "source", to: "target", tables }]);
    for (let start = 1; start <= 2; start++) {
      const pipeline = await bed.start(definition, { logger });
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(pipeline);
    }
    expect(warned.filter((table) => table !== undefined)).toEqual([
      expect.stringMatching(/^(public\.)?filled$/),
    ]);
  });
});

async function play(pair: TestPair): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  const target = await bed.sql("target");
  // Of a file in another mode a table without a key is refused.
  if (source.dialect === "sqlite") await source.rows("PRAGMA journal_mode = WAL");
  await createTables(source, pair.source, ALL);
  const fill = async (tables: readonly TestTable[], id: number) => {
    for (const table of tables) await insertRow(source, table, { id, note: "n" });
  };
  const definition = bed.define([
    { from: "source", to: "target", tables: ALL.map(({ name }) => name) },
  ]);
  const synced = [DRAINED, DRAINED_BAG, FILLED, ...WRONGLY];
  await fill(synced, 1);
  const first = await bed.start(definition);
  await first.waitFor({ timeoutMs: PATIENCE_MS });
  await fill(synced, 2);
  await first.waitFor({ timeoutMs: PATIENCE_MS });
  for (const table of [DRAINED, DRAINED_BAG]) {
    for (const id of [1, 2]) await source.run(`DELETE FROM ${table.name} WHERE id = ${id}`);
  }
  await first.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.stop(first);

  await target.run("DELETE FROM emptied");
  for (const { name } of [REMADE, DROPPED]) await target.run(`DROP TABLE ${name}`);
  await target.run(createStatement(pair.target, asTarget(REMADE, pair.source, pair.target)));
  // Comes while nothing runs: a copy would bring it, and the change log, too.
  await fill([DRAINED, DRAINED_BAG, NEVER], 3);
  const second = await bed.start(definition);
  await second.waitFor({ timeoutMs: PATIENCE_MS });
  for (const table of ALL) await bed.expectSame(table);
  const [sync] = (await second.status()).syncs;
  const copied = sync?.tables.filter(({ rowsCopied }) => rowsCopied > 0).map(({ table }) => table);
  expect(copied?.map((name) => name.replace(/^.*\./, "")).sort()).toEqual([
    "dropped",
    "emptied",
    "remade",
  ]);
  const anew = bed.logger.text().match(/the table is empty at the target/g);
  expect(anew).toHaveLength(WRONGLY.length);
  await bed.stop(second);

  const third = await bed.start(definition);
  await third.waitFor({ timeoutMs: PATIENCE_MS });
  expect(bed.logger.text().match(/the table is empty at the target/g)).toHaveLength(WRONGLY.length);
}
