// A dump of a table carries our triggers, which stand again, alike, after its rows: it is found out all the same (G8).
import type { Connection } from "mysql2/promise";
import { describe, expect, it } from "vitest";
import { sleep } from "../../src/core/async.ts";
import { armFailpoint } from "../../src/core/failpoint.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { take } from "../../src/testing/replica.ts";
import { available } from "../servers/index.ts";
import { openBed, openLog, SERVERS } from "./bed.ts";

const BROKEN = { code: "TM-CAPTURE-BROKEN" };
const ROWS =
  "SELECT seq FROM (WITH RECURSIVE s (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < 50) SELECT seq FROM s) n";

type Text = Record<string, string>;

/** The statements that mysqldump writes of a table's triggers. */
async function triggersOf(admin: Connection, table: string): Promise<string[]> {
  const statements: string[] = [];
  const [triggers] = await admin.query({ sql: "SHOW TRIGGERS LIKE ?", rowsAsArray: false }, [
    table,
  ]);
  for (const { Trigger: name } of triggers as unknown as Text[]) {
    const sql = `SHOW CREATE TRIGGER \`${name}\``;
    const [created] = await admin.query({ sql, rowsAsArray: false });
    statements.push((created as unknown as Text[])[0]?.["SQL Original Statement"] ?? "");
  }
  return statements;
}

/** A dump of a table, as a function that loads it. */
async function dump(admin: Connection, table: string): Promise<() => Promise<void>> {
  const triggers = await triggersOf(admin, table);
  await admin.query(`CREATE TABLE \`kept_${table}\` AS SELECT * FROM \`${table}\``);
  const [created] = await admin.query({
    sql: `SHOW CREATE TABLE \`${table}\``,
    rowsAsArray: false,
  });
  const create = (created as unknown as Text[])[0]?.["Create Table"] ?? "";
  return async () => {
    await admin.query(
      `DROP TABLE \`${table}\`; ${create}; INSERT INTO \`${table}\` SELECT * FROM \`kept_${table}\``,
    );
    for (const trigger of triggers) await admin.query(trigger);
  };
}

/** When each of our triggers was made, those that stand in for one left out. */
async function timesMade(admin: Connection): Promise<Map<string, string>> {
  const [rows] = await admin.query(
    "SELECT TRIGGER_NAME, CREATED FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
  );
  return new Map(rows as unknown as [string, string][]);
}

const POLLING = { timeout: 30_000, interval: 20 };

describe.each(SERVERS)("a table that is put back on %s", (kind) => {
  const test = it.skipIf(!available(kind));

  test.each(["id INT PRIMARY KEY", "id INT"])(
    "from a dump of it, with its triggers, stops: %s",
    async (column) => {
      await using bed = await openBed(kind);
      await bed.admin.query(`CREATE TABLE t (${column}); INSERT INTO t ${ROWS}`);
      const tables = await bed.capture("t");
      {
        await using open = await openLog(bed, tables);
        const load = await dump(bed.admin, "t");
        await bed.admin.query("INSERT INTO t VALUES (61), (62); DELETE FROM t WHERE id = 1");
        expect((await take(open.log.batches)).changes).toHaveLength(3);
        await load();
        await bed.admin.query("INSERT INTO t VALUES (70)");
        await expect(open.log.batches.look?.()).rejects.toMatchObject(BROKEN);
      }
      await expect(openLog(bed, tables)).rejects.toMatchObject(BROKEN);
      const source = await mysql.openSource(bed.options);
      const findings = await source.diagnose(tables);
      expect(findings).toContainEqual(
        expect.objectContaining({ check: "trigger-broken", severity: "error" }),
      );
      await source.close();
      // The way out that the message names.
      {
        const log = await (await mysql.openSource(bed.options)).openChangeLog();
        await log?.forget([{ schema: null, name: "t" }]);
        await log?.close();
      }
      await (await openLog(bed, tables))[Symbol.asyncDispose]();
      await using open = await openLog(bed, tables);
      await open.log.batches.look?.();
    },
  );

  test.each([
    ["column", "ADD COLUMN m INT"],
    // Of which the replaced layout is told as well (MariaDB).
    ["unique key", "ADD UNIQUE (n)"],
  ])(
    "what a start has made that failed half way is not taken for another's: a new %s",
    async (_, change) => {
      await using bed = await openBed(kind);
      await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY, n INT)");
      await (await openLog(bed, await bed.capture("t")))[Symbol.asyncDispose]();
      await bed.admin.query(`ALTER TABLE t ${change}`);
      const tables = await bed.capture("t");
      armFailpoint("capture-half:kill", () => {
        throw new Error("half way");
      });
      await expect(openLog(bed, tables)).rejects.toThrow("half way");
      await using open = await openLog(bed, tables);
      await open.log.batches.look?.();
    },
  );

  test.each([
    // What stood when the start began to look, and what it has made itself.
    ["has yet to make anew", ["held", "t"], false],
    ["has made anew", ["t", "held"], true],
  ] as const)(
    "is found out where a start waits for another table, and %s its triggers",
    async (_, order, made) => {
      await using bed = await openBed(kind);
      for (const table of order) {
        await bed.admin.query(`CREATE TABLE ${table} (id INT PRIMARY KEY)`);
      }
      await bed.admin.query(`INSERT INTO t ${ROWS}`);
      await (await openLog(bed, await bed.capture(...order)))[Symbol.asyncDispose]();
      for (const table of order) await bed.admin.query(`ALTER TABLE ${table} ADD COLUMN m INT`);
      const tables = await bed.capture(...order);
      const holder = await bed.connect();
      await holder.query("START TRANSACTION; SELECT * FROM held");
      const stood = await timesMade(bed.admin);
      const opened = expect(openLog(bed, tables)).rejects.toMatchObject(BROKEN);
      await expect
        .poll(async () => {
          const [[waits]] = (await bed.admin.query(
            "SELECT COUNT(*) FROM tidemark_layouts WHERE table_name = 'held' AND active AND triggers IS NULL",
          )) as unknown as [[[string]]];
          const now = await timesMade(bed.admin);
          const anew = [...stood].filter(([name, at]) => now.get(name) !== at);
          return [Number(waits), anew.length];
        }, POLLING)
        .toEqual([1, made ? 3 : 0]);
      const load = await dump(bed.admin, "t");
      await bed.admin.query("DELETE FROM t WHERE id = 1");
      await load();
      await holder.query("ROLLBACK");
      await opened;
      await expect(openLog(bed, tables)).rejects.toMatchObject(BROKEN);
    },
  );

  test("with the log itself, as by a dump of the database, is for the log to tell", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t ${ROWS}`);
    const tables = await bed.capture("t");
    await (await openLog(bed, tables))[Symbol.asyncDispose]();
    const loads = [];
    for (const table of ["tidemark_change_log", "t"]) loads.push(await dump(bed.admin, table));
    // The server tells of a table to the second when it was made.
    const since = `SELECT CREATE_TIME < NOW() - INTERVAL 1 SECOND FROM information_schema.TABLES
      WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'tidemark_change_log'`;
    for (;;) {
      const [rows] = await bed.admin.query(since);
      if (`${rows}` === "1") break;
      await sleep(20);
    }
    for (const load of loads) await load();
    // Whose message leads to the page of that.
    await expect(openLog(bed, tables)).rejects.toMatchObject({ code: "TM-TRUNCATE-UNSEEN" });
    await bed.admin.query("UPDATE tidemark_layouts SET table_id = NULL");
    await (await openLog(bed, tables))[Symbol.asyncDispose]();
  });
});
