// What breaks the capture of a SQLite source, and schemas that change under its triggers: told, never passed over (G1, G8).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { refuses } from "../../src/testing/database-bed.ts";
import { describeChange, Replica, takeChanges } from "../../src/testing/replica.ts";
import { bench, capture, SIMPLE } from "./support.ts";

describe("what breaks capture", () => {
  it("is found at the next cut, and not hidden by starting again", async () => {
    const { sql, source, log } = await capture(SIMPLE);
    await sql.run("DROP TRIGGER tidemark_t_update");
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
    await log.close();
    const again = await bench.log(source);
    await refuses(again.capture([await bench.captureTable("t")]), "TM-CAPTURE-BROKEN");
  });

  it("is a table that was made anew under the old name", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run(`BEGIN; CREATE TABLE t2 (id INTEGER PRIMARY KEY, a TEXT);
      INSERT INTO t2 SELECT * FROM t; DROP TABLE t; ALTER TABLE t2 RENAME TO t; COMMIT`);
    await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
  });

  it.each([
    ["made anew", "TEXT", "tbl_name = 't'"],
    ["made anew with all others' triggers", "TEXT", "name LIKE 'tidemark%'"],
    ["altered by that", "VARCHAR(9)", "tbl_name = 't'"],
  ])(
    "is a table that was %s and got its triggers back, as SQLite's guide to ALTER TABLE has it",
    async (_, type, which) => {
      const { sql, source, log } = await capture(SIMPLE);
      await sql.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
      expect(await takeChanges(log.batches)).toHaveLength(2);
      await sql.run("VACUUM; ALTER TABLE t RENAME TO t2; ALTER TABLE t2 RENAME TO t");
      const triggers = await sql.rows(
        `SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND ${which}`,
      );
      expect((await log.batches.cut()).header).toBeNull();
      const drops = triggers.map(([name]) => `DROP TRIGGER IF EXISTS "${name}"`);
      await sql.run(`BEGIN; CREATE TABLE t2 (id INTEGER PRIMARY KEY, a ${type});
      INSERT INTO t2 SELECT * FROM t WHERE id > 1; DROP TABLE t; ALTER TABLE t2 RENAME TO t`);
      await sql.run([...drops, ...triggers.map(([, text]) => text), "COMMIT"].join(";\n"));
      await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
      await log.close();
      // Another table that is captured does not hide it.
      await sql.run("CREATE TABLE later (id INTEGER PRIMARY KEY)");
      const again = await bench.log(source);
      await again.capture([await bench.captureTable("later")]);
      expect((await again.batches.cut()).header).toBeNull();
      await refuses(again.capture([await bench.captureTable("t")]), "TM-CAPTURE-BROKEN");
      await again.forget([{ schema: null, name: "t" }]);
      await again.capture([await bench.captureTable("t")]);
      await sql.run("INSERT INTO t VALUES (3, 'c')");
      expect(await takeChanges(again.batches)).toHaveLength(1);
    },
  );

  it("is a trigger that was dropped and put back alike in one transaction, also where a VACUUM follows", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    // Ours are put before those of the application, which is no loss.
    await sql.run("CREATE TRIGGER theirs AFTER UPDATE ON t BEGIN SELECT 1; END; VACUUM");
    expect(await takeChanges(log.batches)).toHaveLength(1);
    await sql.run("VACUUM; ALTER TABLE t RENAME TO t2; ALTER TABLE t2 RENAME TO t; ANALYZE");
    expect((await log.batches.cut()).header).toBeNull();
    const [[trigger]] = (await sql.rows(
      "SELECT sql FROM sqlite_schema WHERE name = 'tidemark_t_update'",
    )) as [[string]];
    await sql.run(
      `BEGIN; DROP TRIGGER tidemark_t_update; UPDATE t SET a = 'b'; ${trigger}; COMMIT; VACUUM`,
    );
    await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
  });

  it("is a trigger that was changed", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run(
      "DROP TRIGGER tidemark_t_delete; CREATE TRIGGER tidemark_t_delete AFTER DELETE ON t BEGIN SELECT 1; END",
    );
    await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
  });

  it("is a change log that somebody shortened", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    await sql.run("DELETE FROM tidemark_change_log WHERE id = 1");
    await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
  });

  it("is a change log with a hole, found when it is read", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    await sql.run("DELETE FROM tidemark_change_log WHERE id = 2");
    await refuses(takeChanges(log.batches), "TM-CAPTURE-BROKEN");
  });

  it("is not that numbers begin anew after all that was cut is purged", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    const { header } = await log.batches.cut();
    await log.batches.purge(header?.batch ?? 0);
    expect(await log.stats()).toMatchObject({ rows: 0 });
    await sql.run("DELETE FROM sqlite_sequence");
    await sql.run("INSERT INTO t SELECT id + 3, a FROM t UNION ALL SELECT id + 6, a FROM t");
    const changes = await takeChanges(log.batches);
    expect(changes).toHaveLength(6);
    expect(await log.stats()).toMatchObject({ rows: 6 });
  });

  it.each([1, 3])("is not a purge of all, which leaves an empty row of %s", async (rows) => {
    const { sql, log } = await capture(SIMPLE);
    for (let id = 1; id <= rows; id++) await sql.run(`INSERT INTO t VALUES (${id}, 'a')`);
    const { header } = await log.batches.cut();
    await log.batches.purge(header?.batch ?? 0);
    const left = await sql.rows("SELECT id, op, c1, c2 FROM tidemark_change_log");
    expect(left).toEqual([[String(rows), "-", null, null]]);
    expect(await log.batches.cut()).toMatchObject({ header: null });
  });

  it("is a log that was emptied after it had been read", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await sql.run("INSERT INTO t VALUES (2, 'b')");
    await sql.run("DELETE FROM tidemark_change_log; INSERT INTO t VALUES (3, 'c')");
    await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
  });

  it.each(["", " WHERE id > 2"])(
    "is a log whose end is gone:%s nothing came later",
    async (which) => {
      const { sql, log } = await capture(SIMPLE);
      await sql.run("INSERT INTO t VALUES (1, 'a')");
      await takeChanges(log.batches);
      await sql.run("INSERT INTO t VALUES (2, 'b'), (3, 'c')");
      await sql.run(`DELETE FROM tidemark_change_log${which}`);
      await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
    },
  );
});

describe("a schema that changes", () => {
  it("stops with the column's name when a captured column is renamed, and goes on when run again", async () => {
    const { sql, source, log, layouts } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await sql.run("ALTER TABLE t RENAME COLUMN a TO b");
    await sql.run("INSERT INTO t VALUES (2, 'b')");
    await refuses(log.batches.cut(), "TM-SCHEMA-DRIFT");
    await log.close();
    const again = await bench.log(source);
    const replica = new Replica([
      ...layouts,
      ...(await again.capture([await bench.captureTable("t")])),
    ]);
    await sql.run("INSERT INTO t VALUES (3, 'c')");
    replica.apply(await takeChanges(again.batches));
    expect(replica.rows("t")).toEqual([
      ["1", "a"],
      ["2", "b"],
      ["3", "c"],
    ]);
  });

  it("stops when a column is added, and takes it in when run again", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("ALTER TABLE t ADD COLUMN b TEXT; INSERT INTO t VALUES (1, 'a', 'x')");
    await refuses(log.batches.cut(), "TM-SCHEMA-DRIFT");
    await log.capture([await bench.captureTable("t")]);
    await sql.run("INSERT INTO t VALUES (2, 'b', 'y')");
    const changes = await takeChanges(log.batches);
    expect(changes.map(describeChange)).toEqual(["insert 1,a", "insert 2,b,y"]);
  });

  it("goes on when a column is added that nobody asks for", async () => {
    const { sql, log } = await capture(SIMPLE);
    await log.capture([await bench.captureTable("t", { columns: ["id", "a"] })]);
    await sql.run("ALTER TABLE t ADD COLUMN b TEXT; INSERT INTO t VALUES (1, 'a', 'x')");
    expect((await takeChanges(log.batches)).map(describeChange)).toEqual(["insert 1,a"]);
  });

  it("stops when the table is gone, or another one has its name", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("DROP TABLE t");
    await refuses(log.batches.cut(), "TM-SCHEMA-DRIFT");
    await sql.run("CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB)");
    await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
  });
});

it("stops where another user, who does not see it at work, has a table forgotten and drops its triggers", async () => {
  const { sql, source, log } = await capture(SIMPLE);
  await log.batches.cut();
  const folder = mkdtempSync(join(tmpdir(), "tidemark-other-"));
  vi.stubEnv("TMPDIR", folder);
  try {
    const other = await source.openChangeLog();
    await other?.forget([bench.name("t")], async () => true);
    await other?.close();
  } finally {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  }
  await sql.run("INSERT INTO t VALUES (1, 'unlogged')");
  await refuses(log.batches.cut(), "TM-CAPTURE-BROKEN");
});
