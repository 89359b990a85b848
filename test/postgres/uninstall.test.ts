// Taking capture off again, while the application goes on writing.
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { captureTables, connect, optionsOf, SERVERS } from "./support.ts";

describe.each(SERVERS)("uninstall on %s", (kind) => {
  describe.skipIf(!available(kind))("of captured tables", () => {
    const open: { close(): Promise<unknown> }[] = [];
    afterEach(async () => {
      for (const each of open.splice(0).reverse()) await each.close();
    });

    /** Captures the tables of `ddl`, which every session may then write. */
    async function start(ddl: readonly string[], names: readonly string[], filters?: string[]) {
      const database = await freshDatabase(kind);
      const application = await connect(database.url);
      open.push({ close: async () => database[Symbol.asyncDispose]() });
      open.push({ close: () => application.end() });
      await application.query(ddl.join("; "));
      const source = await postgres.openSource(optionsOf(database.url));
      const log = (await source.openChangeLog()) as ChangeLog;
      const tables = await captureTables(database.url, names);
      await log.capture(filters ? tables.map((table) => ({ ...table, filters })) : tables);
      await log.close();
      await source.close();
      const proxy = await TcpProxy.start(database.url);
      open.push({ close: () => proxy[Symbol.asyncDispose]() });
      const catalog = await postgres.openCatalog(optionsOf(proxy.through(database.url)));
      open.push(catalog);
      const functions = async (table: string) => {
        const { rows } = await application.query(
          `SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace('tidemark')
             AND proname LIKE 'capture_%_' || $1::regclass::oid`,
          [table],
        );
        return rows.length;
      };
      return { database, application, proxy, catalog, functions };
    }

    it("costs few ways to the server, however many tables there are", async () => {
      const names = Array.from({ length: 40 }, (_, i) => `many_${i}`);
      const ddl = names.map((name) => `CREATE TABLE ${name} (id int PRIMARY KEY, name text)`);
      const { proxy, catalog } = await start(ddl, names);
      // Else each piece of a long message is a turn of its own, answered before the next one comes.
      proxy.slow(3);
      const before = proxy.turns;
      await catalog.uninstall();
      expect(proxy.turns - before).toBeLessThan(names.length);
      expect(await catalog.planUninstall()).toEqual([]);
    });

    it("waits for a table in use, with those beside it freed and no writer behind it held up", async () => {
      const { database, application, catalog, functions } = await start(
        ["CREATE TABLE busy (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)"],
        ["busy", "u"],
      );
      const other = await connect(database.url);
      open.push({ close: () => other.end() });
      await other.query("BEGIN; INSERT INTO busy VALUES (1)");
      const removed = catalog.uninstall();
      await expect.poll(() => functions("u"), { timeout: 30_000 }).toBe(0);
      expect(await functions("busy")).toBe(5);
      await application.query("INSERT INTO busy VALUES (2); INSERT INTO u VALUES (2)");
      await other.query("COMMIT");
      await removed;
      expect(await catalog.planUninstall()).toEqual([]);
      await application.query("INSERT INTO busy VALUES (3); INSERT INTO u VALUES (3)");
    });

    it("breaks no write of a table with a filter, wherever it ends", async () => {
      const { application, catalog } = await start(
        ["CREATE TABLE t (id int PRIMARY KEY)"],
        ["t"],
        ["id > 0"],
      );
      for (const [step, statement] of (await catalog.planUninstall()).entries()) {
        await application.query(statement);
        await application.query("INSERT INTO t VALUES ($1)", [step]);
      }
      expect(await catalog.planUninstall()).toEqual([]);
    });
  });
});
