// What only SQLite has: files that move and are copied, schemas that change under the triggers,
// journal modes, keys that may be NULL, values of any class (G1, G8).
import { execFile, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Change } from "../../src/core/change.ts";
import { silentLogger } from "../../src/core/log.ts";
import { isTagged, type Tagged } from "../../src/core/value.ts";
import type { SqliteBatches } from "../../src/databases/sqlite/batches.ts";
import { sqlite } from "../../src/databases/sqlite/index.ts";
import { Bench, refuses } from "../../src/testing/database-bed.ts";
import {
  type Copied,
  describeChange,
  Replica,
  sorted,
  takeChanges,
  takeChunk,
} from "../../src/testing/replica.ts";
import { sqliteBed } from "../conformance/sqlite-bed.ts";
import { isReachable, serverAccount } from "../servers/account.ts";

let bench: Bench;
beforeEach(async () => {
  bench = new Bench(await sqliteBed());
});
afterEach(() => bench.close());

const path = () => bench.bed.url.slice("sqlite:".length);

async function capture(ddl: string, table = "t") {
  const sql = await bench.sql();
  await sql.run(ddl);
  const source = await bench.source();
  const log = await bench.log(source);
  const layouts = await log.capture([await bench.captureTable(table)]);
  return { sql, source, log, layouts };
}

/** Ends all use of the file and puts it back as its `.backup` is; the records beside it stay. */
async function putBack(
  open: Pick<Awaited<ReturnType<typeof capture>>, "sql" | "source" | "log">,
): Promise<void> {
  for (const each of [open.log, open.source, open.sql]) await each.close();
  for (const tail of ["-wal", "-shm"]) rmSync(path() + tail, { force: true });
  copyFileSync(`${path()}.backup`, path());
}

/** A relay that does not see the lease of the first: another machine, another user. */
async function unseen() {
  const folder = process.env.TMPDIR;
  process.env.TMPDIR = dirname(path());
  return bench.log().finally(() => {
    if (folder === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = folder;
  });
}

const SIMPLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)";

describe("a log that another version has made", () => {
  it("is neither read nor written", async () => {
    const { sql, source, log } = await capture(SIMPLE);
    await log.close();
    await sql.run("ALTER TABLE tidemark_layouts ADD COLUMN other TEXT");
    const version = {
      code: "TM-LOG-VERSION",
      message: expect.stringContaining("tidemark_layouts"),
    };
    const tables = [await bench.captureTable("t")];
    await expect(source.openChangeLog()).rejects.toMatchObject(version);
    await expect(source.planCapture(tables)).rejects.toMatchObject(version);
    const findings = await source.diagnose(tables);
    expect(findings.filter(({ severity }) => severity === "error")).toMatchObject([
      { check: "log-version" },
    ]);
  });
});

describe("what is captured", () => {
  it("follows cascades through foreign keys", async () => {
    const sql = await bench.sql();
    await sql.run(`CREATE TABLE p (id INTEGER PRIMARY KEY);
      CREATE TABLE t (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE)`);
    const log = await bench.log();
    const layouts = await log.capture([
      await bench.captureTable("p"),
      await bench.captureTable("t"),
    ]);
    const replica = new Replica(layouts);
    await sql.run(
      "INSERT INTO p VALUES (1), (2), (3); INSERT INTO t VALUES (10, 1), (20, 2), (30, 3)",
    );
    await sql.run("DELETE FROM p WHERE id = 1; UPDATE p SET id = 9 WHERE id = 2");
    // The row that REPLACE removes takes its children along, with or without triggers.
    await sql.run("CREATE UNIQUE INDEX one ON p (id); REPLACE INTO p VALUES (3)");
    replica.apply(await takeChanges(log.batches));
    expect(replica.rows("t")).toEqual(sorted(await sql.rows("SELECT * FROM t")));
    expect(replica.rows("p")).toEqual(sorted(await sql.rows("SELECT * FROM p")));
  });

  it("takes tables without rowid, STRICT ones, and those whose columns hide the rowid", async () => {
    for (const [i, ddl] of [
      "(id TEXT PRIMARY KEY, a ANY) WITHOUT ROWID, STRICT",
      "(rowid TEXT, _rowid_ TEXT, oid TEXT, id TEXT PRIMARY KEY)",
      "(rowid TEXT PRIMARY KEY, a INT)",
      "(a INTEGER GENERATED ALWAYS AS (length(id)) STORED, id TEXT PRIMARY KEY, b AS (a * 2))",
    ].entries()) {
      const sql = await bench.sql();
      const log = await bench.log();
      await sql.run(`CREATE TABLE t${i} ${ddl}`);
      const table = await bench.captureTable(`t${i}`);
      const replica = new Replica(await log.capture([table]));
      const key = table.schema.key.join();
      await sql.run(`INSERT INTO t${i} (${key}) VALUES ('x'), ('yy'), ('zzz')`);
      await sql.run(`UPDATE t${i} SET ${key} = 'moved' WHERE ${key} = 'x'`);
      await sql.run(`DELETE FROM t${i} WHERE ${key} = 'yy'`);
      replica.apply(await takeChanges(log.batches));
      const rows = (await sql.rows(`SELECT * FROM t${i}`)).length;
      expect(replica.rows(`t${i}`)).toHaveLength(rows);
      expect(JSON.stringify(replica.rows(`t${i}`))).toContain("moved");
      await log.close();
    }
  });

  it("refuses triggers that may end ours, before and after", async () => {
    const sql = await bench.sql();
    await sql.run(SIMPLE);
    const ignoring =
      "CREATE TRIGGER quiet AFTER INSERT ON t WHEN NEW.a = 'x' BEGIN SELECT raise ( IGNORE ); END";
    await sql.run(ignoring);
    const log = await bench.log();
    const tables = [await bench.captureTable("t")];
    await expect(log.capture(tables)).rejects.toMatchObject({ code: "TM-TABLE-UNSUPPORTED" });
    await sql.run("DROP TRIGGER quiet");
    await sql.run(
      "CREATE TRIGGER loud BEFORE INSERT ON t WHEN NEW.a = 'x' BEGIN SELECT RAISE(IGNORE); END",
    );
    await log.capture(tables);
    await sql.run("INSERT INTO t VALUES (1, 'x'), (2, 'y')");
    expect((await takeChanges(log.batches)).map(describeChange)).toEqual(["insert 2,y"]);
    await sql.run(ignoring);
    await sql.run("INSERT INTO t VALUES (3, 'z')");
    await expect(log.batches.cut()).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
  });

  it("logs a row that a failing trigger leaves written, also of one that came later", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("CREATE TABLE taken (a TEXT UNIQUE)");
    await sql.run("INSERT INTO taken VALUES ('x')");
    await sql.run(
      "CREATE TRIGGER take AFTER INSERT ON t BEGIN INSERT INTO taken VALUES (NEW.a); END",
    );
    await sql.run(
      "CREATE TRIGGER stay AFTER UPDATE ON t BEGIN SELECT RAISE(FAIL, 'it stays'); END",
    );
    expect((await log.batches.cut()).header).toBeNull();
    await expect(sql.run("INSERT OR FAIL INTO t VALUES (1, 'x')")).rejects.toThrow("UNIQUE");
    await expect(sql.run("UPDATE t SET a = 'y'")).rejects.toThrow("it stays");
    expect(await sql.rows("SELECT a FROM t")).toEqual([["y"]]);
    expect((await takeChanges(log.batches)).map(describeChange)).toEqual([
      "insert 1,x",
      "update 1,y",
    ]);
    // Once, not at every cut.
    const version = await sql.rows("PRAGMA schema_version");
    await sql.run("DELETE FROM t");
    expect((await takeChanges(log.batches)).map(describeChange)).toEqual(["delete from 1"]);
    expect(await sql.rows("PRAGMA schema_version")).toEqual(version);
  });

  it("lets others write while the log is made wide enough for a table", async () => {
    const columns = Array.from({ length: 400 }, (_, i) => `c${i}`).join(", ");
    const sql = await bench.sql();
    await sql.run(`CREATE TABLE t (id INTEGER PRIMARY KEY, ${columns})`);
    const log = await bench.log(await bench.source());
    const table = await bench.captureTable("t");
    const width = () => sql.rows("SELECT count(*) FROM pragma_table_info('tidemark_change_log')");
    const before = await width();
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    const capturing = log.capture([table]);
    capturing.then(over, over);
    const widths = new Set<string>();
    while (!isOver) {
      await nextTurn();
      widths.add(String(await width()));
    }
    await capturing;
    for (const end of [before, await width()]) widths.delete(String(end));
    expect(widths.size).toBeGreaterThan(0);
    await sql.run("INSERT INTO t (id, c399) VALUES (1, 'last')");
    expect(await takeChanges(log.batches)).toHaveLength(1);
  });

  it("refuses virtual tables", async () => {
    const sql = await bench.sql();
    await sql.run("CREATE VIRTUAL TABLE v USING rtree(id, low, high)").catch(() =>
      // Node 22 has no such module: then one that only an application has loaded.
      sql.run(`PRAGMA writable_schema = ON;
        INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING theirs(id)');
        PRAGMA writable_schema = RESET`),
    );
    await refuses(bench.captureTable("v"), "TM-TABLE-UNSUPPORTED");
    expect(await (await bench.catalog()).listTables()).toEqual([]);
  });

  it("refuses a key that an application's own collation puts in order, and says how to mend it", async () => {
    const sql = await bench.sql();
    await sql.run("CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, a TEXT)");
    await sql.rows("PRAGMA wal_checkpoint(TRUNCATE)");
    // Node lets nobody make one.
    const file = readFileSync(path(), "latin1").replace("NOCASE", "THEIRS");
    writeFileSync(path(), file, "latin1");
    const log = await bench.log();
    await expect(log.capture([await bench.captureTable("t")])).rejects.toMatchObject({
      code: "TM-TABLE-UNSUPPORTED",
      fix: expect.stringContaining('"id" COLLATE BINARY'),
      details: { column: "id" },
    });
  });

  it("refuses rows whose key is NULL, which SQLite allows, before and after", async () => {
    const ddl = "CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT); INSERT INTO t VALUES (NULL, 'x')";
    const sql = await bench.sql();
    await sql.run(ddl);
    const log = await bench.log();
    const table = await bench.captureTable("t");
    await refuses(log.capture([table]), "TM-TABLE-NO-KEY");
    await sql.run("DELETE FROM t");
    await log.capture([table]);
    await sql.run("INSERT INTO t VALUES (NULL, 'y')");
    await refuses(takeChanges(log.batches), "TM-VALUE-REFUSED");
  });

  it("reads keys of every class in their order, a few at a time", async () => {
    const { sql, log, layouts } = await capture(
      "CREATE TABLE t (k PRIMARY KEY NOT NULL) WITHOUT ROWID",
    );
    await sql.run(
      "INSERT INTO t VALUES (1), (-5), (2.5), (9223372036854775807), ('a'), (''), ('a' || char(0) || 'b'), (x''), (x'00ff'), (CAST(x'61ff' AS TEXT)), ('1'), (1e300)",
    );
    const replica = new Replica(layouts);
    const classes: string[] = [];
    let after: string | null = null;
    for (let done = false; !done; ) {
      const { changes, chunk }: Copied = await takeChunk(log.batches, {
        table: bench.name("t"),
        after,
        maxRows: 1,
        maxBytes: 1,
      });
      replica.apply(changes);
      classes.push(
        ...chunk.rows.map(([key]) => (isTagged(key ?? null) ? String((key as Tagged)[0]) : "")),
      );
      done = chunk.done;
      after = chunk.cursor;
    }
    expect(classes).toEqual([
      ...["integer", "integer", "real", "integer", "real"],
      ...["text", "text", "text", "text", "text"],
      ...["blob", "blob"],
    ]);
    expect(replica.rows("t")).toHaveLength(12);
  });
});

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

describe("the file", () => {
  it("begins a new timeline in a copy whose original is still there", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    const copy = `${path()}.copy`;
    copyFileSync(path(), copy);
    const options = { ...bench.options, url: `sqlite:${copy}` };
    const catalog = await sqlite.openCatalog(options);
    // Else who asks before the relay has begun takes the copy for the original.
    expect(await catalog.timeline()).toBeNull();
    const source = await sqlite.openSource(options);
    const cloned = await source.openChangeLog();
    expect(cloned?.timeline).not.toBe(log.timeline);
    expect(await catalog.timeline()).toBe(cloned?.timeline);
    await catalog.close();
    expect(await cloned?.batches.last()).toBeNull();
    expect((await cloned?.batches.cut())?.header).toBeNull();
    await cloned?.close();
    await source.close();
  });

  it("keeps its timeline when it is moved", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    const last = await log.batches.last();
    await log.close();
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    await sql.close();
    const moved = `${path()}.moved`;
    renameSync(path(), moved);
    renameSync(`${path()}-tidemark`, `${moved}-tidemark`);
    const source = await sqlite.openSource({ ...bench.options, url: `sqlite:${moved}` });
    const again = await source.openChangeLog();
    expect(again?.timeline).toBe(log.timeline);
    expect(await again?.batches.last()).toEqual(last);
    await again?.close();
    await source.close();
  });

  it("forks the chain of hashes when it goes back in time", async () => {
    const { sql, source, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await log.close();
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    const files = [path(), `${path()}-tidemark`];
    for (const file of files) copyFileSync(file, `${file}.backup`);
    const later = await source.openChangeLog();
    await sql.run("INSERT INTO t VALUES (2, 'b')");
    await later?.batches.cut();
    const published = await later?.batches.last();
    await later?.close();
    await source.close();
    await sql.close();
    for (const tail of ["-wal", "-shm"]) rmSync(path() + tail, { force: true });
    for (const file of files) copyFileSync(`${file}.backup`, file);
    const again = await bench.log();
    const restored = await bench.sql();
    await restored.run("INSERT INTO t VALUES (2, 'b')");
    await takeChanges(again.batches);
    const forked = await again.batches.last();
    expect(forked?.batch).toBe(published?.batch);
    expect(forked?.prevHash).toBe(published?.prevHash);
    expect(forked?.hash).not.toBe(published?.hash);
  });

  it.each([
    ["fewer changes than were sent", 0],
    ["as many", 1],
    ["more", 3],
  ])("is found to have gone back without the records, with %s since", async (_, rows) => {
    const { sql, log, source } = await capture(SIMPLE);
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    copyFileSync(path(), `${path()}.backup`);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await putBack({ sql, log, source });
    const again = await bench.log();
    const restored = await bench.sql();
    for (let id = 1; id <= rows; id++) await restored.run(`INSERT INTO t VALUES (${id}, 'z')`);
    await refuses(again.batches.cut(), "TM-SOURCE-REWOUND");
  });

  it("is found out when its records went back to before the first batch", async () => {
    const { sql, log, source } = await capture(SIMPLE);
    const records = `${path()}-tidemark`;
    await log.close();
    copyFileSync(records, `${records}.backup`);
    const later = await bench.log(source);
    await sql.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    await takeChanges(later.batches);
    await later.batches.purge(1);
    await later.close();
    copyFileSync(`${records}.backup`, records);
    const again = await bench.log(source);
    await refuses(again.batches.cut(), "TM-CAPTURE-BROKEN");
  });

  it("is found to have gone back to before displaced rows were settled", async () => {
    const { sql, log, source } = await capture(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE)",
    );
    await sql.run("INSERT INTO t VALUES (1, 'a'); REPLACE INTO t VALUES (2, 'a')");
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    copyFileSync(path(), `${path()}.backup`);
    expect(await takeChanges(log.batches)).toHaveLength(3);
    await putBack({ sql, log, source });
    const again = await bench.log();
    await refuses(again.batches.cut(), "TM-SOURCE-REWOUND");
  });

  it.each(["gone", "another's"])("is not read when its records are %s", async (which) => {
    const { sql, log, source } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await log.close();
    if (which === "gone") rmSync(`${path()}-tidemark`);
    else {
      const records = new DatabaseSync(`${path()}-tidemark`);
      records.exec("UPDATE tidemark_records SET timeline = 'another'");
      records.close();
    }
    const findings = await source.diagnose([]);
    expect(findings).toContainEqual(expect.objectContaining({ check: "log-lost" }));
    await refuses(source.openChangeLog(), "TM-SOURCE-REWOUND");
  });

  it.each(["no database", "of broken pages"])(
    "names the file of its records, and the way out, when that is %s",
    async (which) => {
      const { log, source } = await capture(SIMPLE);
      await log.close();
      const records = `${path()}-tidemark`;
      const intact = which === "no database" ? 0 : 4096;
      const start = readFileSync(records).subarray(0, intact);
      writeFileSync(records, Buffer.concat([start, Buffer.alloc(16384, "none")]));
      const opened = source.openChangeLog().then((log) => log?.batches.cut());
      await expect(opened).rejects.toMatchObject({
        code: "TM-SERVER-UNSUPPORTED",
        message: expect.stringContaining(records),
        fix: expect.stringContaining("TM-SOURCE-REWOUND"),
      });
    },
  );

  it("is not opened where its records cannot be, before a start has made anything", async () => {
    mkdirSync(`${path()}-tidemark`);
    const opening = bench.source();
    await expect(opening).rejects.toMatchObject({
      code: "TM-CONNECT-FAILED",
      message: expect.stringContaining(`${path()}-tidemark is no file`),
    });
  });

  it.each([240, 247])(
    "is refused when its name is %s bytes long, so that those of its records are too long",
    async (length) => {
      const long = join(dirname(path()), "n".repeat(length));
      const url = `sqlite:${long}`;
      new DatabaseSync(long).close();
      const source = await sqlite.openSource({ ...bench.options, url });
      await expect(source.openChangeLog()).rejects.toMatchObject({
        code: "TM-URL-INVALID",
        message: expect.stringContaining(`${long}-tidemark`),
      });
      await source.close();
    },
  );

  it("lets a transaction write that has read before a batch was cut", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    const application = new DatabaseSync(path());
    application.exec("PRAGMA synchronous = NORMAL; BEGIN; SELECT * FROM t");
    expect(await takeChanges(log.batches)).toHaveLength(1);
    await log.subscribers.set("s", 1);
    application.exec("INSERT INTO t VALUES (2, 'b'); COMMIT");
    application.close();
    expect(await takeChanges(log.batches)).toHaveLength(1);
  });

  it("is noticed when it is replaced while open", async () => {
    const { log } = await capture(SIMPLE);
    renameSync(path(), `${path()}.old`);
    await refuses(log.batches.cut(), "TM-CONNECTION-LOST");
  });

  it("is not opened anew where the log of WAL mode still belongs to the one before", async () => {
    const sql = await bench.sql();
    await sql.rows("PRAGMA journal_mode = WAL");
    const { log, source } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await sql.run(`VACUUM INTO '${path()}.new'`);
    copyFileSync(`${path()}.new`, `${path()}.again`);
    renameSync(`${path()}.new`, path());
    const told = {
      code: "TM-SERVER-UNSUPPORTED",
      message: expect.stringContaining("replaced while open"),
      fix: expect.stringContaining(`rm ${path()}-wal ${path()}-shm`),
    };
    await expect(log.batches.cut()).rejects.toMatchObject(told);
    // Nor does one that waits sleep over it.
    await expect(log.waitForChanges(new AbortController().signal)).rejects.toMatchObject(told);
    await log.close();
    await source.close();
    for (const suffix of ["-wal", "-shm"]) rmSync(path() + suffix);
    renameSync(`${path()}.again`, path());
    const again = await bench.log(await bench.source());
    await again.capture([await bench.captureTable("t")]);
    await (await bench.sql()).run("INSERT INTO t VALUES (2, 'b')");
    expect((await takeChanges(again.batches)).map(describeChange)).toEqual(["insert 2,b"]);
  });

  it("is told as damaged where ours in it cannot be read", async () => {
    const { sql, log, source } = await capture(SIMPLE);
    await log.close();
    await sql.run("UPDATE tidemark_layouts SET definition = 'null'");
    const tables = [await bench.captureTable("t")];
    await expect(source.planCapture(tables)).rejects.toMatchObject({
      code: "TM-SERVER-UNSUPPORTED",
      message: expect.stringContaining(`${path()} is damaged`),
      fix: expect.stringContaining(`sqlite3 ${path()} `),
    });
  });

  it("fences a relay when another has cut a batch after all", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await sql.run("INSERT INTO t VALUES (2, 'b')");
    // Only a relay that does not see our lease comes so far: another machine, another user.
    const other = await unseen();
    const cuts = await Promise.allSettled([log.batches.cut(), other.batches.cut()]);
    expect(cuts.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(cuts).toContainEqual({
      status: "rejected",
      reason: expect.objectContaining({ code: "TM-RELAY-FENCED" }),
    });
    expect((await log.batches.last())?.batch).toBe(2);
  });

  it("has displaced rows settled once, where two relays do so", async () => {
    const { sql, log } = await capture("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE)");
    const other = await unseen();
    await sql.run("INSERT INTO t VALUES (1, 'a'); REPLACE INTO t VALUES (2, 'a')");
    const application = new DatabaseSync(path());
    application.exec("BEGIN IMMEDIATE");
    const cuts = [log, other].map(({ batches }) => batches.cut());
    // Both have looked, and wait to write.
    for (const { batches } of [log, other])
      await expect.poll(() => (batches as SqliteBatches).seen).toBe(3n);
    application.exec("COMMIT");
    application.close();
    const done = (await Promise.allSettled(cuts)).map(({ status }) => status);
    expect(done.sort()).toEqual(["fulfilled", "rejected"]);
    const changes = [];
    for await (const page of log.batches.pages(1)) changes.push(...(page as Change[]));
    expect(changes.map(describeChange)).toEqual(["insert 1,a", "delete from 1", "insert 2,a"]);
  });

  it("keeps the journal mode its owner chose, and works in it", async () => {
    const sql = await bench.sql();
    await sql.run("PRAGMA journal_mode = DELETE");
    const { log, source } = await capture(SIMPLE);
    const writer = await bench.sql();
    for (let i = 0; i < 20; i++) await writer.run(`INSERT INTO t VALUES (${i}, 'x')`);
    expect(await takeChanges(log.batches)).toHaveLength(20);
    expect(await sql.rows("PRAGMA journal_mode")).toEqual([["delete"]]);
    const findings = await source.diagnose([await bench.captureTable("t")]);
    expect(findings).toContainEqual(
      expect.objectContaining({
        check: "journal-mode",
        severity: "warning",
        fix: "PRAGMA journal_mode = WAL",
      }),
    );
  });

  it("is freed by a relay that dies", async () => {
    await capture(SIMPLE).then(({ log }) => log.close());
    const script = `
      const { sqlite } = await import(${JSON.stringify(new URL("../../src/databases/sqlite/index.ts", import.meta.url).href)});
      const { silentLogger } = await import(${JSON.stringify(new URL("../../src/core/log.ts", import.meta.url).href)});
      const source = await sqlite.openSource({ name: "x", url: ${JSON.stringify(bench.bed.url)}, logger: silentLogger });
      console.log((await source.openChangeLog()) === null ? "refused" : "held");
      setInterval(() => {}, 1000);`;
    const child = spawn(
      process.execPath,
      ["--experimental-strip-types", "--input-type=module", "-e", script],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const exited = new Promise((resolve) => child.once("exit", resolve));
    const said = await new Promise((resolve) =>
      child.stdout.once("data", (data) => resolve(String(data).trim())),
    );
    expect(said).toBe("held");
    const source = await bench.source();
    expect(await source.openChangeLog()).toBeNull();
    child.kill("SIGKILL");
    await exited;
    const log = await source.openChangeLog();
    expect(log).not.toBeNull();
    await log?.close();
  });

  /** Root may write whatever it likes. */
  const account = serverAccount();
  it.skipIf(!isReachable(import.meta.dirname, account))(
    "is not opened for reading only, which would leave a -shm that nobody can write",
    async () => {
      const sql = await bench.sql();
      await sql.run("PRAGMA journal_mode = WAL");
      await sql.run(SIMPLE);
      await sql.close();
      if (account !== undefined) {
        for (const each of [dirname(path()), path()]) chownSync(each, account.uid, account.gid);
      }
      chmodSync(path(), 0o444);
      const adapter = new URL("../../src/databases/sqlite/index.ts", import.meta.url).href;
      const script = `
        const { sqlite } = await import(${JSON.stringify(adapter)});
        const opening = sqlite.openSource({ name: "x", url: ${JSON.stringify(bench.bed.url)}, logger: null });
        console.log(await opening.then(() => "opened", ({ code }) => code));`;
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["--experimental-strip-types", "--input-type=module", "-e", script],
        { ...account, cwd: dirname(path()) },
      );
      expect(stdout.trim()).toBe("TM-READ-ONLY");
      expect(existsSync(`${path()}-shm`)).toBe(false);
    },
  );

  it("is named when it is missing, is a folder, or is no database", async () => {
    const open = (url: string) => sqlite.openSource({ name: "x", url, logger: silentLogger });
    await refuses(open("sqlite:/nowhere/at/all.db"), "TM-CONNECT-FAILED");
    await refuses(open("sqlite:/tmp"), "TM-CONNECT-FAILED", "TM-SERVER-UNSUPPORTED");
    await refuses(open(`sqlite:${process.execPath}`), "TM-SERVER-UNSUPPORTED");
    await refuses(open("sqlite::memory:"), "TM-URL-INVALID");
    await refuses(open(`${bench.bed.url}?mode=rw&cache=shared`), "TM-URL-INVALID");
    await refuses(open(`${bench.bed.url}?mode=ro&mode=rw`), "TM-URL-INVALID");
  });
});

describe("a statement that ends half way", () => {
  const FAILS = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, u INTEGER UNIQUE)";

  it.each([
    ["INSERT OR FAIL", "INSERT OR FAIL INTO t VALUES (3, 'kept', 3), (4, 'fails', 1)"],
    ["UPDATE OR FAIL", "UPDATE OR FAIL t SET u = 7 WHERE id IN (1, 2)"],
    [
      "RAISE(FAIL)",
      "CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.id > 3 BEGIN SELECT RAISE(FAIL, 'no'); END; INSERT INTO t VALUES (3, 'kept', 3), (4, 'fails', 4)",
    ],
  ])("leaves what it has done, and nothing after it is missed: %s", async (_, failing) => {
    const { sql, log, layouts } = await capture(FAILS);
    const replica = new Replica(layouts);
    const arrive = async () => {
      replica.apply(await takeChanges(log.batches));
      expect(replica.rows("t")).toEqual(sorted(await sql.rows("SELECT * FROM t")));
      await log.batches.purge((await log.batches.last())?.batch ?? 0);
    };
    await sql.run("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)");
    await arrive();
    await expect(sql.run(failing)).rejects.toThrow();
    await arrive();
    await sql.run(
      "DROP TRIGGER IF EXISTS no; INSERT INTO t SELECT id + 10, 'later', u + 10 FROM t",
    );
    await arrive();
  });

  it("is the first of all", async () => {
    const { sql, log } = await capture(FAILS);
    await expect(
      sql.run("INSERT OR FAIL INTO t VALUES (1, 'kept', 1), (2, 'fails', 1)"),
    ).rejects.toThrow();
    expect((await takeChanges(log.batches)).map(describeChange)).toEqual(["insert 1,kept,1"]);
    await log.batches.purge(1);
    await sql.run("INSERT INTO t VALUES (5, 'five', 5), (6, 'six', 6), (7, 'seven', 7)");
    expect((await takeChanges(log.batches)).length).toBe(3);
  });
});

describe("waiting", () => {
  it("costs next to nothing while nothing happens", async () => {
    const { log } = await capture(SIMPLE);
    await log.waitForChanges(AbortSignal.timeout(1_500));
    const waiting: number[] = [];
    const timers: number[] = [];
    for (let window = 0; window < 4; window++) {
      waiting.push(await cpuOf(() => log.waitForChanges(AbortSignal.timeout(1_000))));
      timers.push(
        await cpuOf(async () => {
          const until = performance.now() + 1_000;
          while (performance.now() < until) await pause(1_000 / TIMERS_A_SECOND);
        }),
      );
    }
    // Against bare timers, as what a wake-up costs is up to the machine. The quietest windows: the
    // test process has other things to do now and then, what waits has its own to do in each.
    expect(Math.min(...waiting)).toBeLessThan(Math.min(...timers));
  });
});

/** Far fewer than the looks of a log that is busy, more than what a quiet one may cost. */
const TIMERS_A_SECOND = 100;

/** Microseconds of processor time that this process uses while `work` lasts. */
async function cpuOf(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}
