// What the trigger functions stand up to: a hostile search_path, and capture set up by a version before.
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { planCapture } from "../../src/databases/postgres/capture-plan.ts";
import { PostgresChangeLog } from "../../src/databases/postgres/change-log.ts";
import { Connection } from "../../src/databases/postgres/connection.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { captureTables, changesOf, connect, line, optionsOf, SERVERS, SHAPES } from "./support.ts";

/** What of DDL makes each shape of capture. */

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

    /** The rows that changes told as lines leave, by their first value. */
    const left = (changes: readonly string[]) => {
      const standing = new Map<string, string>();
      for (const change of changes) {
        const [, row = "", id = ""] = change.match(/^\w+ ((\d+).*)$/) ?? [];
        if (row === id) standing.delete(id);
        else standing.set(id, row.replace(/,null$/, ""));
      }
      return [...standing.values()].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
    };

    const lines = async (log: ChangeLog) => (await changesOf(await log.batches.cut())).map(line);

    it("costs few ways to the server, however many tables there are", async () => {
      const names = Array.from({ length: 40 }, (_, i) => `many_${i}`);
      const ddl = names.map((name) => `CREATE TABLE ${name} (id int PRIMARY KEY, name text)`);
      const { database, log: first } = await start(ddl.join("; "));
      // It has the lease.
      await first.close();
      const proxy = await TcpProxy.start(database.url);
      open.push({ close: () => proxy[Symbol.asyncDispose]() });
      const source = await postgres.openSource(optionsOf(proxy.through(database.url)));
      const log = (await source.openChangeLog()) as ChangeLog;
      open.push(source, log);
      const tables = await captureTables(database.url, ["t", ...names]);
      // Else each piece of a long message is a turn of its own, answered before the next one comes.
      proxy.slow(3);
      const before = proxy.turns;
      const layouts = await log.capture(tables);
      expect(layouts.length).toBe(tables.length);
      expect(proxy.turns - before).toBeLessThan(2 * names.length);

      // And where all stands.
      const idle = proxy.turns;
      expect((await source.planCapture(tables)).statements).toEqual([]);
      expect(proxy.turns - idle).toBeLessThan(12);
    });

    it("waits for a table in use, with those beside it captured and no writer behind it held up", async () => {
      const { database, owner, log, tables } = await start(
        "CREATE TABLE busy (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)",
      );
      const other = await connect(database.url);
      open.push({ close: () => other.end() });
      await other.query("BEGIN; INSERT INTO busy VALUES (1)");
      const more = await captureTables(database.url, ["busy", "u"]);
      const captured = log.capture([...tables, ...more]);
      const triggers = async (table: string) =>
        (await owner.query("SELECT FROM pg_trigger WHERE tgrelid = $1::regclass", [table]))
          .rowCount;
      await expect.poll(() => triggers("u"), { timeout: 30_000 }).toBeGreaterThan(0);
      expect(await triggers("busy")).toBe(0);
      await owner.query("INSERT INTO busy VALUES (2)");
      await other.query("COMMIT");
      await captured;
      await owner.query("INSERT INTO busy VALUES (3); INSERT INTO u VALUES (1)");
      expect(await lines(log)).toHaveLength(2);
    });

    it("is not taken for broken by who looks just while another process installs it", async () => {
      const { database, owner, log } = await start("CREATE TABLE u (id int PRIMARY KEY)");
      const tables = await captureTables(database.url, ["u"]);
      const connection = await Connection.open(optionsOf(database.url), "source");
      open.push(connection);
      // Triggers are looked at before layouts: in between the other one installs both.
      let installed = false;
      const rows = connection.rows.bind(connection);
      connection.rows = async (text, ...rest) => {
        if (/FROM tidemark\.layouts/.test(text) && !installed) {
          installed = true;
          await log.capture(tables);
        }
        return rows(text, ...rest);
      };
      const plan = await planCapture(connection, tables);
      expect(installed).toBe(true);
      expect(plan.statements.join("\n")).toContain('ON "public"."u"');
      expect((await planCapture(connection, tables)).statements).toEqual([]);
      await owner.query("INSERT INTO u VALUES (1)");
      expect(await lines(log)).toEqual(["insert 1"]);
    });

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

    it.each([
      ["ALTER TABLE t RENAME COLUMN name TO title", "name (text) was dropped or renamed"],
      ["ALTER TABLE t ALTER COLUMN name TYPE varchar(9)", "name was text, is character varying(9)"],
      ["ALTER TABLE t ADD COLUMN more int", "more (integer) was added"],
      ["ALTER TABLE t RENAME COLUMN id TO code", "id (integer) was dropped or renamed"],
    ])(
      "captures for a relay that knows it from before, and tells what is another: %s",
      async (alter, what) => {
        const { owner, log, tables } = await start();
        await owner.query(alter);
        await expect(log.capture(tables)).rejects.toMatchObject({
          code: "TM-SCHEMA-DRIFT",
          message: expect.stringContaining(what),
        });
        await owner.query("INSERT INTO t VALUES (1, 'a', NULL)");
      },
    );

    it("reads what waits of a table that was altered and then forgotten by its keys alone", async () => {
      const { database, owner, log } = await start();
      await owner.query("INSERT INTO t VALUES (1, 'a', NULL)");
      await owner.query("ALTER TABLE t ADD COLUMN more int");
      await owner.query("INSERT INTO t VALUES (2, 'b', NULL, 2)");
      await owner.query("DELETE FROM t WHERE id = 1");
      await log.forget([{ schema: "public", name: "t" }]);
      await log.capture(await captureTables(database.url, ["t"]));
      expect(await lines(log)).toEqual(["insert", "insert", "delete 1"]);
    });

    it("tells what was altered where the functions are another role's to replace", async () => {
      const { database, owner, log, tables } = await start();
      await log.close();
      const role = `relay_${Date.now()}_${process.pid}`;
      const ours = "IN SCHEMA tidemark TO";
      await owner.query(
        `CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT ALL ON t TO ${role};
         GRANT CREATE ON DATABASE ${database.url.split("/").at(-1)} TO ${role};
         GRANT ALL ON SCHEMA tidemark TO ${role}; GRANT ALL ON ALL TABLES ${ours} ${role};
         GRANT ALL ON ALL SEQUENCES ${ours} ${role}; GRANT ALL ON ALL FUNCTIONS ${ours} ${role}`,
      );
      open.push({ close: () => owner.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`) });
      const url = Object.assign(new URL(database.url), { username: role, password: "x" });
      const source = await postgres.openSource(optionsOf(url.href));
      const other = (await source.openChangeLog()) as ChangeLog;
      open.push(source, other);
      await other.capture(tables);
      await owner.query("ALTER TABLE t RENAME COLUMN id TO code; INSERT INTO t VALUES (1)");
      await expect(other.batches.cut()).rejects.toMatchObject({ code: "TM-SCHEMA-DRIFT" });
    });

    it.each([...SHAPES, ["partitions", "CREATE TABLE low PARTITION OF t DEFAULT"] as const])(
      "captures anew a table that belongs to another role: %s",
      async (shape, more) => {
        const database = await freshDatabase(kind);
        open.push({ close: async () => database[Symbol.asyncDispose]() });
        const owner = await connect(database.url);
        open.push({ close: () => owner.end() });
        const role = `relay_${Date.now()}_${process.pid}`;
        await owner.query(
          `CREATE TABLE t (id int PRIMARY KEY, name text) ${shape === "partitions" ? "PARTITION BY RANGE (id)" : ""}; ${more};
           CREATE ROLE ${role} LOGIN PASSWORD 'x';
           GRANT SELECT, TRIGGER ON ALL TABLES IN SCHEMA public TO ${role};
           GRANT CREATE ON DATABASE ${database.url.split("/").at(-1)} TO ${role}`,
        );
        open.push({
          close: () => owner.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`),
        });
        const url = Object.assign(new URL(database.url), { username: role, password: "x" });
        const source = await postgres.openSource(optionsOf(url.href));
        const log = (await source.openChangeLog()) as ChangeLog;
        open.push(source, log);
        const tables = () => captureTables(database.url, ["t"]);
        await log.capture(await tables());
        await owner.query("INSERT INTO t VALUES (1, 'a')");
        await log.forget([{ schema: "public", name: "t" }]);
        await log.capture(await tables());
        await owner.query("INSERT INTO t VALUES (2, 'b'); DELETE FROM t WHERE id = 1; TRUNCATE t");
        expect(await lines(log)).toEqual([...["insert 1,a", "insert 2,b", "delete 1", "truncate"]]);
        await owner.query("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, name)");
        await log.forget([{ schema: "public", name: "t" }]);
        await log.capture(await tables());
        await owner.query("INSERT INTO t VALUES (3, 'c'); UPDATE t SET name = 'd' WHERE id = 3");
        expect(await lines(log)).toEqual(["insert 3,c", "update 3,c", "update 3,d"]);
        expect((await source.planCapture(await tables())).statements).toEqual([]);
      },
    );

    it.each(SHAPES)(
      "tells that another column has the name of one in the key: %s",
      async (_, more) => {
        const { database, owner, log } = await start(more);
        await owner.query(
          `ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t RENAME COLUMN id TO old;
         ALTER TABLE t ADD COLUMN id int DEFAULT 7 PRIMARY KEY`,
        );
        const broken = {
          code: "TM-CAPTURE-BROKEN",
          message: expect.stringContaining("column id of"),
        };
        await owner.query("INSERT INTO t (old) VALUES (1)");
        await expect(log.batches.cut()).rejects.toMatchObject(broken);
        const tables = await captureTables(database.url, ["t"]);
        await expect(log.capture(tables)).rejects.toMatchObject(broken);
        await log.forget([{ schema: "public", name: "t" }]);
        await log.capture(tables);
      },
    );

    it("follows a session that changes its search_path between writes", async () => {
      const { owner, log } = await start();
      for (const path of ["public", "pg_temp, pg_catalog", "''", "public"]) {
        await owner.query(
          `SET search_path TO ${path}; INSERT INTO public.t SELECT count(*) FROM public.t`,
        );
      }
      expect(await lines(log)).toEqual([0, 1, 2, 3].map((id) => `insert ${id},null,null`));
    });

    it.each(["statement", "row-current"])(
      "knows a key of an extension's type by its text (%s)",
      async (shape) => {
        const { database, owner, log } = await start();
        const found = await owner.query("SELECT FROM pg_available_extensions WHERE name = 'ltree'");
        if (found.rowCount === 0) return;
        await owner.query(
          "CREATE EXTENSION ltree; CREATE TABLE places (at ltree PRIMARY KEY, n int)",
        );
        if (shape === "row-current") {
          await owner.query(
            `CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON places FOR EACH ROW EXECUTE FUNCTION keep()`,
          );
        }
        await log.capture(await captureTables(database.url, ["places"]));
        await owner.query(
          `INSERT INTO places VALUES ('a.b', 1), ('a.c', 2); UPDATE places SET n = 3;
           UPDATE places SET at = 'x.y' WHERE at = 'a.b'; DELETE FROM places WHERE at = 'a.c'`,
        );
        expect(await lines(log)).toEqual([
          "insert a.b,1",
          "insert a.c,2",
          "update a.b,3",
          "update a.c,3",
          // The key that goes, then the row that comes.
          "update a.b",
          "update x.y,3",
          "delete a.c",
        ]);
      },
    );

    it("reads no row that another has deleted since the one snapshot of a transaction", async () => {
      const { database, owner, log } = await start(SHAPES[2][1]);
      const other = await connect(database.url);
      open.push({ close: () => other.end() });
      await owner.query("INSERT INTO t VALUES (1, 'old'), (2, 'old')");
      await lines(log);
      await owner.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t");
      await other.query("DELETE FROM t");
      await owner.query(
        "INSERT INTO t VALUES (1, 'new'), (2, 'new'); DELETE FROM t WHERE name = 'new' AND id = 2; COMMIT",
      );
      expect(await lines(log)).toEqual([
        ...["delete 1", "delete 2"],
        ...["insert 1,new,null", "insert 2,new,null", "delete 2"],
      ]);
    });

    it("tells which row has a key that two rows had for a while", async () => {
      const { database, owner, log } = await start();
      await owner.query("CREATE TABLE seats (id int PRIMARY KEY DEFERRABLE, name text)");
      await log.capture(await captureTables(database.url, ["seats"]));
      await owner.query("INSERT INTO seats VALUES (0, 'gone'), (1, 'a'), (2, 'b')");
      await owner.query("DELETE FROM seats WHERE id = 0");
      // What is written next takes that row's place: it is found before what is older.
      await owner.query("VACUUM seats");
      await lines(log);
      await owner.query(
        `BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE seats SET id = 2 WHERE name = 'a';
         UPDATE seats SET name = 'c' WHERE name = 'b'; UPDATE seats SET id = 3 WHERE name = 'c'; COMMIT`,
      );
      expect(left(await lines(log))).toEqual(["2,a", "3,c"]);
    });

    it.each(["on", "off"])(
      "tells what stands where one statement deletes rows and writes others under their keys (track_counts %s)",
      async (counting) => {
        const { owner, log } = await start();
        await owner.query(`SET track_counts = ${counting}; SET enable_hashjoin = off`);
        await owner.query("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 9) n");
        // Each row is inserted in the place of one that was deleted right before.
        await owner.query(
          `WITH came AS (INSERT INTO t SELECT n, 'new' FROM generate_series(0, 2) n RETURNING id)
           DELETE FROM t USING came WHERE t.id = came.id + 1`,
        );
        await owner.query(
          `WITH went AS (DELETE FROM t WHERE id = 4 RETURNING id) INSERT INTO t SELECT id, 'back' FROM went`,
        );
        await owner.query(
          `WITH moved AS (UPDATE t SET id = 15 WHERE id = 5 RETURNING name)
           DELETE FROM t USING moved WHERE t.id IN (6, 15)`,
        );
        await owner.query(
          "BEGIN; INSERT INTO t VALUES (20, 'gone'); DELETE FROM t WHERE id >= 9; COMMIT",
        );
        const { rows } = await owner.query("SELECT id || ',' || name AS line FROM t ORDER BY id");
        expect(left(await lines(log))).toEqual(rows.map(({ line }) => line));
        expect(rows.length).toBe(6);
      },
    );

    it("logs anew what stands under a key that its collation holds equal to one that went", async () => {
      const { database, owner, log } = await start(
        `CREATE COLLATION either (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE n (id text COLLATE either PRIMARY KEY, a text)`,
      );
      await log.capture(await captureTables(database.url, ["t", "n"]));
      await owner.query("INSERT INTO n VALUES ('a', 'old')");
      await owner.query(
        "BEGIN; UPDATE n SET a = 'x'; WITH went AS (DELETE FROM n RETURNING *) INSERT INTO n SELECT upper(id), 'new' FROM went; COMMIT",
      );
      expect(await lines(log)).toEqual([
        ...["insert a,old", "update a,x", "delete a", "update A,new", "insert A,new"],
      ]);
    });

    it("sends a session that has written before to the next log table", async () => {
      const { database, owner, log } = await start();
      await log.close();
      const rotating = await PostgresChangeLog.open(optionsOf(database.url), {
        bytes: 1,
        ageMs: 0,
      });
      if (!rotating) throw new TypeError("The lease is taken.");
      open.push(rotating);
      const seen: string[] = [];
      for (const id of [1, 2, 3, 4]) {
        await owner.query("INSERT INTO t VALUES ($1, 'a', NULL)", [id]);
        const { rows } = await owner.query(
          `SELECT log::text FROM (${[0, 1, 2]
            .map((slot) => `SELECT tableoid::regclass AS log, row FROM tidemark.change_log_${slot}`)
            .join(" UNION ALL ")}) rows WHERE row LIKE '(' || $1::int || ',%'`,
          [id],
        );
        seen.push(rows[0].log);
        const { header } = await rotating.batches.cut();
        await rotating.batches.purge(header?.batch ?? 0);
      }
      expect(seen).toEqual([0, 1, 2, 0].map((slot) => `tidemark.change_log_${slot}`));
    });

    it("names what refuses DDL when the log is to move, and moves it later", async () => {
      const { database, owner, log } = await start();
      await log.close();
      const limits = { bytes: 1, ageMs: 0 };
      const rotating = await PostgresChangeLog.open(optionsOf(database.url), limits);
      if (!rotating) throw new TypeError("The lease is taken.");
      open.push(rotating);
      await owner.query(
        `CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql
         AS $$ BEGIN RAISE EXCEPTION 'not in office hours'; END $$;
         CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()`,
      );
      await owner.query("INSERT INTO t VALUES (1, 'a', NULL)");
      const { header } = await rotating.batches.cut();
      const purging = () => rotating.batches.purge(header?.batch ?? 0);
      await expect(purging()).rejects.toMatchObject({
        code: "TM-GRANT-MISSING",
        message: expect.stringContaining("not in office hours"),
        fix: expect.stringContaining("event trigger"),
      });
      await owner.query("DROP EVENT TRIGGER refuse");
      await purging();
      await owner.query("INSERT INTO t VALUES (2, 'b', NULL)");
      const { rows } = await owner.query("SELECT row FROM tidemark.change_log_1");
      expect(rows).toHaveLength(1);
    });

    it("prints the name of a type without quotes that only the session wants", async () => {
      const { database, owner, log } = await start(
        "CREATE TABLE named (id int PRIMARY KEY, r regtype)",
      );
      await log.capture(await captureTables(database.url, ["named"]));
      await owner.query("SET quote_all_identifiers = on; INSERT INTO named VALUES (1, 'text')");
      expect(await lines(log)).toEqual(["insert 1,text"]);
    });

    it("prints alike under any settings of the session, and leaves them as they are", async () => {
      const { database, owner, log } = await start(
        `CREATE TABLE texts (at timestamptz, b bytea, d date, i interval, f float8, PRIMARY KEY (at, b))`,
      );
      await log.capture(await captureTables(database.url, ["t", "texts"]));
      const settings = async () => {
        const { rows } = await owner.query(
          `SELECT ${["TimeZone", "DateStyle", "IntervalStyle", "bytea_output", "extra_float_digits"]
            .map((name) => `current_setting('${name}')`)
            .join(" || ';' || ")} AS all`,
        );
        return rows[0].all as string;
      };
      const write = (day: number, f = "0.1::float8 + 0.2") =>
        `INSERT INTO texts VALUES (make_timestamptz(2026, 2, ${day}, 9, 0, 0, 'Asia/Tokyo'), '\\xdead', make_date(2026, 2, 1), make_interval(hours => 2), ${f})`;
      await owner.query(write(1));
      await owner.query(
        `SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'postgres_verbose';
         SET bytea_output = 'escape'; SET extra_float_digits = -5`,
      );
      const before = await settings();
      await owner.query(`BEGIN; SET LOCAL TimeZone = 'America/New_York'; ${write(2)}`);
      const within = before.replace("Asia/Tokyo", "America/New_York");
      expect(await settings()).toBe(within);
      // A trigger that fails after it has set them.
      await owner.query("SAVEPOINT s");
      await owner.query("ALTER TABLE tidemark.change_log_0 ADD CHECK (row NOT LIKE '%999%')");
      await expect(owner.query(write(3, "999"))).rejects.toThrow(/violates check/);
      await owner.query("ROLLBACK TO s");
      expect(await settings()).toBe(within);
      await owner.query(
        "UPDATE texts SET at = at + interval '1 day' WHERE at > '01/02/2026 12:00'",
      );
      await owner.query("DELETE FROM texts; COMMIT");
      expect(await settings()).toBe(before);
      // What the application sets after a write of the same transaction stays.
      await owner.query(`BEGIN; ${write(5)}; SET TimeZone = 'Europe/Paris'; ${write(6)}; COMMIT`);
      expect(await settings()).toBe(before.replace("Asia/Tokyo", "Europe/Paris"));
      await owner.query(`BEGIN; ${write(7)}; ROLLBACK`);
      expect(await settings()).toBe(before.replace("Asia/Tokyo", "Europe/Paris"));
      const row = (op: string, day: number) =>
        `${op} 2026-02-0${day} 00:00:00+00,dead,2026-02-01,PT2H,0.30000000000000004`;
      expect(await lines(log)).toEqual([
        row("insert", 1),
        row("insert", 2),
        "update 2026-02-02 00:00:00+00,dead",
        row("update", 3),
        "delete 2026-02-01 00:00:00+00,dead",
        "delete 2026-02-03 00:00:00+00,dead",
        row("insert", 5),
        row("insert", 6),
      ]);
    });

    it.each(SHAPES)("reads times that any time zone has printed: %s", async (_, more) => {
      const { owner, log } = await start(`ALTER TABLE t ALTER d TYPE timestamptz; ${more}`);
      const zones = [
        "Asia/Kolkata",
        "America/St_Johns",
        "Africa/Monrovia",
        "Pacific/Apia",
        "<x>-100",
      ];
      for (const [zone, name] of zones.entries()) {
        await owner.query(
          `SET TimeZone = '${name}';
           INSERT INTO t SELECT ${zone} * 1000 + g, NULL, timestamptz '4713-02-01 00:00:00+00 BC'
             + g * interval '499 years 37 days 5 hours 7 minutes 11.000001 seconds'
           FROM generate_series(1, 596) g`,
        );
      }
      await owner.query("SET TimeZone = 'UTC'");
      const { rows } = await owner.query("SELECT id, d::text FROM t ORDER BY id");
      expect(rows.length).toBe(596 * zones.length);
      expect(await lines(log)).toEqual(rows.map(({ id, d }) => `insert ${id},null,${d}`));
    });

    it("is neither read nor written when its log was made by another version", async () => {
      const { database, owner, log, tables } = await start();
      await owner.query("INSERT INTO t VALUES (1, 'a', NULL)");
      await log.close();
      await owner.query("ALTER TABLE tidemark.change_log_0 ADD COLUMN key text");
      const source = await postgres.openSource(optionsOf(database.url));
      open.push(source);
      const version = { code: "TM-LOG-VERSION" };
      await expect(source.openChangeLog()).rejects.toMatchObject(version);
      await expect(source.planCapture(tables)).rejects.toMatchObject(version);
      const findings = await source.diagnose(tables);
      expect(findings.filter(({ severity }) => severity === "error")).toMatchObject([
        { check: "log-version" },
      ]);
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
