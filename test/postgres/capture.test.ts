// What the trigger functions stand up to: a hostile search_path, and capture set up by a version before.
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, changesOf, connect, line, optionsOf, SERVERS } from "./support.ts";

/** What of DDL makes each shape of capture. */
const SHAPES = [
  ["statement triggers", ""],
  ["a row trigger", "CREATE TABLE part () INHERITS (t)"],
  [
    "a row trigger that reads the row as it stands",
    `CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER own AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION own()`,
  ],
] as const;

describe.each(SERVERS)("capture on %s", (kind) => {
  describe.skipIf(!available(kind))("of a table of plain types", () => {
    const open: { close(): Promise<unknown> }[] = [];
    afterEach(async () => {
      for (const each of open.splice(0).reverse()) await each.close();
    });

    async function start(more = "") {
      const database = await freshDatabase(kind);
      const owner = await connect(database.url);
      open.push({ close: async () => database[Symbol.asyncDispose]() });
      open.push({ close: () => owner.end() });
      await owner.query(`CREATE TABLE t (id int PRIMARY KEY, name text, d date); ${more}`);
      const source = await postgres.openSource(optionsOf(database.url));
      const log = (await source.openChangeLog()) as ChangeLog;
      open.push(source, log);
      const tables = await captureTables(database.url, ["t"]);
      await log.capture(tables);
      return { database, owner, log, tables };
    }

    const lines = async (log: ChangeLog) => (await changesOf(await log.batches.cut())).map(line);

    it("runs nothing that the writer's search_path offers", async () => {
      const { database, owner, log } = await start();
      const role = `writer_${Date.now()}_${process.pid}`;
      await owner.query(`CREATE ROLE ${role}; GRANT ALL ON t TO ${role}`);
      open.push({
        close: () => owner.query(`RESET ROLE; DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`),
      });
      await owner.query(
        `CREATE SCHEMA evil AUTHORIZATION ${role};
         GRANT TEMPORARY ON DATABASE ${database.url.split("/").at(-1)} TO ${role}`,
      );
      await owner.query(`SET ROLE ${role}`);
      const hijack = (signature: string, returns: string) =>
        `CREATE FUNCTION evil.${signature} RETURNS ${returns} LANGUAGE plpgsql
         AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;`;
      await owner.query(
        `${hijack("pg_sequence_last_value(regclass)", "bigint")}
         ${hijack("pg_try_advisory_xact_lock_shared(int, int)", "boolean")}
         ${hijack("pg_notify(text, text)", "void")}
         ${hijack("nextval(regclass)", "bigint")}
         ${hijack("clock_timestamp()", "timestamptz")}
         ${hijack("equals(bigint, int)", "boolean")}
         CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = int, FUNCTION = evil.equals);
         ${hijack("check_text(pg_catalog.text)", "boolean")}
         CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (evil.check_text(VALUE));
         CREATE TEMPORARY TABLE tidemark_new (id int);
         CREATE TEMPORARY TABLE tidemark_old (id int);
         SET search_path TO pg_temp, evil, pg_catalog`,
      );
      await owner.query("INSERT INTO public.t VALUES (1, 'a', '2026-02-01')");
      await owner.query("UPDATE public.t SET name = 'b'");
      await owner.query("UPDATE public.t SET id = 2");
      await owner.query("DELETE FROM public.t");
      await owner.query("TRUNCATE public.t");
      expect(await lines(log)).toEqual([
        "insert 1,a,2026-02-01",
        "update 1,b,2026-02-01",
        "update 1",
        "update 2,b,2026-02-01",
        "delete 2",
        "truncate",
      ]);
    });

    it.each(SHAPES)("does not print a row by a cast of its owner's: %s", async (_, more) => {
      const { owner, log } = await start(more);
      await owner.query(
        `CREATE FUNCTION steal(t) RETURNS text LANGUAGE sql AS $$ SELECT '(7,stolen,)' $$;
         CREATE CAST (t AS text) WITH FUNCTION steal(t);
         INSERT INTO t VALUES (1, 'a', NULL); UPDATE t SET name = 'b'`,
      );
      expect(await lines(log)).toEqual(["insert 1,a,null", "update 1,b,null"]);
    });

    it.each(SHAPES)("goes on when a column is dropped: %s", async (_, more) => {
      const { owner } = await start(more);
      await owner.query("INSERT INTO t VALUES (1, 'a', NULL)");
      await owner.query("ALTER TABLE t DROP COLUMN name");
      // In the same session: what its functions have planned must not name the column.
      await owner.query("INSERT INTO t VALUES (2, NULL)");
      const { rows } = await owner.query("SELECT row FROM tidemark.change_log_0 ORDER BY id");
      expect(rows.map(({ row }) => row)).toEqual(["(1,a,)", "(2,)"]);
    });

    it("follows a session that changes its search_path between writes", async () => {
      const { owner, log } = await start();
      for (const path of ["public", "pg_temp, pg_catalog", "''", "public"]) {
        await owner.query(
          `SET search_path TO ${path}; INSERT INTO public.t SELECT count(*) FROM public.t`,
        );
      }
      expect(await lines(log)).toEqual([0, 1, 2, 3].map((id) => `insert ${id},null,null`));
    });

    it("replaces triggers that run a function of a version before, and misses nothing", async () => {
      const { database, owner, log, tables } = await start();
      // One function for all, under another name: what stood before there was one for each event.
      const { rows } = await owner.query("SELECT 't'::regclass::oid::text AS oid");
      const oid = rows[0].oid as string;
      for (const event of ["insert", "update"]) {
        await owner.query(
          `ALTER FUNCTION tidemark.capture_${event}_${oid}() RENAME TO before_${event}`,
        );
      }
      const writer = await connect(database.url);
      open.push({ close: () => writer.end() });
      let written = 0;
      let stop = false;
      const writing = (async () => {
        while (!stop) {
          await writer.query("INSERT INTO t VALUES ($1, 'x', NULL)", [written++]);
          await writer.query("UPDATE t SET name = 'y' WHERE id = $1", [written - 1]);
        }
      })();
      await expect.poll(() => written, { interval: 1 }).toBeGreaterThan(20);
      await log.capture(tables);
      const then = written;
      await expect.poll(() => written, { interval: 1 }).toBeGreaterThan(then + 20);
      stop = true;
      await writing;
      const expected = Array.from({ length: written }, (_, id) => [
        `insert ${id},x,null`,
        `update ${id},y,null`,
      ]);
      expect(await lines(log)).toEqual(expected.flat());
      const runs = await owner.query(
        `SELECT p.proname FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
         WHERE g.tgrelid = 't'::regclass AND NOT g.tgisinternal ORDER BY 1`,
      );
      expect(runs.rows.map((row) => row.proname)).toEqual(
        ["delete", "insert", "key", "truncate", "update"].map((event) => `capture_${event}_${oid}`),
      );
    });
  });
});
