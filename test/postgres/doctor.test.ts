// What doctor finds, and the statement that mends it (G8).
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { postgres } from "../../src/databases/postgres/index.ts";
import { definePair } from "../../src/index.ts";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { CollectingLogger } from "../support/test-bed.ts";
import { captureTables, connect, optionsOf } from "./support.ts";

describe.skipIf(!available("postgres"))("doctor on PostgreSQL", () => {
  const open: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  it("finds what breaks capture", async () => {
    const database = await freshDatabase("postgres");
    open.push({ close: async () => database[Symbol.asyncDispose]() });
    const application = await connect(database.url);
    open.push({ close: () => application.end() });
    await application.query(
      `CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY);
       CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF p DEFAULT`,
    );
    const source = await postgres.openSource(optionsOf(database.url));
    open.push(source);
    const tables = await captureTables(database.url, ["t", "u", "p"]);
    await application.query("ALTER TABLE u SET UNLOGGED; ALTER TABLE part SET UNLOGGED");
    const problems = async () =>
      (await source.diagnose(tables)).filter((finding) => finding.severity === "error");
    expect((await problems()).map((finding) => finding.check)).toEqual([
      "table-unlogged",
      "table-unlogged",
    ]);
    const log = await source.openChangeLog();
    await log?.capture(tables);
    if (log) open.push(log);

    await application.query(
      `ALTER TABLE u SET LOGGED; ALTER TABLE part SET LOGGED; ALTER SEQUENCE tidemark.change_seq CACHE 20;
       ALTER TABLE tidemark.change_log_0 SET UNLOGGED;
       ALTER TABLE t DISABLE TRIGGER tidemark_update; DROP TRIGGER tidemark_key ON t`,
    );
    const found = await problems();
    const checks = ["sequence-cache", "log-unlogged", "trigger-broken"];
    expect(found.map((finding) => finding.check)).toEqual(checks);
    await application.query(found[0]?.fix ?? "");
    await application.query(/ALTER TABLE [^;]*/.exec(found[1]?.fix ?? "")?.[0] ?? "");
    await application.query(
      "ALTER TABLE t ENABLE TRIGGER tidemark_update; CREATE TRIGGER tidemark_key AFTER UPDATE ON t FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id) EXECUTE FUNCTION tidemark.capture_key_" +
        (await application.query("SELECT 't'::regclass::oid AS oid")).rows[0].oid +
        "()",
    );
    // All is as it was, but what was written meanwhile is in no log.
    expect((await problems()).map(({ check }) => check)).toEqual(["trigger-broken"]);
    await log?.forget(tables.map(({ schema }) => schema.name));
    await log?.capture(tables);
    expect(await problems()).toEqual([]);

    await application.query(
      `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
       CREATE TRIGGER mine AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()`,
    );
    const [shape, ...others] = await problems();
    expect([shape?.check, others]).toEqual(["capture-shape", []]);
    await expect(log?.capture(tables)).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
    // The way out for a trigger that is known to write nothing here.
    await application.query(/UPDATE [^;]*/.exec(shape?.fix ?? "")?.[0] ?? "");
    await log?.capture(tables);
    expect(await problems()).toEqual([]);

    // As pg_upgrade leaves it: not broken capture, whose way out leads nowhere.
    await application.query(
      "UPDATE tidemark.source SET server = '1'; ALTER TABLE u DISABLE TRIGGER USER; ALTER TABLE u ENABLE TRIGGER USER",
    );
    expect((await problems()).map(({ check }) => check)).toEqual(["log-cloned"]);
    await expect(source.planCapture(tables)).rejects.toMatchObject({ code: "TM-SOURCE-CLONED" });
  });

  it("prints the exact grants that a poor role lacks", async () => {
    const database = await freshDatabase("postgres");
    open.push({ close: async () => database[Symbol.asyncDispose]() });
    const admin = await connect(database.url);
    const role = `poor_${database.url.split("_").at(-1)}`;
    await admin.query(
      `CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE c (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t int CONSTRAINT c_t REFERENCES t);
       CREATE ROLE ${role} LOGIN PASSWORD 'x';`,
    );
    open.push({
      close: async () => {
        await admin.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
        await admin.end();
      },
    });
    const url = new URL(database.url);
    url.username = role;
    url.password = "x";
    const tables = await captureTables(database.url, ["t"]);
    const source = await postgres.openSource(optionsOf(url.href));
    open.push(source);
    const found = (await source.diagnose(tables)).filter((each) => each.severity === "error");
    expect(found.map((each) => each.fix)).toContain(
      `GRANT SELECT, TRIGGER ON "public"."t" TO "${role}";`,
    );
    for (const { fix } of found) await admin.query(fix ?? "");
    const log = await source.openChangeLog();
    await log?.capture(tables);
    // The application's roles need no right on anything of ours.
    await admin.query("INSERT INTO t VALUES (1)");
    expect((await log?.batches.cut())?.header?.batch).toBe(1);
    await log?.close();
    // What capturing alone takes may be revoked then; not what the triggers need.
    const after = async () => {
      const findings = await source.diagnose(tables);
      return findings.filter(({ severity }) => severity === "error").map(({ fix }) => fix);
    };
    await admin.query(
      `REVOKE TRIGGER ON t FROM ${role}; REVOKE CREATE ON DATABASE ${url.pathname.slice(1)} FROM ${role}`,
    );
    expect(await after()).toEqual([]);
    await admin.query(`REVOKE SELECT ON t FROM ${role}`);
    expect(await after()).toEqual([`GRANT SELECT ON "public"."t" TO "${role}";`]);
    await admin.query("ALTER TABLE t ADD COLUMN v int");
    expect(await after()).toContain(`GRANT SELECT, TRIGGER ON "public"."t" TO "${role}";`);
    await admin.query(`GRANT CREATE ON DATABASE ${url.pathname.slice(1)} TO ${role}`);

    // Nor may a poor role put off the foreign keys of a target.
    const target = await postgres.openTarget(optionsOf(url.href));
    open.push(target);
    const fixed = async () => {
      const name = { schema: "public", name: "c" };
      const findings = await target.diagnose([{ name, columns: [], key: ["id"] }]);
      return findings.filter(({ check }) => check === "foreign-keys-fixed");
    };
    const [finding] = await fixed();
    expect(finding?.message).toContain("c_t");
    await admin.query(/GRANT [^;]*/.exec(finding?.fix ?? "")?.[0] ?? "");
    expect(await fixed()).toEqual([]);

    // Nor move its sequences.
    const behind = async () => {
      const name = { schema: "public", name: "c" };
      const findings = await target.diagnose([{ name, columns: [], key: ["id"] }]);
      return findings.filter(({ check }) => check === "sequence-behind");
    };
    const [sequence] = await behind();
    expect(sequence?.message).toContain("public.c_id_seq");
    await admin.query(sequence?.fix ?? "");
    expect(await behind()).toEqual([]);

    // Nor make a table in a schema that it may not even look into, or the schema itself.
    await admin.query(
      `CREATE SCHEMA closed; CREATE TABLE closed.t (id int PRIMARY KEY);
       GRANT SELECT, TRIGGER, INSERT, UPDATE, DELETE ON closed.t TO ${role};
       REVOKE CREATE ON DATABASE ${url.pathname.slice(1)} FROM ${role}`,
    );
    const lacks = async (...tables: string[]) => {
      const names = tables.map((table) => {
        const [schema = "", name = ""] = table.split(".");
        return { name: { schema, name }, columns: [], key: ["id"] };
      });
      const findings = await target.diagnose(names);
      return findings.filter(({ severity }) => severity === "error").map(({ fix }) => fix);
    };
    const usage = `GRANT USAGE ON SCHEMA "closed" TO "${role}";`;
    expect(await lacks("closed.t")).toEqual([usage]);
    const enclosed = tables.map((table) => ({
      ...table,
      schema: { ...table.schema, name: { schema: "closed", name: "t" } },
    }));
    const refused = (await source.diagnose(enclosed)).filter(({ fix }) => fix === usage);
    expect(refused).toHaveLength(1);
    const both = `GRANT USAGE, CREATE ON SCHEMA "closed" TO "${role}";`;
    expect(await lacks("closed.t", "closed.new")).toEqual([both]);
    await admin.query(both);
    const schema = `GRANT CREATE ON DATABASE "${url.pathname.slice(1)}" TO "${role}";`;
    expect(await lacks("closed.new", "another.t", "another.u")).toEqual([schema]);
    await admin.query(schema);
    expect(await lacks("closed.new", "another.t")).toEqual([]);

    // Nor use what the role of the other end has made here.
    await admin.query("DROP SCHEMA tidemark CASCADE; CREATE SCHEMA tidemark");
    const ours = `GRANT USAGE, CREATE ON SCHEMA tidemark TO "${role}";`;
    expect(await lacks("closed.new")).toEqual([ours]);
    const refusal = {
      code: "TM-GRANT-MISSING",
      fix: expect.stringMatching(/^GRANT USAGE, CREATE/),
    };
    await expect(target.copiesOf("s")).rejects.toMatchObject(refusal);
    await admin.query(ours);
    expect(await lacks("closed.new")).toEqual([]);
  });

  /** A source that a role of few rights reads. `setup`: statements that make it, and what it may see. */
  async function asPoorRole(setup: (made: { role: string; name: string }) => string) {
    const database = await freshDatabase("postgres");
    open.push({ close: async () => database[Symbol.asyncDispose]() });
    const admin = await connect(database.url);
    const url = new URL(database.url);
    const name = url.pathname.slice(1);
    const role = `poor_${name}`;
    await admin.query(setup({ role, name }));
    open.push({
      close: async () => {
        await admin.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
        await admin.end();
      },
    });
    [url.username, url.password] = [role, "x"];
    const source = await postgres.openSource(optionsOf(url.href));
    open.push(source);
    return { database, admin, role, url, source };
  }

  it("names the schema of a type that keys are compared by, or rows written by, as plan does", async () => {
    const { database, admin, role, url, source } = await asPoorRole(
      ({ role, name }) =>
        `CREATE SCHEMA "my.Kinds"; CREATE TYPE "my.Kinds".place AS ENUM ('a');
       CREATE DOMAIN spot AS "my.Kinds".place; CREATE TABLE t (id spot PRIMARY KEY, p "my.Kinds".place);
       CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE ${name} TO ${role}; GRANT ALL ON t TO ${role}`,
    );
    const target = await postgres.openTarget(optionsOf(url.href));
    open.push(target);
    const captured = await captureTables(database.url, ["t"]);
    const written = (names: readonly string[]) =>
      captured.map(({ schema }) => ({
        name: schema.name,
        columns: schema.columns
          .filter((column) => names.includes(column.name))
          .map((column) => ({ ...column, sourceKind: "postgres" })),
        key: schema.key,
      }));
    const told = async () => {
      const all = await Promise.all([
        source.planCapture(captured).then(({ lacks = [] }) => lacks),
        source.diagnose(captured),
        ...[["id"], ["id", "p"]].flatMap((names) => [
          target.plan(written(names)).then(({ lacks = [] }) => lacks),
          target.diagnose(written(names)),
        ]),
      ]);
      return all.map((each) => each.filter((f) => f.severity === "error").map(({ fix }) => fix));
    };
    const usage = `GRANT USAGE ON SCHEMA "my.Kinds" TO "${role}";`;
    expect(await told()).toEqual(Array(6).fill([usage]));
    await admin.query(usage);
    expect(await told()).toEqual(Array(6).fill([]));
  });

  it("names what partitions lack, each with the statement by which capture goes on", async () => {
    const { database, admin, role, source } = await asPoorRole(
      ({ role, name }) =>
        `CREATE SCHEMA parts; CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);
       CREATE TABLE parts."Low" PARTITION OF t FOR VALUES FROM (0) TO (9) PARTITION BY RANGE (id);
       CREATE TABLE parts."Lowest" PARTITION OF parts."Low" DEFAULT; CREATE TABLE high PARTITION OF t DEFAULT;
       CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE ${name} TO ${role};
       GRANT SELECT, TRIGGER ON t TO ${role}; GRANT SELECT ON high TO ${role}`,
    );
    const tables = await captureTables(database.url, ["t"]);
    const told = async () => (await source.planCapture(tables)).lacks?.map(({ fix }) => fix);
    const fixes = [
      `GRANT USAGE ON SCHEMA "parts" TO "${role}";`,
      `GRANT TRIGGER ON "parts"."Low" TO "${role}";`,
      `GRANT SELECT, TRIGGER ON "parts"."Lowest" TO "${role}";`,
      `GRANT TRIGGER ON "public"."high" TO "${role}";`,
    ];
    expect((await told())?.sort()).toEqual([...fixes].sort());
    const errors = (await source.diagnose(tables)).filter((f) => f.severity === "error");
    expect(errors.map(({ fix }) => fix).sort()).toEqual([...fixes].sort());
    for (const fix of fixes) await admin.query(fix);
    expect(await told()).toEqual([]);
    const log = await source.openChangeLog();
    await log?.capture(tables);
    await admin.query("INSERT INTO t VALUES (1), (20)");
    expect((await log?.batches.cut())?.header?.batch).toBe(1);
    await log?.close();

    // One that came since.
    await admin.query("CREATE TABLE parts.more PARTITION OF t FOR VALUES FROM (100) TO (200)");
    const more = (await source.diagnose(tables)).filter((f) => f.severity === "error");
    expect(more.map(({ fix }) => fix)).toEqual([
      `GRANT SELECT, TRIGGER ON "parts"."more" TO "${role}";`,
    ]);
  });

  it("leaves the log of another role to whoever reads it", async () => {
    const [hub, other] = [await freshDatabase("postgres"), await freshDatabase("postgres")];
    for (const database of [hub, other]) {
      open.push({ close: async () => database[Symbol.asyncDispose]() });
      const sql = await connect(database.url);
      await sql.query("CREATE TABLE t (id int PRIMARY KEY)");
      await sql.end();
    }
    const source = await postgres.openSource(optionsOf(hub.url));
    open.push(source);
    const log = await source.openChangeLog();
    await log?.capture(await captureTables(hub.url, ["t"]));
    await log?.close();

    const admin = await connect(hub.url);
    const role = `poor_${hub.url.split("_").at(-1)}`;
    await admin.query(
      `CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT USAGE, CREATE ON SCHEMA tidemark, public TO ${role}`,
    );
    open.push({
      close: async () => {
        await admin.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
        await admin.end();
      },
    });
    const url = new URL(hub.url);
    [url.username, url.password] = [role, "x"];
    const folder = await mkdtemp(join(tmpdir(), "tidemark-doctor-"));
    open.push({ close: () => rm(folder, { recursive: true }) });
    const ends = { from: other.url, to: url.href, tables: ["public.t"], queue: "sqlite:queue.db" };
    await admin.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON t TO ${role}`);
    const told = await diagnose(definePair(ends, folder, {}), new CollectingLogger());
    expect(told.flatMap(({ findings }) => findings.filter((f) => f.severity === "error"))).toEqual(
      [],
    );
  });

  it("says of a publication FOR ALL TABLES that ours are published, too, before they are made", async () => {
    const database = await freshDatabase("postgres");
    open.push({ close: async () => database[Symbol.asyncDispose]() });
    const application = await connect(database.url);
    open.push({ close: () => application.end() });
    await application.query("CREATE TABLE t (id int PRIMARY KEY)");
    const logger = new CollectingLogger();
    const options = { ...optionsOf(database.url), logger };
    const source = await postgres.openSource(options);
    open.push(source);
    const target = await postgres.openTarget(options);
    open.push(target);
    const tables = await captureTables(database.url, ["t"]);
    const notes = async () => [
      ...(await source.planCapture(tables)).notes,
      ...(await target.plan([])).notes,
    ];
    const told = expect.stringContaining('"everything" is FOR ALL TABLES');
    expect(await notes()).not.toContainEqual(told);
    await application.query("CREATE PUBLICATION everything FOR ALL TABLES");
    expect((await notes()).filter((note) => note.includes("FOR ALL TABLES"))).toEqual([told, told]);
    for (const each of [source.diagnose(tables), target.diagnose([])]) {
      expect(await each).toContainEqual(
        expect.objectContaining({ check: "publication-all-tables", message: told }),
      );
    }
    expect(logger.text()).toBe("");
    const log = await source.openChangeLog();
    expect(logger.text()).toEqual(told);
    await log?.close();
    const again = await source.openChangeLog();
    await again?.close();
    expect(logger.text().match(/FOR ALL TABLES/g)).toHaveLength(1);
  });
});
