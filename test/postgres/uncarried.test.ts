// Tables that are captured and that no sync of the config carries any more: the application's writes go on whatever
// becomes of them, the relay never stops for them, and whoever carries one again is told what was missed (G1, G8).
import { afterEach, describe, expect, it, vi } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { PostgresChangeLog } from "../../src/databases/postgres/change-log.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, changesOf, connect, line, optionsOf, SERVERS, SHAPES } from "./support.ts";

/** A look that takes long, as on a busy machine, is made less often. */
const PATIENCE = { timeout: 60_000, interval: 50 };

describe.each(SERVERS)("a captured table that no sync carries any more, on %s", (kind) => {
  describe.skipIf(!available(kind))("when it is altered", () => {
    const open: { close(): Promise<unknown> }[] = [];
    afterEach(async () => {
      for (const each of open.splice(0).reverse()) await each.close();
    });

    /** `t` was captured, and `kept` is all that the relay is asked for from now on. */
    async function start(more = "", columns?: readonly string[]) {
      const database = await freshDatabase(kind);
      const owner = await connect(database.url);
      open.push({ close: async () => database[Symbol.asyncDispose]() });
      open.push({ close: () => owner.end() });
      await owner.query(`CREATE TABLE kept (id int PRIMARY KEY)`);
      await owner.query(`CREATE TABLE t (id int PRIMARY KEY, a text, b int); ${more}`);
      await owner.query("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, 'd', 4)");
      const both = [
        ...(await captureTables(database.url, ["kept"])),
        ...(await captureTables(database.url, ["t"], columns === undefined ? {} : { columns })),
      ];
      const first = await relay(database.url);
      await first.capture(both);
      await first.close();
      const log = await relay(database.url);
      const ours = await captureTables(database.url, ["kept"]);
      await log.capture(ours);
      /** Another relay, by a config that carries it again. */
      const back = async () => {
        await log.close();
        const next = await relay(database.url);
        await next.capture(await captureTables(database.url, ["kept", "t"]));
        return next;
      };
      return { database, owner, log, back };
    }

    async function relay(url: string): Promise<ChangeLog> {
      const log = (await PostgresChangeLog.open(optionsOf(url))) as ChangeLog;
      open.push(log);
      return log;
    }

    const lines = async (log: ChangeLog) => (await changesOf(await log.batches.cut())).map(line);

    /** Until a relay has seen what was altered, as it looks once a second, the statement may fail. */
    const eventually = (log: ChangeLog, work: () => Promise<unknown>) =>
      vi.waitFor(async () => {
        await log.batches.cut();
        await work();
      }, PATIENCE);

    it.each(SHAPES)("can be written when its key and a column are renamed: %s", async (_, more) => {
      const { owner, log, back } = await start(more, ["id", "a"]);
      await owner.query("ALTER TABLE t RENAME id TO code; ALTER TABLE t RENAME a TO z");
      await eventually(log, () => owner.query("DELETE FROM t WHERE code = 1"));
      await owner.query("INSERT INTO t VALUES (5, 'e', 5); INSERT INTO kept VALUES (1)");
      await owner.query(
        "UPDATE t SET z = 'y' WHERE code = 2; UPDATE t SET code = 30 WHERE code = 3",
      );
      expect(await lines(log)).toEqual([
        ...["delete 1", "insert", "insert 1", "update", "update 3", "update"],
      ]);
      // Once more, and there and back: capture goes on by what they are called now.
      await owner.query("ALTER TABLE t RENAME code TO id; ALTER TABLE t RENAME z TO a");
      await eventually(log, () => owner.query("DELETE FROM t WHERE id = 2"));
      expect(await lines(log)).toEqual(["delete 2"]);
      const next = await back();
      await owner.query("INSERT INTO t VALUES (6, 'f', 6)");
      expect(await lines(next)).toEqual(["insert 6,f,6"]);
    });

    it.each([
      ["a column added", "ALTER TABLE t ADD c int", "ALTER TABLE t DROP c"],
      ["a column dropped", "ALTER TABLE t DROP b", "ALTER TABLE t ADD b int"],
      ["a type", "ALTER TABLE t ALTER b TYPE text", "ALTER TABLE t ALTER b TYPE int USING b::int"],
      ["a name", "ALTER TABLE t RENAME TO u", "ALTER TABLE u RENAME TO t"],
    ])("stops nobody, and is captured as it is when it comes back: %s", async (_, alter, mend) => {
      const { owner, log, back } = await start();
      await owner.query("INSERT INTO t VALUES (5, 'e', 5)");
      expect(await lines(log)).toEqual(["insert 5,e,5"]);
      const table = alter.endsWith(" u") ? "u" : "t";
      await owner.query(
        `${alter}; INSERT INTO ${table} (id) VALUES (6); INSERT INTO kept VALUES (1)`,
      );
      await owner.query(`DELETE FROM ${table} WHERE id = 1`);
      expect(await lines(log)).toEqual(["insert", "insert 1", "delete 1"]);
      await owner.query(`${mend}; INSERT INTO t (id, a) VALUES (7, 'g')`);
      const next = await back();
      await owner.query("INSERT INTO t (id, a) VALUES (8, 'h')");
      expect(await lines(next)).toEqual(["insert", "insert 8,h,null"]);
    });

    it("logs rows whole when it is back, though nothing was written while it was altered", async () => {
      const { database, owner, log } = await start("", ["id", "a"]);
      await owner.query("ALTER TABLE t RENAME a TO z");
      await eventually(log, () => owner.query("UPDATE t SET z = z WHERE false"));
      await owner.query("ALTER TABLE t RENAME z TO a");
      const kept = await captureTables(database.url, ["kept"]);
      const both = [
        ...kept,
        ...(await captureTables(database.url, ["t"], { columns: ["id", "a"] })),
      ];
      let last = log;
      for (const tables of [both, kept]) {
        await last.close();
        last = await relay(database.url);
        await last.capture(tables);
        await last.batches.cut();
        await owner.query("UPDATE t SET a = 'y' WHERE id = 1");
        expect(await lines(last)).toEqual(["update 1,y"]);
      }
    });

    it("is neither captured anew nor unread for relays by both configs that take turns", async () => {
      const { database, owner, log, back } = await start();
      await owner.query("INSERT INTO t VALUES (5, 'e', 5)");
      await log.batches.cut();
      const next = await back();
      await owner.query("INSERT INTO t VALUES (6, 'f', 6)");
      expect(await lines(next)).toEqual(["insert 6,f,6"]);
      await next.close();
      const last = await relay(database.url);
      await last.capture(await captureTables(database.url, ["kept"]));
      await owner.query("INSERT INTO t VALUES (7, 'g', 7)");
      expect(await lines(last)).toEqual(["insert 7,g,7"]);
      const { rows } = await owner.query("SELECT FROM tidemark.layouts");
      expect(rows).toHaveLength(2);
    });

    it("is read by who knows the layout that was, and by the next relay, alike", async () => {
      const { database, owner, log } = await start();
      await owner.query("ALTER TABLE t ADD c int; INSERT INTO t VALUES (5, 'e', 5, 5)");
      const { header } = await log.batches.cut();
      await log.close();
      const next = await relay(database.url);
      await next.capture(await captureTables(database.url, ["kept"]));
      const pages = next.batches.pages(header?.batch ?? 0);
      expect((await changesOf({ pages })).map(line)).toEqual(["insert"]);
    });

    it("is told as broken when it comes back, once its key was another", async () => {
      const { database, owner, log, back } = await start(SHAPES[1][1]);
      await owner.query("ALTER TABLE t DROP id");
      await eventually(log, () => owner.query("DELETE FROM t WHERE b = 1"));
      await owner.query("INSERT INTO kept VALUES (1)");
      expect(await lines(log)).toEqual(["update", "insert 1"]);
      await owner.query("ALTER TABLE t ADD PRIMARY KEY (b)");
      await expect(back()).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
      const source = await postgres.openSource(optionsOf(database.url));
      open.push(source);
      const findings = await source.diagnose(await captureTables(database.url, ["kept"]));
      expect(findings).toContainEqual(
        expect.objectContaining({ check: "trigger-broken", severity: "warning" }),
      );
    });

    it("is told as broken when it comes back, once rows have gone that nobody logged", async () => {
      const { owner, log, back } = await start(
        `DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, a text, b int) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)`,
      );
      await owner.query("BEGIN ISOLATION LEVEL REPEATABLE READ; TRUNCATE low; COMMIT");
      await owner.query("INSERT INTO kept VALUES (1)");
      expect(await lines(log)).toContain("insert 1");
      await expect(back()).rejects.toMatchObject({
        code: "TM-CAPTURE-BROKEN",
        message: expect.stringContaining("no sync"),
      });
    });

    it("is named by diagnose while its writes fail", async () => {
      const { database, owner, log } = await start("", ["id", "a"]);
      const source = await postgres.openSource(optionsOf(database.url));
      open.push(source);
      const tables = await captureTables(database.url, ["kept"]);
      const found = async () =>
        (await source.diagnose(tables)).find(({ message }) => message.includes("public.t"));
      expect(await found()).toMatchObject({ check: "capture-uncarried", severity: "ok" });
      await owner.query("ALTER TABLE t RENAME a TO z");
      expect(await found()).toMatchObject({ check: "capture-uncarried", severity: "error" });
      await eventually(log, () => owner.query("INSERT INTO t VALUES (5, 'e', 5)"));
      expect(await found()).toMatchObject({ check: "capture-uncarried", severity: "ok" });
    });
  });
});
