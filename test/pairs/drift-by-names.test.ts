// Tables of PostgreSQL that are altered and captured by the names of their columns (G1, G8).
import { describe, expect, test } from "vitest";
import {
  DRIFT,
  ITEMS,
  KEYLESS,
  ownTrigger,
  RENAMED,
  RETYPE,
  renameColumn,
  SIX,
  stopOf,
  WRITE,
  WRITE_RENAMED,
} from "../support/drift.ts";
import { available } from "../support/pairs.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { insertRow } from "../support/test-tables.ts";

describe.skipIf(!available({ source: "postgres", target: "sqlite", queue: "embedded" }))(
  "PostgreSQL, captured by the names of the columns",
  () => {
    const create = "CREATE TABLE items (id int PRIMARY KEY, a varchar(200), n int NOT NULL, x int)";
    const PARTITIONED = [
      `${create} PARTITION BY RANGE (id)`,
      "CREATE TABLE part PARTITION OF items DEFAULT",
    ];
    const [rename, renameBack] = [
      "ALTER TABLE items RENAME COLUMN a TO z",
      "ALTER TABLE items RENAME COLUMN z TO a",
    ];
    const renameKey = "ALTER TABLE items RENAME COLUMN id TO code";

    async function started(ddl: readonly string[], except: readonly string[] = []) {
      const bed = await TestBed.make({ source: "postgres", target: "sqlite" });
      const source = await bed.sql("source");
      for (const statement of ddl) await source.run(statement);
      for (let id = 1; id <= 3; id++) await insertRow(source, ITEMS, { id, a: `row ${id}`, n: id });
      const tables = [{ table: "items", except }];
      const definition = bed.define([{ from: "source", to: "target", tables }]);
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      return { bed, source, target: await bed.sql("target"), definition, pipeline };
    }

    /** Resolves when it can be written; until then each write says what is missing. */
    async function succeeds(source: SqlClient, statement: string): Promise<void> {
      const attempt = () =>
        source.run(statement).then(
          () => null,
          (error: Error) => error.message,
        );
      const first = await attempt();
      if (first === null) return;
      expect(first).toMatch(
        /has no field "\w+"|\.\w+ does not exist|does not match that when preparing the plan/,
      );
      await expect.poll(attempt, { timeout: PATIENCE_MS }).toBe(null);
    }

    describe.each<[string, readonly string[], readonly string[]]>([
      ["partitioned", PARTITIONED, []],
      ["with a column left out", [create], ["x"]],
      [
        "partitioned, without a key",
        PARTITIONED.map((each) => each.replace(" PRIMARY KEY", "")),
        [],
      ],
    ])("%s", (_, ddl, except) => {
      test("a column renamed: what writes it goes on within seconds, and is copied", async () => {
        const { bed, source, target, definition, pipeline } = await started(ddl, except);
        await using _bed = bed;
        await source.run(rename);
        for (const statement of WRITE_RENAMED) await succeeds(source, statement);
        expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
        await bed.stop(pipeline);
        // Nor does another change of names stop it, while nobody looks.
        await source.run("ALTER TABLE items RENAME COLUMN n TO m");
        await source.run("DELETE FROM items WHERE id = 1");
        await source.run("INSERT INTO items (id, z, m) VALUES (7, 'seven', 7)");
        await source.run("ALTER TABLE items RENAME COLUMN m TO n");
        for (const statement of renameColumn("sqlite")) await target.run(statement);
        const second = await bed.start(definition);
        await source.run("UPDATE items SET z = 'again' WHERE id = 7");
        await second.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame(RENAMED);
      });

      test("a column given another type: a session that has written it goes on within seconds", async () => {
        const { bed, source, definition, pipeline } = await started(ddl, except);
        await using _bed = bed;
        await source.run(SIX);
        await source.run(RETYPE.postgres("n", "bigint"));
        for (const statement of WRITE) await succeeds(source, statement);
        expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
        await bed.stop(pipeline);
        const second = await bed.start(definition);
        await second.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame({ ...ITEMS, columns: { ...ITEMS.columns, n: "bigint" } });
      });

      test("a column renamed and named back: goes on by itself", async () => {
        const { bed, source, definition, pipeline } = await started(ddl, except);
        await using _bed = bed;
        await source.run(rename);
        for (const statement of WRITE_RENAMED) await succeeds(source, statement);
        expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
        await bed.stop(pipeline);
        await source.run(renameBack);
        await source.run(SIX);
        const second = await bed.start(definition);
        await source.run("UPDATE items SET a = 'again' WHERE id = 6");
        await second.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame(ITEMS);
      });

      test("a column dropped: what writes it goes on within seconds, and is copied", async () => {
        const { bed, source, target, definition, pipeline } = await started(ddl, except);
        await using _bed = bed;
        await source.run("ALTER TABLE items DROP COLUMN a");
        await succeeds(source, "INSERT INTO items (id, n) VALUES (5, 5)");
        await source.run("DELETE FROM items WHERE id = 2");
        await source.run("UPDATE items SET id = 30 WHERE id = 3");
        expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
        await bed.stop(pipeline);
        await target.run("ALTER TABLE items DROP COLUMN a");
        const second = await bed.start(definition);
        await second.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame({ ...ITEMS, columns: { id: "integer", n: "integer" } });
      });
    });

    test("a column dropped, and another by its name: the rows that stand are copied, though none was written since", async () => {
      const { bed, source, definition, pipeline } = await started([create]);
      await using _bed = bed;
      await source.run("ALTER TABLE items DROP COLUMN x");
      await source.run("ALTER TABLE items ADD COLUMN x int DEFAULT 7");
      expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
      await bed.stop(pipeline);
      const second = await bed.start(definition);
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame({ ...ITEMS, columns: { ...ITEMS.columns, x: "integer" } });
    });

    test("a partition truncated that has no key, while a column is renamed: the others keep their rows", async () => {
      const { bed, source, definition, pipeline } = await started([
        `${create.replace(" PRIMARY KEY", "")} PARTITION BY RANGE (id)`,
        "CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (2)",
        "CREATE TABLE rest PARTITION OF items DEFAULT",
      ]);
      await using _bed = bed;
      await source.run(rename);
      await succeeds(source, "TRUNCATE low");
      expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
      await bed.stop(pipeline);
      await source.run(renameBack);
      const second = await bed.start(definition);
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(KEYLESS);
    });

    test.each<[string, readonly string[]]>([
      ["captured by statements", [create]],
      ["with a trigger of its own", [create, ...ownTrigger("postgres")]],
      ["partitioned", PARTITIONED],
    ])("the key's column renamed, %s: what writes it goes on within seconds", async (_, ddl) => {
      const { bed, source, pipeline } = await started(ddl);
      await using _bed = bed;
      await source.run(renameKey);
      await succeeds(source, "DELETE FROM items WHERE code = 1");
      await source.run("UPDATE items SET code = 30 WHERE code = 3");
      await source.run("INSERT INTO items (code, a, n) VALUES (5, 'five', 5)");
      await source.run("UPDATE items SET a = 'two' WHERE code = 2");
      expect(await stopOf(pipeline)).toMatchObject({ code: DRIFT });
    });
  },
);
