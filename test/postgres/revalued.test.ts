// Statements of which no trigger is told, that give rows other values and leave names and types as they were. Each
// stops the sync (G1, G8); what only looks like one does not.
import type pg from "pg";
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, changesOf, connect, optionsOf, SERVERS } from "./support.ts";

const TABLE = `CREATE TYPE mood AS ENUM ('ok', 'bad'); CREATE TYPE pair AS (a int, b int);
  CREATE TABLE t (id int PRIMARY KEY, name text, moods mood[], two pair);
  INSERT INTO t SELECT i, 'Name', '{ok}', (1, 2)::pair FROM generate_series(1, 20) i`;
const PARTITIONED = `CREATE TABLE t (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
  CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (20);
  INSERT INTO t SELECT i, 'Name' FROM generate_series(1, 19) i`;
const LOWER = "ALTER TABLE t ALTER name TYPE text USING lower(name)";

describe.each(SERVERS)("on %s", (kind) => {
  describe.skipIf(!available(kind))("rows get other values", () => {
    const open: { close(): Promise<unknown> }[] = [];
    afterEach(async () => {
      for (const each of open.splice(0).reverse()) await each.close();
    });

    async function captured(sql: string, more: Parameters<typeof captureTables>[2] = {}) {
      const database = await freshDatabase(kind);
      open.push({ close: async () => database[Symbol.asyncDispose]() });
      const owner: pg.Client = await connect(database.url);
      open.push({ close: () => owner.end() });
      await owner.query(sql);
      await settled(owner);
      const tables = await captureTables(database.url, ["t"], more);
      const again = async (table = "t"): Promise<ChangeLog> => {
        const source = await postgres.openSource(optionsOf(database.url));
        open.push(source);
        const log = (await source.openChangeLog()) as ChangeLog;
        open.push(log);
        await log.capture(table === "t" ? tables : await captureTables(database.url, [table]));
        return log;
      };
      const findings = async () => {
        const source = await postgres.openSource(optionsOf(database.url));
        open.push(source);
        return (await source.diagnose(tables)).map(({ check }) => check);
      };
      const log = await again();
      // With the first cut it is seen which partitions there are.
      await logged(log);
      return { owner, log, again, findings, url: database.url };
    }

    // Rows are old where no transaction from before them is open, whoever's.
    async function settled(owner: pg.Client): Promise<void> {
      const { rows } = await owner.query("SELECT pg_current_xact_id()::text AS now");
      const isPast = "SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8 AS yes";
      await expect
        .poll(async () => (await owner.query(isPast, [rows[0].now])).rows[0].yes, {
          timeout: 60_000,
        })
        .toBe(true);
    }

    const logged = async (log: ChangeLog) => changesOf(await log.batches.cut());

    const seen = (what: RegExp) => ({
      code: "TM-CAPTURE-BROKEN",
      message: expect.stringMatching(what),
    });

    it.each([
      ["by ALTER … USING", TABLE, LOWER, /column name was altered/],
      ["by the same of partitions", PARTITIONED, LOWER, /column name was altered/],
      [
        "by a label's new name",
        TABLE,
        "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
        /column moods reads otherwise in rows that stand, too: label ok is now label fine/,
      ],
      [
        "by a composite type",
        TABLE,
        "ALTER TYPE pair ADD ATTRIBUTE c int CASCADE",
        /column two reads otherwise .*: \(integer, integer\) is now/,
      ],
      [
        "by a label deeper within",
        `CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN felt AS mood; CREATE TYPE pair AS (a felt[], b int);
         CREATE TABLE t (id int PRIMARY KEY, name text, two pair)`,
        "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
        /column two reads otherwise .*: label ok is now label fine/,
      ],
    ])("%s", async (_title, table, statement, what) => {
      const { owner, log, again, findings } = await captured(table);
      await owner.query(statement);
      await owner.query("INSERT INTO t (id, name) VALUES (0, 'later')");
      await expect(log.batches.look?.()).rejects.toMatchObject(seen(what));
      await log.close();
      await expect(again()).rejects.toMatchObject(seen(what));
      expect(await findings()).toContain("trigger-broken");
    });

    it("while nothing runs, with more that is done to the table since", async () => {
      const { owner, log, again } = await captured(TABLE);
      await log.close();
      for (const sql of [LOWER, "GRANT SELECT (name) ON t TO PUBLIC", "VACUUM FULL t"])
        await owner.query(sql);
      await expect(again()).rejects.toMatchObject(seen(/column name was altered/));
    });

    it("where the account may read some columns only", async () => {
      const { owner, log, url } = await captured(TABLE);
      await log.close();
      const name = new URL(url).pathname.slice(1);
      const role = `${name}_reader`;
      open.push({ close: () => owner.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`) });
      await owner.query(
        `DROP SCHEMA tidemark CASCADE; CREATE ROLE ${role} LOGIN PASSWORD 'tidemark';
         GRANT CREATE ON DATABASE ${name} TO ${role}; GRANT SELECT (id, name), TRIGGER ON t TO ${role}`,
      );
      const own = new URL(url);
      [own.username, own.password] = [role, "tidemark"];
      const tables = await captureTables(own.href, ["t"], { columns: ["id", "name"] });
      const source = await postgres.openSource(optionsOf(own.href));
      open.push(source);
      const limited = (await source.openChangeLog()) as ChangeLog;
      open.push(limited);
      await limited.capture(tables);
      await logged(limited);
      await owner.query(LOWER);
      await expect(limited.batches.look?.()).rejects.toMatchObject(seen(/column name was altered/));
      const findings = (await source.diagnose(tables)).map(({ check }) => check);
      expect(findings).toContain("trigger-broken");
    });

    it("while a sync that does not carry the table reads the log", async () => {
      const { owner, log, again } = await captured(`${TABLE}; CREATE TABLE u (id int PRIMARY KEY)`);
      await log.close();
      const other = await again("u");
      await owner.query(LOWER);
      await owner.query("INSERT INTO u VALUES (1)");
      await logged(other);
      await other.batches.look?.();
      await other.close();
      await expect(again()).rejects.toMatchObject(seen(/column name was altered/));
    });

    it("not where one partition alone is written anew, and a column altered otherwise", async () => {
      const many = PARTITIONED.replace(
        "low PARTITION OF t FOR VALUES FROM (0)",
        "low PARTITION OF t FOR VALUES FROM (-20000)",
      );
      const { owner, log } = await captured(many);
      await owner.query(
        "TRUNCATE low; INSERT INTO t SELECT -i, 'x' FROM generate_series(1, 15000) i",
      );
      await owner.query("ALTER TABLE t ALTER name SET DEFAULT ''");
      await logged(log);
      await log.batches.look?.();
    });

    it("not where all rows are young, as long as they are not younger than the last look", async () => {
      const { owner, log } = await captured(
        "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1); ALTER TABLE t ADD more int DEFAULT 7",
      );
      await owner.query("DELETE FROM t; INSERT INTO t VALUES (2)");
      await owner.query("SET synchronous_commit TO off");
      await owner.query(
        "DO $$ BEGIN FOR i IN 1..100000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
      );
      await settled(owner);
      // Brings the next look on.
      await owner.query("REINDEX INDEX CONCURRENTLY t_pkey");
      await log.batches.look?.();
      // Writes the column's row, too, in which the default was that rows of before had.
      await owner.query("VACUUM FULL t");
      await log.batches.look?.();
      expect(await logged(log)).toHaveLength(2);
    });

    it("not where a generated column is computed otherwise, which no target gets", async (context) => {
      const { owner, log } = await captured(
        "CREATE TABLE t (id int PRIMARY KEY, more int GENERATED ALWAYS AS (id + 1) STORED); INSERT INTO t VALUES (1)",
        { columns: ["id"], takesNewColumns: true },
      );
      const version = await owner.query("SHOW server_version_num");
      if (Number(version.rows[0].server_version_num) < 170_000)
        context.skip("PostgreSQL 17 has it");
      await owner.query("ALTER TABLE t ALTER more SET EXPRESSION AS (id + 2)");
      await log.batches.look?.();
    });

    it("not where a type has but another name", async () => {
      const { owner, log } = await captured(
        "CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN d AS mood; CREATE TABLE t (id int PRIMARY KEY, name d)",
      );
      await owner.query("ALTER TYPE mood RENAME TO mode");
      await log.batches.look?.();
    });

    it("not where the table is written anew as it stands, and a column altered otherwise", async () => {
      for (const table of [TABLE, PARTITIONED]) {
        const { owner, log, again } = await captured(table);
        const either = ["ALTER TABLE t ALTER name SET NOT NULL", "VACUUM FULL t"];
        for (const sql of either) await owner.query(sql);
        if (table === TABLE) await owner.query("ALTER TYPE mood ADD VALUE 'new'");
        await owner.query("INSERT INTO t (id, name) VALUES (0, 'later')");
        expect(await logged(log)).toHaveLength(1);
        await log.close();
        for (const sql of either) await owner.query(sql);
        const later = await again();
        await owner.query("UPDATE t SET name = 'last' WHERE id = 0");
        expect(await logged(later)).toHaveLength(1);
      }
    });
  });
});
