// What only SQLite captures: tables without rowid, keys of any class and those that may be NULL; what waiting for it costs (G1, G8).
import { readFileSync, writeFileSync } from "node:fs";
import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { isTagged, type Tagged } from "../../src/core/value.ts";
import { refuses } from "../../src/testing/database-bed.ts";
import {
  type Copied,
  describeChange,
  Replica,
  sorted,
  takeChanges,
  takeChunk,
} from "../../src/testing/replica.ts";
import { bench, capture, path, SIMPLE } from "./support.ts";

describe("a log that a table of many columns is captured in", () => {
  const wide = (columns: number) =>
    `CREATE TABLE t (id INTEGER PRIMARY KEY, ${Array.from({ length: columns }, (_, i) => `v${i}`).join(", ")})`;

  it("is made so wide by one change of the schema where nothing was logged yet", async () => {
    const sql = await bench.sql();
    await sql.run("CREATE TABLE first (id INTEGER PRIMARY KEY)");
    await sql.run(wide(300));
    const log = await bench.log(await bench.source());
    const version = async () => Number((await sql.rows("PRAGMA schema_version"))[0]?.[0]);
    const before = await version();
    await log.capture([await bench.captureTable("first"), await bench.captureTable("t")]);
    // The changes of one transaction are counted one by one.
    expect((await version()) - before).toBeLessThan(50);
    await sql.run("INSERT INTO t (id, v299) VALUES (1, 'last')");
    const [change] = (await takeChanges(log.batches)).map(describeChange);
    expect(change).toMatch(/^insert 1,.*last$/);
  });

  it("keeps what was logged when it is made wider", async () => {
    const { sql, log } = await capture("CREATE TABLE first (id INTEGER PRIMARY KEY)", "first");
    await sql.run("INSERT INTO first VALUES (1)");
    await sql.run(wide(20));
    await log.capture([await bench.captureTable("first"), await bench.captureTable("t")]);
    await sql.run("INSERT INTO t (id, v19) VALUES (2, 'last')");
    const changes = (await takeChanges(log.batches)).map(describeChange);
    expect(changes).toEqual(["insert 1", expect.stringMatching(/^insert 2,.*last$/)]);
  });
});

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

  it("lets others write while a log that was used is made wide enough for a table", async () => {
    const { sql, log } = await capture("CREATE TABLE first (id INTEGER PRIMARY KEY)", "first");
    await sql.run("INSERT INTO first VALUES (1)");
    expect(await takeChanges(log.batches)).toHaveLength(1);
    const columns = Array.from({ length: 400 }, (_, i) => `c${i}`).join(", ");
    await sql.run(`CREATE TABLE t (id INTEGER PRIMARY KEY, ${columns})`);
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
