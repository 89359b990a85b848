// Tables that are read together for their first copy: few ways to the server, and nobody kept waiting.
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog, Chunk } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { readToEnd } from "../../src/testing/replica.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { captureTables, changesOf, connect, optionsOf, SERVERS } from "./support.ts";

const TABLES = 60;
const NAMES = Array.from({ length: TABLES }, (_, i) => `t${i}`);

describe.each(SERVERS)("small tables on %s", (kind) => {
  describe.skipIf(!available(kind))("copied together", () => {
    const open: { close(): Promise<unknown> }[] = [];
    afterEach(async () => {
      for (const each of open.splice(0).reverse()) await each.close();
    });

    /** `asking`: the condition of this one asks another table, `asked`. */
    async function start(asking?: string) {
      const database = await freshDatabase(kind);
      const owner = await connect(database.url);
      open.push({ close: async () => database[Symbol.asyncDispose]() });
      open.push({ close: () => owner.end() });
      const ddl = NAMES.map((name) => `CREATE TABLE ${name} (id int PRIMARY KEY, a bytea, b text)`);
      await owner.query(["CREATE TABLE asked ()", ...ddl].join("; "));
      for (const name of NAMES) {
        await owner.query(
          `INSERT INTO ${name} VALUES (1, '\\x00ff', E'tab\\tline\\n\\\\N'), (2, NULL, '')`,
        );
      }
      const proxy = await TcpProxy.start(database.url);
      open.push({ close: () => proxy[Symbol.asyncDispose]() });
      const source = await postgres.openSource(optionsOf(proxy.through(database.url)));
      const log = (await source.openChangeLog()) as ChangeLog;
      open.push(source, log);
      const tables = await captureTables(database.url, NAMES, { filters: ["id > 1"] });
      const asks = { filters: ["id > 1 OR EXISTS (SELECT FROM public.asked)"] };
      const layouts = await log.capture(
        tables.map((table) => (table.schema.name.name === asking ? { ...table, ...asks } : table)),
      );
      const nameOf = new Map(layouts.map(({ id, table }) => [id, table.name]));
      /** One cut that asks for these; gives the chunks, by the names of their tables. */
      const cut = async (names: readonly string[]) => {
        const asked = names.map((name) => {
          const table = { schema: "public", name };
          return { table, after: null, maxRows: 5_000, maxBytes: 1_000_000 };
        });
        const given = await log.batches.cut(asked);
        await changesOf(given);
        return new Map(given.chunks.map((chunk) => [nameOf.get(chunk.layout) ?? "", chunk]));
      };
      return { owner, proxy, cut };
    }

    const rowsOf = async (chunk: Chunk | undefined) =>
      chunk === undefined ? null : await readToEnd(chunk);

    it("cost few ways to the server, and come as they are", async () => {
      const { proxy, cut } = await start();
      // Else each piece of a long message is a turn of its own, answered before the next one comes.
      proxy.slow(3);
      const before = proxy.turns;
      const copied = new Set<string>();
      while (copied.size < TABLES) {
        const chunks = await cut(NAMES.filter((name) => !copied.has(name)));
        for (const [name, chunk] of chunks) {
          copied.add(name);
          expect(await rowsOf(chunk)).toMatchObject({
            rows: [
              ["1", "00ff", "tab\tline\n\\N"],
              ["2", null, ""],
            ],
            filters: [[false], [true]],
            done: true,
          });
        }
      }
      expect(proxy.turns - before).toBeLessThan(2 * TABLES);
    });

    it("are given up to one that somebody has locked, who may go on to any of them", async () => {
      const { owner, cut } = await start();
      expect([...(await cut(["t0", "t1"])).keys()]).toEqual(["t0"]);
      await owner.query("BEGIN; LOCK TABLE t2");
      expect([...(await cut(["t1", "t2"])).keys()]).toEqual(["t1"]);
      await owner.query("LOCK TABLE t1; COMMIT");
      expect([...(await cut(["t2", "t3"])).keys()]).toEqual(["t2", "t3"]);
    });

    it.each(["t1", "t2"])(
      "wait for what the condition of %s asks, with no other held",
      async (asking) => {
        const { owner, cut } = await start(asking);
        await cut(["t0"]);
        await owner.query("BEGIN; LOCK TABLE asked");
        const copying = (async () => {
          const chunks: (Chunk | undefined)[] = [];
          for (let left = ["t1", "t2"]; left.length > 0; ) {
            const given = await cut(left);
            chunks.push(...given.values());
            left = left.filter((name) => !given.has(name));
          }
          return Promise.all(chunks.map(rowsOf));
        })();
        const standing = async () => {
          const { rows } = await owner.query(
            `SELECT DISTINCT relation::regclass::text AS held FROM pg_locks
           WHERE relation IN ('t1'::regclass, 't2'::regclass) AND granted
             AND EXISTS (SELECT FROM pg_locks WHERE relation = 'asked'::regclass AND NOT granted)`,
          );
          return rows.map(({ held }) => held);
        };
        await expect.poll(standing, { timeout: 30_000 }).toEqual([asking]);
        await owner.query("COMMIT");
        for (const copied of await copying) expect(copied?.filters).toEqual([[false], [true]]);
      },
    );

    it("are not held where the first was written anew meanwhile", async () => {
      const { owner, cut } = await start();
      await cut(["t0"]);
      await owner.query("BEGIN; TRUNCATE t1");
      const given = cut(["t1", "t2"]);
      const waiting = async () =>
        (await owner.query("SELECT FROM pg_locks WHERE relation = 't1'::regclass AND NOT granted"))
          .rowCount;
      await expect.poll(waiting, { timeout: 30_000 }).toBe(1);
      await owner.query("COMMIT");
      expect([...(await given).keys()]).toEqual([]);
      await owner.query("SET lock_timeout TO '2s'; LOCK TABLE t1, t2");
    });

    it("are not held while a large one is read before them", async () => {
      const { owner, cut } = await start();
      await owner.query("INSERT INTO t3 SELECT i, NULL, 'x' FROM generate_series(3, 5000) i");
      expect([...(await cut(["t0"])).keys()]).toEqual(["t0"]);
      expect([...(await cut(["t1", "t2"])).keys()]).toEqual(["t1", "t2"]);
      const large = await cut(["t3", "t4", "t5"]);
      expect([...large.keys()]).toEqual(["t3"]);
      // Waits for nobody: the rows of the large one are still to be read.
      await owner.query("SET lock_timeout TO '2s'; LOCK TABLE t4, t5");
      expect((await rowsOf(large.get("t3")))?.rows.length).toBe(5_000);
    });
  });
});
