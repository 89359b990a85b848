// TRUNCATE where the source sees it, and what the config makes of it (G1, G8).
import { describe, expect, test } from "vitest";
import type { TruncatePolicy } from "../../src/core/definition.ts";
import { isTidemarkError } from "../../src/core/errors.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { available as isAvailable } from "../servers/index.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { startPlayer } from "../support/player.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const PARENTS: TestTable = {
  name: "parents",
  columns: { id: "integer", note: "varchar" },
  key: ["id"],
};
const CHILDREN: TestTable = {
  name: "children",
  columns: { id: "integer", parent: "integer" },
  key: ["id"],
  references: { parent: "parents" },
};
const OTHERS: TestTable = { ...PARENTS, name: "others" };
const PARTS: TestTable = { ...PARENTS, name: "parts" };
const ALL = [PARENTS, CHILDREN, OTHERS, PARTS];

const PAIRS: readonly TestPair[] = [
  { source: "postgres", target: "postgres", queue: "embedded" },
  { source: "postgres", target: "mariadb", queue: "embedded" },
  { source: "postgres", target: "sqlite", queue: "embedded" },
];

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerTruncateTests(pair));
});

describe.each(["mariadb", "mysql"] as const)("%s", (kind) => {
  test.skipIf(!isAvailable(kind))(
    "stops the sync where no trigger sees it, whatever the config says",
    async () => {
      await using bed = await TestBed.make({ source: kind, target: "sqlite" });
      const source = await bed.sql("source");
      await createTables(source, kind, [OTHERS]);
      await insertRow(source, OTHERS, { id: 1, note: "kept at the target" });
      const rule = { table: OTHERS.name, truncate: "ignore" } as const;
      const definition = bed.define([{ from: "source", to: "target", tables: [rule] }]);
      const { databases } = await makePlan(definition, bed.logger);
      expect(databases.flatMap(({ notes }) => notes).join()).toContain(
        "truncate: ignore of source->target has no effect",
      );
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await source.run("TRUNCATE TABLE others");
      await expect(pipeline.finished).rejects.toMatchObject({
        code: "TM-TRUNCATE-UNSEEN",
        message: expect.stringContaining("Table others "),
        fix: expect.stringContaining("tidemark resync others"),
      });
      expect(await contents(await bed.sql("target"), OTHERS)).toHaveLength(1);
    },
  );
});

function registerTruncateTests(pair: TestPair): void {
  async function bedWithRows(): Promise<TestBed> {
    const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await createTables(source, pair.source, [PARENTS, CHILDREN, OTHERS]);
    await source.run(
      "CREATE TABLE parts (id int PRIMARY KEY, note varchar(200)) PARTITION BY RANGE (id)",
    );
    await source.run("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (3)");
    await source.run("CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (3) TO (100)");
    await createTables(await bed.sql("target"), pair.target, ALL);
    for (let id = 1; id <= 5; id++) {
      for (const table of [PARENTS, OTHERS, PARTS])
        await insertRow(source, table, { id, note: "n" });
      await insertRow(source, CHILDREN, { id, parent: id });
    }
    return bed;
  }

  test("arrives: with CASCADE, of several tables, of one partition, among other changes", async () => {
    await using bed = await bedWithRows();
    const play = await startPlayer(bed, { tables: ALL });
    await play("TRUNCATE parts_1");
    await play(
      "INSERT INTO others (id, note) VALUES (6, 'before')",
      "TRUNCATE parents, others RESTART IDENTITY CASCADE",
      "INSERT INTO parents (id, note) VALUES (1, 'after')",
      "INSERT INTO children (id, parent) VALUES (9, 1)",
    );
    await play("SAVEPOINT s", "TRUNCATE parts", "ROLLBACK TO SAVEPOINT s");
    await play("TRUNCATE parts", "INSERT INTO parts (id, note) VALUES (1, 'new'), (50, 'new')");
    expect(await contents(await bed.sql("target"), CHILDREN)).toEqual([{ id: "9", parent: "1" }]);
  });

  test("is ignored, or stops the sync, as the config says", async () => {
    await using bed = await bedWithRows();
    const source = await bed.sql("source");
    const target = await bed.sql("target");
    const define = (others: TruncatePolicy) =>
      bed.define([
        {
          from: "source",
          to: "target",
          tables: [
            { table: "parts", truncate: "ignore" },
            { table: "others", truncate: others },
          ],
        },
      ]);
    const first = await bed.start(define("stop"));
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run("TRUNCATE parts_1");
    await source.run("TRUNCATE parts");
    await insertRow(source, PARTS, { id: 3, note: "again" });
    await insertRow(source, PARTS, { id: 40, note: "new" });
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    const ids = async (table: TestTable) => (await contents(target, table)).map(({ id }) => id);
    expect((await ids(PARTS)).sort()).toEqual(["1", "2", "3", "4", "40", "5"]);

    await source.run("TRUNCATE others");
    await insertRow(source, OTHERS, { id: 7, note: "after" });
    await expect(first.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toSatisfy(
      (error) =>
        isTidemarkError(error, "TM-SYNC-STOPPED") && error.details.code === "TM-TRUNCATE-REFUSED",
    );
    expect(await ids(OTHERS)).toHaveLength(5);
    await bed.stop(first);
    const second = await bed.start(define("apply"));
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(OTHERS);
  });
}
