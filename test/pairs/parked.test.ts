// Rows for which the config's own functions fail: the sync stops, or sets them aside and shows them (G1, G8).
import { describe, expect, test } from "vitest";
import type { RowObject, TableRule } from "../../src/core/definition.ts";
import { isTidemarkError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { listParked, orderParked, readParked } from "../../src/pipeline/parked.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { resync } from "../support/resync.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", name: "varchar" },
  key: ["id"],
};

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "sqlite", target: "mariadb", queue: "embedded" },
  { source: "postgres", target: "postgres", queue: "nats" },
  { source: "mariadb", target: "postgres", queue: "embedded" },
];

async function bedOf(pair: TestPair, rule: Partial<TableRule>, rows: readonly string[] = []) {
  const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, [ITEMS]);
  const insert = (id: number, name: string) => insertRow(source, ITEMS, { id, name });
  for (const [index, name] of rows.entries()) await insert(index + 1, name);
  const define = (more: Partial<TableRule>) =>
    bed.define([{ from: "source", to: "target", tables: [{ table: "items", ...rule, ...more }] }]);
  const definition = define({});
  const atTarget = async () => {
    const found = await (await bed.sql("target")).rows("SELECT id, name FROM items ORDER BY id");
    return found.map(({ id, name }) => `${id} ${name}`);
  };
  const parked = async () => {
    const entries = await listParked(definition, silentLogger);
    return entries.map(({ key, changes }) => `${JSON.parse(key).id} x${changes}`).sort();
  };
  const order = async (action: "retry" | "drop", ids: readonly string[] | null = null) => {
    const { openQueue } = await import("../../src/pipeline/queue.ts");
    const queue = await openQueue(definition.queue, silentLogger);
    const timeoutMs = PATIENCE_MS;
    try {
      return await orderParked(definition, queue, {
        ...{ sync: "source->target", action, ids, timeoutMs, logger: silentLogger },
      });
    } finally {
      await queue.close();
    }
  };
  return { bed, source, definition, define, insert, atTarget, parked, order };
}

const synced = (pipeline: Pipeline) => pipeline.waitFor({ timeoutMs: PATIENCE_MS });

/** Fails for names that begin with "bad". */
const strict = (row: RowObject): RowObject => {
  if (row.name?.startsWith("bad")) throw new Error(`no such thing as ${row.name}`);
  return { ...row, name: `${row.name}!` };
};

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerTests(pair));
});

const [FIRST] = PAIRS as [TestPair];

/** The sync stops by the rule, and names it; or the row is parked. */
async function expectRefused(pair: TestPair, rule: Partial<TableRule>, says: string) {
  const { bed, definition, define, insert, atTarget, parked } = await bedOf(pair, rule);
  await using _ = bed;
  const stopping = await bed.start(definition);
  await insert(1, "bad one");
  await expect(stopping.finished).rejects.toSatisfy(
    (error) =>
      isTidemarkError(error, "TM-TRANSFORM-FAILED") &&
      error.message.includes(says) &&
      !error.message.includes("bad one"),
  );
  await bed.stop(stopping).catch(() => {});
  // Nothing was lost in between: with the other policy the same change is parked.
  const parking = await bed.start(define({ onError: "park" }));
  await synced(parking);
  expect([await atTarget(), await parked()]).toEqual([[], ["1 x1"]]);
}

describe("what a function may not do", () => {
  type Case = [title: string, rule: Partial<TableRule>, says: string];
  const asRow = (value: unknown) => value as RowObject;
  const answering = (answer: unknown) => () => answer as boolean;
  const late = () => Promise.reject(new Error("no"));
  test.each<Case>([
    ["throw in transform", { transform: strict }, "transform threw an error"],
    [
      "throw in filter",
      {
        filter: () => {
          throw new Error("no");
        },
      },
      "filter threw an error",
    ],
    ["give nothing", { transform: () => asRow(undefined) }, "gave nothing"],
    ["answer nothing", { filter: answering(undefined) }, "filter gave nothing"],
    ["answer in text", { filter: answering("false") }, "filter gave a string"],
    ["give a promise", { transform: async () => null } as unknown as Partial<TableRule>, "async"],
    ["ask by a promise", { filter: async () => true } as unknown as Partial<TableRule>, "async"],
    ["break a promise", { transform: late } as unknown as Partial<TableRule>, "async"],
    ["break a promise of an answer", { filter: late } as unknown as Partial<TableRule>, "async"],
    ["leave a column out", { transform: ({ id }) => asRow({ id }) }, 'left out the column "name"'],
    ["add a column", { transform: (row) => ({ ...row, more: "x" }) }, 'a column "more"'],
    ["give a number", { transform: (row) => asRow({ ...row, name: 7 }) }, "gave a number"],
  ])("%s: the sync stops and names it; or the row is parked", (_title, rule, says) =>
    expectRefused(FIRST, rule, says),
  );

  test("a filter that gives null leaves the row out", async () => {
    const filter = (row: RowObject) => (row.name === "a" ? null : false) as boolean;
    const { bed, definition, insert, atTarget } = await bedOf(FIRST, { filter });
    await using _ = bed;
    const pipeline = await bed.start(definition);
    await insert(1, "a");
    await insert(2, "b");
    await synced(pipeline);
    expect(await atTarget()).toEqual([]);
  });
});

describe("where nothing can be parked", () => {
  test("a target that is a function", async () => {
    const { bed } = await bedOf(FIRST, {});
    await using _ = bed;
    const definition = bed.define(
      [{ from: "source", to: "cache", tables: [{ table: "items", onError: "park" }] }],
      { cache: () => {} },
    );
    await expect(bed.open(definition)).rejects.toMatchObject({
      code: "TM-CONFIG-INVALID",
      message: expect.stringContaining("function"),
    });
  });

  test("a table that another one refers to at the target", async () => {
    const { bed, source } = await bedOf(FIRST, {});
    await using _ = bed;
    const children: TestTable = {
      name: "children",
      columns: { id: "integer", item: "integer" },
      key: ["id"],
      references: { item: "items" },
    };
    await createTables(source, FIRST.source, [children]);
    await createTables(await bed.sql("target"), FIRST.target, [ITEMS, children]);
    const definition = bed.define([
      { from: "source", to: "target", tables: [{ table: "items", onError: "park" }, "children"] },
    ]);
    await expect(bed.open(definition)).rejects.toMatchObject({
      code: "TM-CONFIG-INVALID",
      message: expect.stringContaining("children"),
    });
  });
});

function registerTests(pair: TestPair): void {
  test("a transform may not change the key: the sync stops and names it; or the row is parked", () =>
    expectRefused(pair, { transform: (row) => ({ ...row, id: "7" }) }, 'the key column "id"'));

  test("set aside while copied and while changed; what comes later takes its place", async () => {
    const { bed, source, definition, insert, atTarget, parked } = await bedOf(
      pair,
      { transform: strict, onError: "park" },
      ["good", "bad copied", "good", "good"],
    );
    await using _ = bed;
    const pipeline = await bed.start(definition);
    await synced(pipeline);
    expect([await atTarget(), await parked()]).toEqual([
      ["1 good!", "3 good!", "4 good!"],
      ["2 x1"],
    ]);

    // A row that stands keeps its last good state; the others go on in the same batch.
    await source.begin();
    await source.run("UPDATE items SET name = 'bad update' WHERE id = 1");
    await source.run("UPDATE items SET name = 'bad again' WHERE id = 1");
    await source.run("UPDATE items SET name = 'better' WHERE id = 3");
    await insert(5, "bad new");
    await source.commit();
    await synced(pipeline);
    expect(await atTarget()).toEqual(["1 good!", "3 better!", "4 good!"]);
    expect(await parked()).toEqual(["1 x2", "2 x1", "5 x1"]);
    const counted = async () => (await pipeline.status()).syncs[0]?.parked;
    await expect.poll(counted, { timeout: PATIENCE_MS }).toBe(3);

    // Mended at the source; gone; moved to another key, where it fails still; taken by another row.
    await source.run("UPDATE items SET name = 'mended' WHERE id = 1");
    await source.run("DELETE FROM items WHERE id = 2");
    await source.run("UPDATE items SET id = 50 WHERE id = 5");
    await insert(5, "newcomer");
    await source.run("UPDATE items SET id = 40, name = 'bad move' WHERE id = 4");
    await synced(pipeline);
    expect(await atTarget()).toEqual(["1 mended!", "3 better!", "5 newcomer!"]);
    expect(await parked()).toEqual(["40 x1", "50 x1"]);

    await source.run(pair.source === "postgres" ? "TRUNCATE items" : "DELETE FROM items");
    await synced(pipeline);
    expect([await atTarget(), await parked()]).toEqual([[], []]);
  });

  test("forgotten when its table is copied anew", async () => {
    const { bed, source, definition, atTarget, parked } = await bedOf(
      pair,
      { transform: strict, onError: "park" },
      ["good", "bad"],
    );
    await using _ = bed;
    const first = await bed.start(definition);
    await synced(first);
    expect([await atTarget(), await parked()]).toEqual([["1 good!"], ["2 x1"]]);
    await bed.stop(first);
    await source.run("UPDATE items SET name = 'mended' WHERE id = 2");
    await resync(bed, definition, ["items"]);
    expect([await atTarget(), await parked()]).toEqual([[], []]);
    await synced(await bed.start(definition));
    expect([await atTarget(), await parked()]).toEqual([["1 good!", "2 mended!"], []]);
  });

  test("tried again, shown and dropped; known after a restart", async () => {
    let working = false;
    const transform = (row: RowObject) => (working ? { ...row, name: "done" } : strict(row));
    const rule = { transform, onError: "park" } as const;
    const bad = ["bad one", "bad two", "bad three", "good"];
    const { bed, definition, source, atTarget, parked, order } = await bedOf(pair, rule, bad);
    await using _ = bed;
    let pipeline = await bed.start(definition);
    await synced(pipeline);
    const ids = (await listParked(definition, silentLogger)).map(({ id }) => id).sort();
    const byKey = new Map<number, string>();
    for (const id of ids) {
      const row = await readParked(definition, silentLogger, { sync: "source->target", id });
      expect(row).toMatchObject({
        code: "TM-TRANSFORM-FAILED",
        table: expect.stringMatching(/items$/),
      });
      expect(row?.message).toContain(`no such thing as ${row?.row.name}`);
      byKey.set(Number(row?.row.id), id);
    }
    const [one = "", two = "", three = ""] = [1, 2, 3].map((key) => byKey.get(key) ?? "");

    const again = await order("retry", [one, "0000000000000000"]);
    expect(again).toMatchObject({ done: [], failed: [{ id: one }], missing: ["0000000000000000"] });
    await bed.stop(pipeline);
    pipeline = await bed.start(definition);
    await synced(pipeline);
    expect(await parked()).toEqual(["1 x1", "2 x1", "3 x1"]);
    working = true;
    expect(await order("retry", [one])).toEqual({ done: [one], failed: [], missing: [] });
    expect(await atTarget()).toEqual(["1 done", "4 good!"]);
    expect(await order("drop", [two])).toEqual({ done: [two], failed: [], missing: [] });
    expect([await atTarget(), await parked()]).toEqual([["1 done", "4 good!"], ["3 x1"]]);
    // Forgotten is not gone: its next state arrives.
    await source.run("UPDATE items SET name = 'next' WHERE id = 2");
    await synced(pipeline);
    expect(await atTarget()).toEqual(["1 done", "2 done", "4 good!"]);
    await bed.stop(pipeline);
    // With nobody at work rows can still be dropped.
    expect(await order("drop")).toEqual({ done: [three], failed: [], missing: [] });
    expect(await parked()).toEqual([]);
  });
}
