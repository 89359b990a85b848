import { afterEach, describe, expect, it } from "vitest";
import { sleep } from "../../src/core/async.ts";
import { batchHash, timelineHash } from "../../src/core/hash.ts";
import type { ChangeLog, Source } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { type Copied, takeChunk } from "../../src/testing/replica.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, changesOf, connect, line, optionsOf, SERVERS } from "./support.ts";

describe.each(SERVERS)("%s as source", (kind) => {
  describe.skipIf(!available(kind))("a captured table", () => {
    const open: { close(): Promise<unknown> }[] = [];
    afterEach(async () => {
      for (const each of open.splice(0).reverse()) await each.close();
    });

    async function start(ddl: string, tables: readonly string[]) {
      const database = await freshDatabase(kind);
      const application = await connect(database.url);
      open.push({ close: async () => database[Symbol.asyncDispose]() });
      open.push({ close: () => application.end() });
      await application.query(ddl);
      const source: Source = await postgres.openSource(optionsOf(database.url));
      const log = (await source.openChangeLog()) as ChangeLog;
      open.push(source, log);
      const layouts = await log.capture(await captureTables(database.url, tables));
      return { database, application, source, log, layouts };
    }

    const lines = async (log: ChangeLog) => (await changesOf(await log.batches.cut())).map(line);

    it("gives inserts, updates, deletes and a truncate in order, as one batch", async () => {
      const { application, log } = await start(
        "CREATE TABLE t (id int PRIMARY KEY, name text, data bytea)",
        ["t"],
      );
      await application.query(`INSERT INTO t VALUES (1, 'a,"b"\\', '\\x00ff'), (2, NULL, NULL)`);
      await application.query("UPDATE t SET name = '' WHERE id = 2");
      await application.query("DELETE FROM t WHERE id = 1");
      await application.query("TRUNCATE t");
      expect(await lines(log)).toEqual([
        'insert 1,a,"b"\\,00ff',
        "insert 2,null,null",
        "update 2,,null",
        "delete 1",
        "truncate",
      ]);
      expect((await log.batches.cut()).header).toBeNull();
    });

    it("chains batches by hash and gives them again", async () => {
      const { application, log } = await start("CREATE TABLE t (id int PRIMARY KEY)", ["t"]);
      const headers = [];
      for (const id of [1, 2, 3]) {
        await application.query("INSERT INTO t VALUES ($1)", [id]);
        const cut = await log.batches.cut();
        expect((await changesOf(cut)).map(line)).toEqual([`insert ${id}`]);
        headers.push(cut.header);
      }
      expect(headers.map((header) => header?.batch)).toEqual([1, 2, 3]);
      expect(headers[0]?.prevHash).toBe(timelineHash(log.timeline));
      expect(headers[2]?.prevHash).toBe(headers[1]?.hash);
      const { rows } = await application.query(
        "SELECT snapshot::text AS s FROM tidemark.batches WHERE n = 2",
      );
      expect(headers[1]?.hash).toBe(batchHash(headers[0]?.hash ?? "", 2, rows[0].s));
      expect(await log.batches.last()).toEqual(headers[2]);
      expect((await changesOf({ pages: log.batches.pages(2) })).map(line)).toEqual(["insert 2"]);
    });

    it("logs all old keys of a statement before its rows", async () => {
      const { application, log } = await start(
        "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (2,'b'),(1,'a')",
        ["t"],
      );
      // In the order of the heap: each key is free when it is taken.
      await application.query("UPDATE t SET id = id + 1");
      expect(await lines(log)).toEqual(["update 2", "update 1", "update 3,b", "update 2,a"]);
    });

    it("swaps keys in one statement without losing a row", async () => {
      const { application, log } = await start(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, name text); INSERT INTO t VALUES (1,'a'),(2,'b')",
        ["t"],
      );
      await application.query("UPDATE t SET id = 3 - id");
      // Both keys are there after it: no row is gone, and each stands as it is now.
      const said = new Set(await lines(log));
      expect([...said].sort()).toEqual(["update 1,b", "update 2,a"]);
    });

    it("leaves out what was rolled back, savepoints too, and keeps transactions whole", async () => {
      const { application, log } = await start("CREATE TABLE t (id int PRIMARY KEY)", ["t"]);
      await application.query(
        "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s; INSERT INTO t VALUES (3)",
      );
      expect((await log.batches.cut()).header).toBeNull();
      await application.query("COMMIT; BEGIN; INSERT INTO t VALUES (9); ROLLBACK");
      const changes = await changesOf(await log.batches.cut());
      expect(changes.map(line)).toEqual(["insert 1", "insert 3"]);
      expect(new Set(changes.map((change) => change.transaction)).size).toBe(1);
    });

    it("logs a trigger's nested write after the write that fired it", async () => {
      const { application, log } = await start(
        `CREATE TABLE t (id int PRIMARY KEY, n int, other int);
         CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           IF pg_trigger_depth() = 1 THEN UPDATE t SET n = n + 100 WHERE id = NEW.other; END IF;
           RETURN NULL;
         END $$;
         CREATE TRIGGER a_first AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION bump();
         INSERT INTO t VALUES (1, 0, 2), (2, 0, NULL)`,
        ["t"],
      );
      await application.query("UPDATE t SET n = n + 1");
      const last = new Map(
        (await changesOf(await log.batches.cut())).map((c) => [c.row?.[0], c.row?.[1]]),
      );
      const { rows } = await application.query("SELECT id::text, n::text FROM t ORDER BY id");
      expect([...last].sort()).toEqual(rows.map((row) => [row.id, row.n]));
    });

    it("sees writes to partitions, whatever the order of their columns", async () => {
      const { application, log } = await start(
        `CREATE TABLE p (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p2 (v text, id int NOT NULL);
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)`,
        ["p"],
      );
      await application.query("INSERT INTO p2 VALUES ('x', 11)");
      await application.query("INSERT INTO p VALUES (1, 'y')");
      await application.query("UPDATE p SET id = 12 WHERE id = 1");
      expect(await lines(log)).toEqual(["insert 11,x", "insert 1,y", "delete 1", "insert 12,y"]);
    });

    it("sees the TRUNCATE of one partition, and of all as one", async () => {
      const { application, log, database } = await start(
        `CREATE TABLE p (v text, "id %s" int, PRIMARY KEY ("id %s")) PARTITION BY RANGE ("id %s");
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p2 ("id %s" int NOT NULL, v text);
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20);
         INSERT INTO p VALUES ('a', 1), ('b', 2), ('c', 11), ('d', 12)`,
        ["p"],
      );
      await application.query("BEGIN; TRUNCATE p1; ROLLBACK; TRUNCATE p2");
      expect(await lines(log)).toEqual(["truncate 11", "truncate 12"]);
      await application.query(
        "BEGIN; TRUNCATE p; INSERT INTO p VALUES ('e', 3); TRUNCATE p1; COMMIT",
      );
      expect(await lines(log)).toEqual(["truncate", "insert e,3", "truncate 3"]);
      // One made later is covered at the next check, or at the next start.
      await application.query(
        "CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30); INSERT INTO p VALUES ('f', 21)",
      );
      await log.capture(await captureTables(database.url, ["p"]));
      await application.query("TRUNCATE p3");
      expect(await lines(log)).toEqual(["insert f,21", "truncate 21"]);
    });

    it("tells when the TRUNCATE of a partition may have taken more than its transaction sees", async () => {
      const { database, application, log } = await start(
        `CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (1)`,
        ["p"],
      );
      const snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ;";
      // What stands empty holds nothing unseen, and of the whole table nobody need know the rows.
      await application.query(`${snapshot} TRUNCATE p; TRUNCATE p1; COMMIT`);
      expect(await lines(log)).toEqual(["truncate"]);
      await application.query("INSERT INTO p VALUES (2)");
      await application.query(`${snapshot} TRUNCATE p1; COMMIT`);
      const broken = {
        code: "TM-CAPTURE-BROKEN",
        message: expect.stringContaining("partition of public.p was truncated by a transaction"),
        fix: expect.stringContaining("tidemark resync public.p"),
      };
      await expect(lines(log)).rejects.toMatchObject(broken);
      // Nor is it answered for by who answers for partitions that came and went, and alters the table.
      await application.query(
        "UPDATE tidemark.layouts SET partitions = NULL; ALTER TABLE p ADD COLUMN more int",
      );
      const tables = await captureTables(database.url, ["p"]);
      await log.capture(tables);
      const readAgain = () => changesOf({ pages: log.batches.pages(2) });
      await expect(readAgain()).rejects.toMatchObject(broken);
      await log.forget([{ schema: "public", name: "p" }]);
      await log.capture(tables);
      expect(await readAgain()).toHaveLength(3);
    });

    it("refuses a table together with a part of it", async () => {
      const ddl = `CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)`;
      await expect(start(ddl, ["p", "p1"])).rejects.toMatchObject({
        code: "TM-TABLE-UNSUPPORTED",
        details: { table: "public.p1" },
      });
    });

    it("stops when a trigger comes later that needs another shape", async () => {
      const { application, log, database } = await start(
        "CREATE TABLE t (id int PRIMARY KEY, n int)",
        ["t"],
      );
      await application.query(
        `CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           UPDATE t SET n = coalesce(n, 0) + 1 WHERE id = NEW.id AND pg_trigger_depth() = 1; RETURN NULL; END $$;
         CREATE TRIGGER bump AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION bump();
         INSERT INTO t VALUES (1)`,
      );
      await expect(log.batches.cut()).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
      const tables = await captureTables(database.url, ["t"]);
      await expect(log.capture(tables)).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
    });

    it("follows the rows a foreign key's action changes", async () => {
      const { application, log } = await start(
        `CREATE TABLE a (id int PRIMARY KEY, boss int REFERENCES a ON DELETE CASCADE);
         CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE SET NULL);
         INSERT INTO a VALUES (1, NULL), (2, 1); INSERT INTO b VALUES (5, 2)`,
        ["a", "b"],
      );
      await application.query("DELETE FROM a WHERE id = 1");
      expect((await lines(log)).sort()).toEqual(["delete 1", "delete 2", "update 5,null"]);
    });

    it("logs only the columns asked for, and whether the row meets each condition", async () => {
      const { application, log, database } = await start(
        "CREATE TABLE t (id int PRIMARY KEY, status text, card text)",
        [],
      );
      await log.capture(
        await captureTables(database.url, ["t"], {
          columns: ["id", "status"],
          filters: ["status <> 'draft'", "id > 1"],
        }),
      );
      await application.query(
        "INSERT INTO t VALUES (1, 'draft', '4111'), (2, 'open', '4222'), (3, NULL, '')",
      );
      await application.query("ALTER TABLE t DROP COLUMN card");
      await application.query("UPDATE t SET status = 'open' WHERE id = 1");
      const changes = await changesOf(await log.batches.cut());
      expect(changes.map((change) => [line(change), change.filters])).toEqual([
        ["insert 1,draft", [false, false]],
        ["insert 2,open", [true, true]],
        ["insert 3,null", [false, true]],
        ["update 1,open", [true, false]],
      ]);
      const { rows } = await application.query(
        "SELECT string_agg(row, '') AS log FROM tidemark.change_log_0",
      );
      expect(rows[0].log).not.toMatch(/4111|4222/);
    });

    it("logs the same text whatever the settings of the application's session", async () => {
      const { application, log } = await start(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, d date, i interval, f float8, b bytea, r daterange[])",
        ["t"],
      );
      await application.query(
        `SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'postgres_verbose';
         SET extra_float_digits = -5; SET bytea_output = 'escape'; SET search_path = ''`,
      );
      await application.query(
        `INSERT INTO public.t VALUES (1, '2026-02-01 09:00+09', '2026-02-01'::date, '1 day 2 hours', 0.1::float8 + 0.2,
         '\\xdeadbeef', ARRAY[daterange('2026-01-01'::date, '2026-01-02'::date)])`,
      );
      expect(await lines(log)).toEqual([
        'insert 1,2026-02-01 00:00:00+00,2026-02-01,P1DT2H,0.30000000000000004,deadbeef,{"[2026-01-01,2026-01-02)"}',
      ]);
    });

    it("copies a table in key order beside the changes, and resumes at its cursor", async () => {
      const { application, log } = await start(
        "CREATE TABLE t (a text, b int, v text, PRIMARY KEY (a, b)); INSERT INTO t SELECT 'k' || i % 7, i, 'v' || i FROM generate_series(1, 1000) i",
        ["t"],
      );
      const seen: string[] = [];
      let cursor: string | null = null;
      for (let n = 0; ; n++) {
        await application.query("UPDATE t SET v = 'new' WHERE b = $1", [n + 1]);
        const { changes, chunk }: Copied = await takeChunk(log.batches, {
          table: { schema: "public", name: "t" },
          after: cursor,
          maxRows: 300,
          maxBytes: 4_000,
        });
        expect(changes.length).toBe(n === 1 ? 2 : 1);
        seen.push(...chunk.rows.map((row) => String(row[1])));
        if (n === 0) await application.query("INSERT INTO t VALUES ('zz', 5000, '')");
        cursor = chunk.cursor;
        if (chunk.done) break;
      }
      expect(new Set(seen).size).toBe(1000);
      expect(seen.length).toBe(1000);
      // The row inserted after the copy began lies above its upper key: it comes as a change.
      expect(seen).not.toContain("5000");
    });

    it("gives no chunk of a table whose key was collated otherwise behind the cut", async () => {
      // With a trigger of the application none of ours names the key, and the server lets it be altered.
      const { application, log } = await start(
        `CREATE TABLE t (k text COLLATE "und-x-icu" PRIMARY KEY); INSERT INTO t VALUES ('a'), ('B'), ('c');
         CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER keep AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION keep()`,
        ["t"],
      );
      const table = { schema: "public", name: "t" };
      const request = { table, after: null, maxRows: 1, maxBytes: 4_000 };
      const { chunk }: Copied = await takeChunk(log.batches, request);
      expect(chunk.rows).toEqual([["a"]]);
      await application.query(`BEGIN; ALTER TABLE t ALTER COLUMN k TYPE text COLLATE "C"`);
      const cutting = log.batches.cut([{ ...request, after: chunk.cursor, maxRows: 10 }]);
      const waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 't'::regclass";
      while ((await application.query(waiting)).rowCount === 0) await sleep(20);
      await application.query("COMMIT");
      expect((await cutting).chunks).toEqual([]);
      const again = await takeChunk(log.batches, { ...request, after: chunk.cursor, maxRows: 10 });
      expect([again.chunk.rows, again.chunk.done]).toEqual([[["B"], ["a"], ["c"]], true]);
    });

    it("stops when the table's columns change, and when a trigger is off", async () => {
      const { application, log } = await start("CREATE TABLE t (id int PRIMARY KEY)", ["t"]);
      await application.query("ALTER TABLE t DISABLE TRIGGER tidemark_insert");
      await expect(cutUntilRefused(log)).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
      await application.query(
        "ALTER TABLE t ENABLE TRIGGER tidemark_insert; ALTER TABLE t ADD COLUMN more int",
      );
      await expect(cutUntilRefused(log)).rejects.toMatchObject({ code: "TM-SCHEMA-DRIFT" });
    });

    it("has one relay at a time, and a second one takes over where the first stopped", async () => {
      const { application, log, source, database } = await start(
        "CREATE TABLE t (id int PRIMARY KEY)",
        ["t"],
      );
      expect(await source.openChangeLog()).toBeNull();
      await application.query("INSERT INTO t VALUES (1)");
      const first = await log.batches.cut();
      await log.close();
      const second = (await source.openChangeLog()) as ChangeLog;
      open.push(second);
      expect(second.timeline).toBe(log.timeline);
      expect(await second.batches.last()).toEqual(first.header);
      await second.capture(await captureTables(database.url, ["t"]));
      await application.query("INSERT INTO t VALUES (2)");
      expect(await lines(second)).toEqual(["insert 2"]);
    });

    it("leaves no trace after uninstall, and the application goes on", async () => {
      const { application, log, database } = await start("CREATE TABLE t (id int PRIMARY KEY)", [
        "t",
      ]);
      await log.close();
      const catalog = await postgres.openCatalog(optionsOf(database.url));
      open.push(catalog);
      expect(await catalog.listTables()).toEqual([{ schema: "public", name: "t" }]);
      await catalog.uninstall();
      expect(await catalog.planUninstall()).toEqual([]);
      await application.query("INSERT INTO t VALUES (1)");
    });

    it("plans what it runs, and nothing once it stands", async () => {
      const { application, source, database } = await start(
        "CREATE TABLE t (id int PRIMARY KEY)",
        [],
      );
      await application.query("CREATE TABLE u (id int PRIMARY KEY)");
      const tables = await captureTables(database.url, ["t", "u"]);
      const plan = await source.planCapture(tables);
      expect(plan.statements.filter((statement) => /CREATE TRIGGER/.test(statement)).length).toBe(
        10,
      );
      expect(plan.notes[0]).toMatch(/statement triggers/);
    });
  });
});

/** The check runs once a second, less often where it takes long: a cut soon after the DDL may still pass. */
async function cutUntilRefused(log: ChangeLog): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) await changesOf(await log.batches.cut());
}
