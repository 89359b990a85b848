// What is done for each table of many, at a server that is far away or in use.
import { describe, expect, it, vi } from "vitest";
import type { CaptureTable } from "../../src/core/source.ts";
import type { ApplierSession, Progress } from "../../src/core/target.ts";
import { Session } from "../../src/databases/mysql/connection.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available, canStart, startMariadb, startMysql } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { asTarget, type Bed, cutOnce, openBed, openLog, SERVERS } from "./bed.ts";

/** The binary log of statements, into which a session in READ COMMITTED may not write rows. */
const OF_STATEMENTS = { settings: { "log-bin": "binlog", "binlog-format": "STATEMENT" } };

const WHEN_IT_COMES = { timeout: 30_000 };
const NAMES = Array.from({ length: 40 }, (_, i) => `many_${i}`);

/** A bed of `NAMES`, and the same by way of a network that takes its time. `server`: of a server of one's own. */
async function openFar(kind: (typeof SERVERS)[number], server?: string) {
  const bed = await openBed(kind, server);
  for (const name of NAMES) await bed.admin.query(`CREATE TABLE ${name} (id INT PRIMARY KEY)`);
  const proxy = await TcpProxy.start(bed.options.url);
  proxy.slow(3);
  const far = { ...bed.options, url: proxy.through(bed.options.url) };
  return {
    bed,
    far,
    proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await bed[Symbol.asyncDispose]();
    },
  };
}

async function triggersOf(bed: Bed, table: string): Promise<number> {
  const [rows] = await bed.admin.query(`SHOW TRIGGERS WHERE \`Table\` = '${table}'`);
  return (rows as unknown[]).length;
}

describe.each(SERVERS)("many tables on %s", (kind) => {
  it.skipIf(!available(kind))(
    "are captured anew with no lock held from one way to the server to the next",
    async () => {
      await using at = await openFar(kind);
      await at.bed.admin.query(NAMES.map((name) => `ALTER TABLE ${name} ADD a INT`).join("; "));
      const tables = await at.bed.capture(...NAMES);
      await using open = await openLog({ options: at.far }, tables);
      const before = at.proxy.turns;
      await open.log.capture(tables.map((table) => ({ ...table, columns: ["id"] })));
      // What replaces a layout is a transaction of our own tables: five ways. Each of the three triggers takes one.
      expect(at.proxy.turns - before).toBeLessThan(10 * NAMES.length);
      expect(await triggersOf(at.bed, NAMES[0] ?? "")).toBe(3);
      await at.bed.admin.query(`INSERT INTO ${NAMES[0]} VALUES (1, 2)`);
      expect((await cutOnce(open.log))?.changes).toMatchObject([{ row: ["1"] }]);
    },
  );

  it.skipIf(!available(kind))("are checked in few ways to the server", async () => {
    await using at = await openFar(kind);
    await using open = await openLog({ options: at.far }, await at.bed.capture(...NAMES));
    const before = at.proxy.turns;
    await open.log.batches.look?.();
    expect(at.proxy.turns - before).toBeLessThan(6);
  });

  // Who else uses the server holds tables for a moment, and each that is held takes a way of its own.
  it.skipIf(!canStart(kind as "mariadb" | "mysql"))(
    "are captured in few ways to the server, several at a time, and freed so too",
    async () => {
      await using server = await (kind === "mariadb" ? startMariadb() : startMysql());
      await using at = await openFar(kind, server.url);
      const tables = await at.bed.capture(...NAMES);
      const source = await mysql.openSource(at.far);
      const log = await source.openChangeLog();
      const open = at.proxy.connections;
      const [accepted, before] = [at.proxy.accepted, at.proxy.turns];
      await log?.capture(tables);
      expect(at.proxy.accepted - accepted).toBe(3);
      // A layout and three triggers each.
      expect(at.proxy.turns - before).toBeLessThan(6 * NAMES.length);
      await expect.poll(() => at.proxy.connections, WHEN_IT_COMES).toBe(open);
      // With nothing to do there is nobody to do it.
      const installed = at.proxy.accepted;
      await log?.capture(tables);
      expect(at.proxy.accepted).toBe(installed);
      await log?.close();
      await source.close();

      const catalog = await mysql.openCatalog(at.far);
      const still = at.proxy.turns;
      await catalog.uninstall();
      // Triggers of sixteen tables take one, our own tables another.
      expect(at.proxy.turns - still).toBeLessThan(10);
      expect(await catalog.planUninstall()).toEqual([]);
      await catalog.close();
    },
  );

  it.skipIf(!canStart(kind as "mariadb" | "mysql"))(
    "are captured where the binary log is of statements",
    async () => {
      const start = kind === "mariadb" ? startMariadb : startMysql;
      await using server = await start(OF_STATEMENTS);
      await using bed = await openBed(kind, server.url);
      for (const name of NAMES) await bed.admin.query(`CREATE TABLE ${name} (id INT PRIMARY KEY)`);
      await using open = await openLog(bed, await bed.capture(...NAMES));
      for (const name of NAMES) await bed.admin.query(`INSERT INTO ${name} VALUES (1)`);
      expect((await cutOnce(open.log))?.changes.length).toBe(NAMES.length);
    },
  );

  it.skipIf(!available(kind))("are looked at by an applier several at a time", async () => {
    await using at = await openFar(kind);
    const tables = await at.bed.capture(...NAMES);
    const target = await mysql.openTarget(at.far);
    const plan = await target.plan(tables.map((table) => asTarget(table)));
    await target.prepare(plan);
    at.proxy.slow(20);
    const open = at.proxy.connections;
    const opened = target.openApplier("a->b", plan.tables);
    await expect.poll(() => at.proxy.connections).toBe(open + 4);
    const session = await opened;
    expect(at.proxy.connections).toBe(open + 1);
    // Each of them may be written.
    const expected = await session?.load();
    const transaction = await session?.begin(expected as Progress);
    for (const table of plan.tables) await transaction?.put(table, [["1"]]);
    await transaction?.commit({ ...(expected as Progress), hash: "a" });
    await session?.close();
    await target.close();
  });

  it.skipIf(!available(kind))("are diagnosed together, and each unfit one is named", async () => {
    await using at = await openFar(kind);
    const tables = await at.bed.capture(...NAMES);
    await at.bed.admin.query(
      "ALTER TABLE many_7 ENGINE = MEMORY; ALTER TABLE many_31 ENGINE = MEMORY",
    );
    const source = await mysql.openSource(at.far);
    const before = at.proxy.turns;
    const findings = await source.diagnose(tables);
    const unfit = findings.filter(({ check }) => check === "table-unfit");
    expect(unfit.map(({ message }) => /many_\d+/.exec(message)?.[0])).toEqual([
      "many_7",
      "many_31",
    ]);
    expect(at.proxy.turns - before).toBeLessThan(7 * NAMES.length);
    await source.close();
  });

  it.skipIf(!available(kind))(
    "are freed in one session where the server gives no more",
    async () => {
      await using at = await openFar(kind);
      const { bed } = at;
      {
        await using _ = await openLog(bed, await bed.capture(...NAMES));
      }
      const user = `lone_${process.pid}`;
      await bed.admin.query(
        `DROP USER IF EXISTS '${user}'@'%';
         CREATE USER '${user}'@'%' IDENTIFIED BY 'one' WITH MAX_USER_CONNECTIONS 1;
         SET @sql = CONCAT('GRANT ALL ON ', DATABASE(), ".* TO '${user}'@'%'");
         PREPARE granting FROM @sql; EXECUTE granting`,
      );
      // With the binary log on; a MySQL server is told of it by a setting.
      if (kind === "mariadb") await bed.admin.query(`GRANT SUPER ON *.* TO '${user}'@'%'`);
      const catalog = await mysql.openCatalog(bed.as(user, "one"));
      await catalog.uninstall();
      expect(await catalog.planUninstall()).toEqual([]);
      await catalog.close();
      await bed.admin.query(`DROP USER '${user}'@'%'`);
    },
  );

  it.skipIf(!available(kind))(
    "may all be written where their uninstall was cut off, which can begin again",
    async () => {
      await using at = await openFar(kind);
      const { bed } = at;
      {
        await using _ = await openLog(bed, await bed.capture(...NAMES));
      }
      const write = async (id: number) => {
        for (const name of NAMES) await bed.admin.query(`INSERT INTO ${name} VALUES (${id})`);
      };
      const [rows] = await bed.admin.query(
        `SELECT EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS
         WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY TRIGGER_NAME`,
      );
      const inOrder = [...new Set((rows as string[][]).map(([table = ""]) => table))];
      const [busy = "", first = "", last = ""] = [inOrder[20], inOrder[0], inOrder.at(-1)];
      const other = await bed.connect();
      await other.query(`BEGIN; INSERT INTO ${busy} VALUES (1)`);
      const catalog = await mysql.openCatalog(at.far);
      const removed = catalog.uninstall().catch((error) => error);
      await expect.poll(() => triggersOf(bed, last), WHEN_IT_COMES).toBe(0);
      at.proxy.cut();
      expect(await removed).toMatchObject({ code: "TM-CONNECTION-LOST" });
      await catalog.close();
      expect(await triggersOf(bed, first)).toBe(0);
      expect(await triggersOf(bed, busy)).toBe(3);
      await other.query("ROLLBACK");
      await write(1);
      const again = await mysql.openCatalog(bed.options);
      await again.uninstall();
      expect(await again.planUninstall()).toEqual([]);
      await again.close();
      await write(2);
    },
  );

  it.skipIf(!available(kind))(
    "wait for one in use with those beside it freed, and no writer behind it held up",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query("CREATE TABLE busy (id INT PRIMARY KEY)");
      await bed.admin.query("CREATE TABLE u (id INT PRIMARY KEY)");
      {
        await using _ = await openLog(bed, await bed.capture("busy", "u"));
      }
      const other = await bed.connect();
      await other.query("BEGIN");
      await other.query("INSERT INTO busy VALUES (1)");
      const catalog = await mysql.openCatalog(bed.options);
      const removed = catalog.uninstall();
      await expect.poll(() => triggersOf(bed, "u"), WHEN_IT_COMES).toBe(0);
      expect(await triggersOf(bed, "busy")).toBe(3);
      await bed.admin.query("INSERT INTO busy VALUES (2)");
      await other.query("COMMIT");
      await removed;
      expect(await catalog.planUninstall()).toEqual([]);
      await catalog.close();
      await bed.admin.query("INSERT INTO busy VALUES (3)");
    },
  );
});

/** A text to the server takes the questions about so many tables, and the statement that moves progress: nothing more. */
const FULL = { tables: 1556, hash: "h".repeat(169) };

// On MySQL just so, and it takes far longer to make so many.
it.skipIf(!available("mariadb"))(
  "a commit over so many that it is several texts is told from one that another has made, heartbeats or not",
  async () => {
    await using bed = await openBed("mariadb");
    const names = Array.from({ length: FULL.tables }, (_, i) => `t${`${i}`.padStart(63, "0")}`);
    await bed.admin.query(
      names.map((name) => `CREATE TABLE ${name} (id INT PRIMARY KEY)`).join(";"),
    );
    const [some] = await bed.capture(names[0] ?? "");
    const target = await mysql.openTarget(bed.options);
    const plan = await target.plan(names.map((name) => asTarget(some as CaptureTable, name)));
    await target.prepare(plan);
    const session = (await target.openApplier("a->b", plan.tables)) as ApplierSession;
    const expected = await session.load();
    const transaction = await session.begin(expected);
    for (const table of plan.tables) await transaction.put(table, [["1"]]);
    const { rows } = Session.prototype;
    const texts: string[] = [];
    const spied = vi.spyOn(Session.prototype, "rows").mockImplementation(async function (
      this: Session,
      ...query
    ) {
      texts.push(query[0]);
      // As the lease's may, before any of them.
      await this.run("DO 1");
      return rows.apply(this, query);
    });
    const position = { batch: 1, chunk: 0 };
    try {
      await transaction.commit({ timeline: "t", position, hash: FULL.hash, tables: [] });
    } finally {
      spied.mockRestore();
    }
    expect(texts.length).toBeGreaterThan(1);
    expect(await session.loadPlace?.()).toMatchObject({ position });
    await session.close();
    await target.close();
  },
);
