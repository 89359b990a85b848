// Writes for which ordinary triggers do not run: a session, or a subscription, that writes what is replicated, and
// triggers that are switched off for a while. Each is captured, or stops the sync (G1, G8).
import type pg from "pg";
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, type FreshDatabase, freshDatabase } from "../servers/index.ts";
import { PATIENCE_MS } from "../support/test-bed.ts";
import { captureTables, changesOf, connect, line, optionsOf, SERVERS, SHAPES } from "./support.ts";

describe.each(SERVERS)("on %s", (kind) => {
  describe.skipIf(!available(kind))("what ordinary triggers miss", () => {
    const open: { close(): Promise<unknown> }[] = [];
    afterEach(async () => {
      for (const each of open.splice(0).reverse()) await each.close();
    });

    async function fresh(sql: string): Promise<{ database: FreshDatabase; owner: pg.Client }> {
      const database = await freshDatabase(kind);
      open.push({ close: async () => database[Symbol.asyncDispose]() });
      const owner = await connect(database.url);
      open.push({ close: () => owner.end() });
      await owner.query(sql);
      return { database, owner };
    }

    async function openLog(url: string): Promise<ChangeLog> {
      const source = await postgres.openSource(optionsOf(url));
      open.push(source);
      const log = (await source.openChangeLog()) as ChangeLog;
      open.push(log);
      return log;
    }

    async function captured(more = "") {
      const made = await fresh(`CREATE TABLE t (id int PRIMARY KEY, name text); ${more}`);
      const log = await openLog(made.database.url);
      await log.capture(await captureTables(made.database.url, ["t"]));
      return { ...made, log };
    }

    const lines = async (log: ChangeLog) => (await changesOf(await log.batches.cut())).map(line);

    /** The look at what is captured is not awaited by a cut, but the next one tells what it found. */
    const broken = (log: ChangeLog) =>
      expect
        .poll(
          () =>
            log.batches.cut().then(
              () => null,
              (error: { code: string }) => error.code,
            ),
          { timeout: PATIENCE_MS },
        )
        .toBe("TM-CAPTURE-BROKEN");

    it.each(SHAPES)("captures what a session writes as a replica: %s", async (_, more) => {
      const { owner, log } = await captured(more);
      await owner.query(
        `SET session_replication_role = replica; INSERT INTO t VALUES (1, 'a'), (2, 'b');
         UPDATE t SET name = 'c' WHERE id = 1; UPDATE t SET id = 3 WHERE id = 2; DELETE FROM t WHERE id = 1`,
      );
      expect(await lines(log)).toEqual([
        ...["insert 1,a", "insert 2,b", "update 1,c", "update 2", "update 3,b", "delete 1"],
      ]);
      await owner.query("TRUNCATE t");
      expect(await lines(log)).toEqual(["truncate"]);
    });

    it("captures it in partitions, whenever they were made", async () => {
      const { database, owner } = await fresh(
        `CREATE TABLE t (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)`,
      );
      const log = await openLog(database.url);
      await log.capture(await captureTables(database.url, ["t"]));
      await owner.query("CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (20)");
      await owner.query(
        "SET session_replication_role = replica; INSERT INTO t VALUES (1, 'a'); INSERT INTO high VALUES (11, 'b'); TRUNCATE low",
      );
      expect(await lines(log)).toEqual(["insert 1,a", "insert 11,b", "truncate 1"]);
    });

    it("leaves it out where the role does not own all partitions, and says so", async () => {
      const { database, owner } = await fresh(
        `CREATE TABLE t (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)`,
      );
      const role = `parts_${database.url.split("_").at(-1)}`;
      await owner.query(
        `CREATE ROLE ${role} LOGIN PASSWORD 'x'; ALTER TABLE t OWNER TO ${role};
         GRANT SELECT, TRIGGER ON low TO ${role}; GRANT CREATE ON DATABASE ${database.url.split("/").at(-1)} TO ${role}`,
      );
      open.push({ close: () => owner.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`) });
      const url = new URL(database.url);
      url.username = role;
      url.password = "x";
      const tables = await captureTables(database.url, ["t"]);
      const log = await openLog(url.href);
      await log.capture(tables);
      await owner.query("INSERT INTO t VALUES (1, 'a')");
      expect(await lines(log)).toEqual(["insert 1,a"]);
      const source = await postgres.openSource(optionsOf(url.href));
      open.push(source);
      const checks = (await source.diagnose(tables)).map(({ check }) => check);
      expect(checks).toContain("replica-sessions");
    });

    it("finds out that a trigger was disabled for a while, although all is as it was", async () => {
      const { owner, log } = await captured();
      await owner.query("INSERT INTO t VALUES (1, 'a')");
      expect(await lines(log)).toEqual(["insert 1,a"]);
      await owner.query(
        `BEGIN; ALTER TABLE t DISABLE TRIGGER USER; INSERT INTO t VALUES (2, 'unseen');
         ALTER TABLE t ENABLE ALWAYS TRIGGER tidemark_insert; ALTER TABLE t ENABLE ALWAYS TRIGGER tidemark_update;
         ALTER TABLE t ENABLE ALWAYS TRIGGER tidemark_delete; ALTER TABLE t ENABLE ALWAYS TRIGGER tidemark_key;
         ALTER TABLE t ENABLE ALWAYS TRIGGER tidemark_truncate; COMMIT`,
      );
      await broken(log);
    });

    it("finds it out at the next start, too, and of a partition", async () => {
      const { database, owner } = await fresh(
        `CREATE TABLE t (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)`,
      );
      const tables = await captureTables(database.url, ["t"]);
      const first = await openLog(database.url);
      await first.capture(tables);
      // With the first cut it is seen which partitions there are.
      await lines(first);
      await first.close();
      const second = await openLog(database.url);
      await second.capture(tables);
      await second.close();
      await owner.query(
        "BEGIN; ALTER TABLE low DISABLE TRIGGER USER; INSERT INTO t VALUES (2, 'unseen'); ALTER TABLE low ENABLE TRIGGER USER; COMMIT",
      );
      const third = await openLog(database.url);
      await expect(third.capture(tables)).rejects.toMatchObject({
        code: "TM-CAPTURE-BROKEN",
        message: expect.stringContaining("disabled for a while"),
      });
      await third.forget([{ schema: "public", name: "t" }]);
      await third.capture(tables);
      await owner.query("INSERT INTO t VALUES (3, 'seen')");
      expect(await lines(third)).toEqual(["insert 3,seen"]);
    });

    describe("with a subscription", () => {
      async function publisher(): Promise<{ from: FreshDatabase; writer: pg.Client }> {
        const { database: from, owner: writer } = await fresh(
          "CREATE TABLE t (id int PRIMARY KEY, name text); CREATE PUBLICATION all_of_it FOR TABLE t; INSERT INTO t VALUES (1, 'copied')",
        );
        return { from, writer };
      }

      /** From a database of the same server, where the slot must be made by itself. */
      async function subscribe(owner: pg.Client, from: FreshDatabase, writer: pg.Client) {
        const slot = `slot_${from.url.split("/").at(-1)}`;
        await writer.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
        open.push({
          close: async () => {
            await owner.query("ALTER SUBSCRIPTION sub DISABLE");
            await owner.query("ALTER SUBSCRIPTION sub SET (slot_name = NONE)");
            await owner.query("DROP SUBSCRIPTION sub");
            const dropped = () =>
              writer.query("SELECT pg_drop_replication_slot($1)", [slot]).then(
                () => true,
                () => false,
              );
            await expect.poll(dropped, { timeout: PATIENCE_MS }).toBe(true);
          },
        });
        await owner.query(
          `CREATE SUBSCRIPTION sub CONNECTION '${from.url}' PUBLICATION all_of_it WITH (create_slot = false, slot_name = '${slot}')`,
        );
      }

      it("captures what it writes", async () => {
        const { from, writer } = await publisher();
        const { database, owner } = await fresh("CREATE TABLE t (id int PRIMARY KEY, name text)");
        await subscribe(owner, from, writer);
        const log = await openLog(database.url);
        await log.capture(await captureTables(database.url, ["t"]));
        // What is written during the subscription's own copy may come with that, as it then stands.
        const state = () =>
          owner
            .query("SELECT srsubstate FROM pg_subscription_rel")
            .then(({ rows }) => rows.map(({ srsubstate }) => srsubstate));
        await expect.poll(state, { timeout: PATIENCE_MS }).toEqual(["r"]);
        await writer.query("INSERT INTO t VALUES (2, 'a'); UPDATE t SET name = 'b' WHERE id = 2");
        await writer.query("DELETE FROM t WHERE id = 2");
        const seen: string[] = [];
        await expect
          .poll(async () => seen.push(...(await lines(log))) && seen.slice(-3), {
            timeout: PATIENCE_MS,
          })
          .toEqual(["insert 2,a", "update 2,b", "delete 2"]);
      });

      it("stops when it comes to a table whose statements are captured", async () => {
        const { from, writer } = await publisher();
        const { owner, log } = await captured();
        await lines(log);
        await subscribe(owner, from, writer);
        await broken(log);
      });
    });
  });
});
