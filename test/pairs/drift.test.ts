// Tables that are altered, dropped or exchanged where nothing runs, or nothing is written that would tell (G1, G8).
import { describe, expect, test } from "vitest";
import { triggerName } from "../../src/databases/mysql/capture-sql.ts";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import { uninstall } from "../../src/pipeline/uninstall.ts";
import { anotherKey, DRIFT, ITEMS, OTHERS, stopOf, toTidemark } from "../support/drift.ts";
import { available, FOUR_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { resync } from "../support/resync.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const SWAP = [
  ["others", "meanwhile"],
  ["spares", "others"],
  ["meanwhile", "spares"],
];

describe.each(FOUR_PAIRS)("a column dropped at the target while nothing ran", (pair) => {
  test.skipIf(!available(pair))(`is refused, and copied anew: ${title(pair)}`, async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    const target = await bed.sql("target");
    await createTables(source, pair.source, [ITEMS]);
    await insertRow(source, ITEMS, { id: 1, a: "one", n: 1 });
    const definition = bed.define([{ from: "source", to: "target", tables: ["items"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    await target.run("ALTER TABLE items DROP COLUMN a");
    await expect(bed.start(definition)).rejects.toMatchObject({
      code: "TM-COLUMN-UNFIT",
      message: expect.stringMatching(/items\.a: no column for \w/),
    });
    const type = target.dialect === "mariadb" ? "varchar(200)" : "text";
    await target.run(`ALTER TABLE items ADD COLUMN a ${type}`);
    const second = await bed.start(definition);
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  });
});

describe.each(FOUR_PAIRS.filter(({ source }) => source !== "sqlite"))("another key", (pair) => {
  test.skipIf(!available(pair))(`a resync passes by the old one: ${title(pair)}`, async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    const target = await bed.sql("target");
    await createTables(source, pair.source, [ITEMS, OTHERS]);
    const definition = bed.define([{ from: "source", to: "target", tables: ["items", "others"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    await insertRow(source, ITEMS, { id: 1, a: "waits", n: 1 });
    await insertRow(source, OTHERS, { id: 1, v: "waits" });
    await source.run(anotherKey(source.dialect));
    await insertRow(source, ITEMS, { id: 1, a: "later", n: 2 });
    await target.run("DROP TABLE items");
    await resync(bed, definition, ["items"]);
    const second = await bed.start(definition);
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame({ ...ITEMS, key: ["n"] });
    await bed.expectSame(OTHERS);
  });
});

describe.each(FOUR_PAIRS)("an uninstall while it works", (pair) => {
  test.skipIf(!available(pair))(`is named, and a start heals it: ${title(pair)}`, async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await createTables(source, pair.source, [OTHERS]);
    await insertRow(source, OTHERS, { id: 1, v: "before" });
    const definition = bed.define([{ from: "source", to: "target", tables: ["others"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    const stopped = stopOf(first);
    await uninstall(definition, bed.logger);
    const { fix } = await stopped;
    expect(fix).toMatch(/tidemark uninstall.*[Ss]tart again/);
    await bed.stop(first);
    const [{ findings: [, told] = [] } = {}] = await diagnose(definition, bed.logger);
    expect(told).toMatchObject({ check: "stopped", severity: "warning" });
    expect(told?.fix).toMatch(/start tidemark run again/);
    await insertRow(source, OTHERS, { id: 2, v: "unseen" });
    const second = await bed.start(definition);
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(OTHERS);
  });
});

describe.each(FOUR_PAIRS)("two tables of one shape that exchanged their names", (pair) => {
  test.skipIf(!available(pair))(title(pair), async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    const twins = ["others", "spares"].map((name): TestTable => ({ ...OTHERS, name }));
    await createTables(source, pair.source, twins);
    for (const table of twins) await insertRow(source, table, { id: 1, v: table.name });
    const names = twins.map(({ name }) => name);
    const definition = bed.define([{ from: "source", to: "target", tables: names }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    for (const [from, to] of SWAP) await source.run(`ALTER TABLE ${from} RENAME TO ${to}`);
    for (const table of twins) await insertRow(source, table, { id: 2, v: `now ${table.name}` });
    const { code, message } = await stopOf(first);
    expect([DRIFT, "TM-CAPTURE-BROKEN"]).toContain(code);
    expect(message).toMatch(/others|spares/);
    await bed.stop(first);
    await resync(bed, definition, names);
    const second = await bed.start(definition);
    for (const table of twins) await insertRow(source, table, { id: 3, v: `then ${table.name}` });
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of twins) await bed.expectSame(table);
  });
});

describe("where nothing was written since", () => {
  const ADDED: readonly string[] = ["ALTER TABLE items ADD COLUMN b integer DEFAULT 9"];
  const MADE_AGAIN: readonly string[] = [
    "CREATE TABLE made (LIKE items INCLUDING ALL)",
    "DROP TABLE items",
    "ALTER TABLE made RENAME TO items",
  ];
  const PARTS = [
    "CREATE TABLE parted (id int PRIMARY KEY, a varchar(200), n int NOT NULL) PARTITION BY RANGE (id)",
    "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (9)",
    "INSERT INTO parted VALUES (1, 'one', 1)",
  ];
  const IN_POSTGRES: Readonly<Record<string, readonly string[]>> = {
    "a column added with a default": ADDED,
    "a table dropped and made again": MADE_AGAIN,
    "a partition detached": ["ALTER TABLE parted DETACH PARTITION low"],
    "a trigger disabled for a while": [
      "ALTER TABLE items DISABLE TRIGGER USER",
      "DELETE FROM items",
      "ALTER TABLE items ENABLE TRIGGER USER",
    ],
  };
  const IN_MYSQL: Readonly<Record<string, readonly string[]>> = {
    "a column added with a default": ADDED,
    "a table dropped and made again": MADE_AGAIN.map((each) => each.replace(" INCLUDING ALL", "")),
    TRUNCATE: ["TRUNCATE items"],
    "a trigger dropped for a while": [
      `DROP TRIGGER ${triggerName("items", "DELETE")}`,
      "DELETE FROM items",
    ],
  };
  const kinds = [
    { source: "postgres", statements: IN_POSTGRES, prepare: PARTS, tables: ["items", "parted"] },
    { source: "mariadb", statements: IN_MYSQL, prepare: [], tables: ["items"] },
    { source: "mysql", statements: IN_MYSQL, prepare: [], tables: ["items"] },
  ] as const;
  for (const { source: kind, statements, prepare, tables } of kinds) {
    const pair = { source: kind, target: "sqlite", queue: "embedded" } as const;
    test.skipIf(!available(pair)).each(Object.entries(statements))(
      `${kind}, %s: whoever waits is not told that the target is in step`,
      async (_, alter) => {
        await using bed = await TestBed.make({ source: kind, target: "sqlite" });
        const source = await bed.sql("source");
        await createTables(source, kind, [ITEMS]);
        for (const statement of prepare) await source.run(statement);
        await insertRow(source, ITEMS, { id: 1, a: "one", n: 1 });
        const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables }]));
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        for (const statement of alter) await source.run(statement);
        await expect(pipeline.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toMatchObject({
          code: "TM-SYNC-STOPPED",
        });
      },
    );
  }
});

describe("two tables that exchanged their names while nobody looked", () => {
  const MORE: TestTable = { ...ITEMS, name: "more" };
  const pairs: readonly TestPair[] = [
    { source: "postgres", target: "sqlite", queue: "embedded" },
    { source: "sqlite", target: "postgres", queue: "embedded" },
  ];
  for (const pair of pairs) {
    test.skipIf(!available(pair))(`both are to be copied anew: ${title(pair)}`, async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await createTables(source, pair.source, [ITEMS, MORE]);
      for (const id of [1, 2]) await insertRow(source, ITEMS, { id, a: "item", n: id });
      for (const id of [3, 4]) await insertRow(source, MORE, { id, a: "more", n: id });
      const definition = bed.define([{ from: "source", to: "target", tables: ["items", "more"] }]);
      const first = await bed.start(definition);
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(first);
      await source.run("ALTER TABLE items RENAME TO between_names");
      await source.run("ALTER TABLE more RENAME TO items");
      await source.run("ALTER TABLE between_names RENAME TO more");
      await insertRow(source, ITEMS, { id: 5, a: "new", n: 5 });
      await source.run("DELETE FROM more WHERE id = 1");
      for (const _ of [ITEMS, MORE]) {
        const error = await bed.start(definition).then(() => null, toTidemark);
        expect(error).toMatchObject({ code: "TM-CAPTURE-BROKEN" });
        await resync(bed, definition, [String(error?.details.table)]);
      }
      const last = await bed.start(definition);
      await last.waitFor({ timeoutMs: PATIENCE_MS });
      for (const table of [ITEMS, MORE]) await bed.expectSame(table);
    });
  }
});
