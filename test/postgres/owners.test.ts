// The schema tidemark, or what stands in it by a name of ours, in the hands of another role: whatever that holds would run with
// our rights, in a trigger or in a session of ours. It is refused before anything is made, unless the role is trusted (G8).
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, changesOf, connect, line, optionsOf, SERVERS } from "./support.ts";

describe.each(SERVERS)("on %s", (kind) => {
  const open: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  /** A database with a table, and roles that may create schemas in it: one is Tidemark's in its sessions. */
  async function start() {
    const database = await freshDatabase(kind);
    open.push({ close: async () => database[Symbol.asyncDispose]() });
    const admin = await connect(database.url);
    const [, name = "", end = ""] = /\/([^/]*_([^_/]+))$/.exec(database.url) ?? [];
    const [sync, reports, other, group] = ["sync", "reports", "other", "both"].map(
      (role) => `${role}_${end}`,
    ) as [string, string, string, string];
    await admin.query("CREATE TABLE t (id int PRIMARY KEY, name text)");
    for (const role of [sync, reports, other, group]) {
      await admin.query(
        `CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE ${name} TO ${role}; GRANT ALL ON t TO ${role}`,
      );
    }
    open.push({
      close: async () => {
        await admin.query(`ALTER DATABASE ${name} OWNER TO CURRENT_USER`);
        for (const role of [sync, reports, other, group]) {
          await admin.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
        }
        await admin.end();
      },
    });
    const urlOf = (role: string) =>
      Object.assign(new URL(database.url), { username: role, password: "x" }).href;
    const as = async (role: string, sql: string) => {
      const client = await connect(urlOf(role));
      await client.query(sql);
      await client.end();
    };
    const kept = <T extends { close(): Promise<unknown> }>(opened: T): T => {
      open.push(opened);
      return opened;
    };
    const sourceAt = async (url: string) => kept(await postgres.openSource(optionsOf(url)));
    const targetAt = async (url: string) => kept(await postgres.openTarget(optionsOf(url)));
    const capture = async (url: string) => {
      const log = kept((await (await sourceAt(url)).openChangeLog()) as ChangeLog);
      await log.capture(await captureTables(database.url, ["t"]));
      return log;
    };
    const roles = { sync, reports, other, group };
    return { url: database.url, name, admin, roles, urlOf, as, sourceAt, targetAt, capture };
  }

  const refused = (what: string, fix: string) => ({
    code: "TM-GRANT-MISSING",
    message: expect.stringContaining(what),
    fix: expect.stringContaining(fix),
  });

  describe.skipIf(!available(kind))("", () => {
    it.each(["superuser", "sync"])("a schema that another made first, to %s", async (who) => {
      const { url, name, admin, roles, urlOf, as, sourceAt, targetAt, capture } = await start();
      await as(
        roles.other,
        `CREATE SCHEMA tidemark; GRANT ALL ON SCHEMA tidemark TO PUBLIC;
         CREATE FUNCTION tidemark.log_slot() RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE ''planted''; END';
         GRANT ALL ON FUNCTION tidemark.log_slot() TO PUBLIC`,
      );
      const [mine, role] =
        who === "sync" ? [urlOf(roles.sync), roles.sync] : [url, new URL(url).username];
      const told = refused(
        `the schema tidemark belongs to the role ${roles.other}`,
        `ALTER SCHEMA tidemark OWNER TO ${role};`,
      );
      await expect(sourceAt(mine)).rejects.toMatchObject(told);
      await expect(targetAt(mine)).rejects.toMatchObject(told);
      const made = await admin.query(
        "SELECT FROM pg_class WHERE relnamespace = 'tidemark'::regnamespace",
      );
      expect(made.rowCount).toBe(0);

      // The schema's owner alone is not all.
      await admin.query(`ALTER SCHEMA tidemark OWNER TO ${role}`);
      const function_ = refused("the routine tidemark.log_slot()", "DROP SCHEMA tidemark CASCADE");
      await expect(sourceAt(mine)).rejects.toMatchObject(function_);
      await targetAt(mine);

      // Whoever owns the database can do anything in it, but nothing elsewhere, as a superuser can.
      await admin.query(`ALTER DATABASE ${name} OWNER TO ${roles.other}`);
      if (who === "sync") await sourceAt(mine);
      else await expect(sourceAt(mine)).rejects.toMatchObject(function_);

      await admin.query("DROP SCHEMA tidemark CASCADE");
      const log = await capture(mine);
      await as(roles.other, "INSERT INTO t VALUES (1, 'a')");
      expect((await changesOf(await log.batches.cut())).map(line)).toEqual(["insert 1,a"]);
    });

    it("a function of better fitting types, and a view in a table's place, where another may create", async () => {
      const { admin, roles, urlOf, as, sourceAt, targetAt, capture } = await start();
      const mine = urlOf(roles.sync);
      await (await capture(mine)).close();
      await admin.query(`GRANT ALL ON SCHEMA tidemark TO ${roles.other}`);
      await as(roles.other, "CREATE VIEW tidemark.progress AS SELECT 1");
      await sourceAt(mine);
      const view = refused("tidemark.progress", `ALTER TABLE tidemark.progress OWNER TO`);
      await expect(targetAt(mine)).rejects.toMatchObject(view);
      const letters = "tidemark.capture_filters_1(t)";
      await as(
        roles.other,
        `DROP VIEW tidemark.progress; CREATE FUNCTION ${letters} RETURNS text LANGUAGE sql AS 'SELECT NULL'`,
      );
      await targetAt(mine);
      const planted = refused(letters.replace("(t)", "("), "ALTER ROUTINE tidemark.capture_");
      await expect(sourceAt(mine)).rejects.toMatchObject(planted);
    });

    it("a schema that another makes while the sessions of a start are open", async () => {
      const { admin, roles, urlOf, as, sourceAt, targetAt } = await start();
      const mine = urlOf(roles.sync);
      const [source, target] = [await sourceAt(mine), await targetAt(mine)];
      const plan = await target.plan([]);
      await as(roles.other, "CREATE SCHEMA tidemark; GRANT ALL ON SCHEMA tidemark TO PUBLIC");
      const told = refused("the schema tidemark belongs to", "DROP SCHEMA tidemark CASCADE");
      await expect(source.openChangeLog()).rejects.toMatchObject(told);
      await expect(target.prepare(plan)).rejects.toMatchObject(told);
      const made = await admin.query(
        "SELECT FROM pg_class WHERE relnamespace = 'tidemark'::regnamespace",
      );
      expect(made.rowCount).toBe(0);
      await admin.query("DROP SCHEMA tidemark CASCADE");
      await target.prepare(plan);
      await admin.query(`ALTER TABLE tidemark.progress OWNER TO ${roles.other}`);
      const progress = refused("the table tidemark.progress belongs to", "ALTER TABLE");
      await expect(target.openApplier("s", [])).rejects.toMatchObject(progress);
    });

    it("a log that a superuser made, to a lesser role until it is given it", async () => {
      const { url, admin, roles, urlOf, as, sourceAt, capture } = await start();
      await (await capture(url)).close();
      await as(roles.other, "INSERT INTO t VALUES (1, 'a')");
      const source = await sourceAt(urlOf(roles.sync));
      const told = {
        code: "TM-GRANT-MISSING",
        message: expect.stringContaining(
          `belongs to the role ${new URL(url).username}, and ${roles.sync}`,
        ),
      };
      await expect(source.openChangeLog()).rejects.toMatchObject(told);
      const tables = await captureTables(url, ["t"]);
      const error = await source.planCapture(tables).catch((refusal) => refusal);
      expect(error).toMatchObject(told);
      expect(await source.diagnose(tables)).toContainEqual(
        expect.objectContaining({ severity: "error", message: error.message, fix: error.fix }),
      );
      // Who may read it, and write it as well, is at work until the log is to be moved or emptied: doctor tells before.
      await admin.query(
        `GRANT ALL ON SCHEMA tidemark TO ${roles.sync}; GRANT ALL ON ALL TABLES IN SCHEMA tidemark TO ${roles.sync};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA tidemark TO ${roles.sync}; GRANT ALL ON ALL FUNCTIONS IN SCHEMA tidemark TO ${roles.sync}`,
      );
      await (await capture(urlOf(roles.sync))).close();
      const [found] = (await source.diagnose(tables)).filter((each) => each.severity === "error");
      expect(found).toMatchObject({
        message: error.message,
        fix: expect.not.stringContaining("GRANT"),
      });
      await admin.query(`REVOKE ALL ON SCHEMA tidemark FROM ${roles.sync}`);

      await admin.query(/GRANT .*/.exec(error.fix)?.[0] ?? "");
      expect((await source.diagnose(tables)).filter((each) => each.severity === "error")).toEqual(
        [],
      );
      const log = await capture(urlOf(roles.sync));
      expect((await changesOf(await log.batches.cut())).map(line)).toEqual(["insert 1,a"]);
      // As a relay at work does in time.
      await as(
        roles.sync,
        `TRUNCATE tidemark.change_log_2;
         CREATE OR REPLACE FUNCTION tidemark.log_slot() RETURNS integer LANGUAGE sql STABLE AS 'SELECT 1'`,
      );
    });

    it("a log that REASSIGN OWNED gave away, to the role that had it, until it is given back", async () => {
      const { url, admin, roles, urlOf, as, sourceAt, capture } = await start();
      const mine = urlOf(roles.sync);
      await (await capture(mine)).close();
      await admin.query(`REASSIGN OWNED BY ${roles.sync} TO CURRENT_USER`);
      await as(roles.other, "INSERT INTO t VALUES (1, 'a')");
      const source = await sourceAt(mine);
      const refusal = await source.openChangeLog().catch((error) => error);
      const owner = new URL(url).username;
      expect(refusal).toMatchObject(
        refused(`belongs to the role ${owner}, and ${roles.sync}`, "OWNER TO"),
      );
      await admin.query(/GRANT .*/.exec(refusal.fix)?.[0] ?? "");
      const log = await capture(mine);
      expect((await changesOf(await log.batches.cut())).map(line)).toEqual(["insert 1,a"]);
    });

    it("the tables of a target that a superuser made, to a lesser role until it is given them", async () => {
      const { url, admin, roles, urlOf, targetAt } = await start();
      const made = await targetAt(url);
      await made.prepare(await made.plan([]));
      const target = await targetAt(urlOf(roles.sync));
      const errors = async () =>
        (await target.diagnose([])).filter(({ severity }) => severity === "error");
      await expect(target.openApplier("s", [])).rejects.toMatchObject({ code: "TM-GRANT-MISSING" });
      const fixes = (await errors()).map(({ fix }) => fix);
      expect(fixes).toEqual([
        `GRANT USAGE ON SCHEMA tidemark TO "${roles.sync}";`,
        ...["progress", "progress_tables", "parked"].map(
          (name) =>
            `GRANT SELECT, INSERT, UPDATE, DELETE ON "tidemark"."${name}" TO "${roles.sync}";`,
        ),
      ]);
      for (const fix of fixes) await admin.query(fix ?? "");
      expect(await errors()).toEqual([]);
      await (await target.openApplier("s", []))?.close();
    });

    it("two roles share it where one that both are members of owns it", async () => {
      const { admin, roles, urlOf, sourceAt, targetAt, capture } = await start();
      const [mine, theirs] = [urlOf(roles.sync), urlOf(roles.reports)];
      const prepare = async () => {
        const target = await targetAt(theirs);
        await target.prepare(await target.plan([]));
        return target.copiesOf("s");
      };
      await (await capture(mine)).close();
      await admin.query(`GRANT ALL ON SCHEMA tidemark TO ${roles.reports}`);
      await expect(prepare()).rejects.toMatchObject(refused("the schema tidemark", "grants.md"));
      await admin.query(
        `GRANT ${roles.group} TO ${roles.sync}, ${roles.reports}; ALTER SCHEMA tidemark OWNER TO ${roles.group}`,
      );
      expect(await prepare()).toEqual([]);
      expect(await prepare()).toEqual([]);
      await sourceAt(mine);
      await (await capture(mine)).close();
    });
  });
});
