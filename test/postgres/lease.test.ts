// One holder at a time (G2).
import type { Client } from "pg";
import { describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { Connection } from "../../src/databases/postgres/connection.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { captureTables, connect, optionsOf, SERVERS } from "./support.ts";

/** Of all sessions, with their passwords. */
const FEW_WAYS = 28;
/** With all that is made in the source. */
const WAYS_AT_FIRST = 44;

describe.each(SERVERS)("the lease on %s", (kind) => {
  it.skipIf(!available(kind))("is free half a minute after its machine vanished", async () => {
    await using database = await freshDatabase(kind);
    const connection = await Connection.open(optionsOf(database.url), "relay");
    try {
      const [row] = await connection.rows(
        `SELECT inet_server_addr() IS NOT NULL, current_setting('tcp_keepalives_idle')::int
           + current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int`,
      );
      // Over a socket of the same machine there is nothing to find out: the settings read 0.
      expect(row).toEqual(row?.[0] === "t" ? ["t", "30"] : ["f", "0"]);
    } finally {
      await connection.close();
    }
  });

  it.skipIf(!available(kind))(
    "ends what a relay that has lost it still has under way, before the next one looks",
    async () => {
      await using database = await freshDatabase(kind);
      const application = await connect(database.url);
      await application.query("CREATE TABLE t (id int PRIMARY KEY)");
      const tables = await captureTables(database.url, ["t"]);
      const sources = await Promise.all([open(database.url), open(database.url)]);
      try {
        const [first, second] = sources;
        const old = (await first.openChangeLog()) as ChangeLog;
        await application.query("BEGIN; LOCK TABLE t");
        const capturing = old.capture(tables);
        capturing.catch(() => {});
        await until(application, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
        // Its first session ends, and the others know nothing of it.
        await application.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'tidemark relay'`);
        let log: ChangeLog | null = null;
        while (log === null) log = await second.openChangeLog();
        await expect(old.stats()).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
        const captured = log.capture(tables);
        await expect(capturing).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
        await application.query("COMMIT");
        expect(await captured).toHaveLength(1);
        await log.close();
        await old.close();
      } finally {
        await Promise.all(sources.map((source) => source.close()));
        await application.end();
      }
    },
  );

  it.skipIf(!available(kind))("is asked for in few ways to the server", async () => {
    await using database = await freshDatabase(kind);
    const admin = await connect(database.url);
    await admin.query("CREATE TABLE t (id int PRIMARY KEY)");
    await admin.end();
    const tables = await captureTables(database.url, ["t"]);
    await using proxy = await TcpProxy.start(database.url);
    const source = await postgres.openSource(optionsOf(proxy.through(database.url)));
    const capture = async () => {
      const log = await source.openChangeLog();
      await log?.capture(tables);
      return log;
    };
    proxy.slow(3);
    const atFirst = proxy.turns;
    await (await capture())?.close();
    expect(proxy.turns - atFirst).toBeLessThan(WAYS_AT_FIRST);

    // With all that is there, and all sessions beside each other: each takes two for its password, and one.
    const before = { turns: proxy.turns, accepted: proxy.accepted };
    const log = await capture();
    expect(proxy.accepted - before.accepted).toBe(3);
    expect(proxy.turns - before.turns).toBeLessThan(FEW_WAYS);
    expect(proxy.connections).toBe(3);

    // While it is another's, no more is opened than it takes to ask.
    const other = await postgres.openSource(optionsOf(proxy.through(database.url)));
    for (const sessions of [2, 1, 1]) {
      const { accepted } = proxy;
      expect(await other.openChangeLog()).toBeNull();
      expect(proxy.accepted - accepted).toBe(sessions);
    }
    await other.close();
    await log?.close();
    await source.close();
    await expect.poll(() => proxy.connections).toBe(0);
  });

  it.skipIf(!available(kind))("leaves no session that nothing was captured in", async () => {
    await using database = await freshDatabase(kind);
    await using proxy = await TcpProxy.start(database.url);
    const source = await postgres.openSource(optionsOf(proxy.through(database.url)));
    const log = await source.openChangeLog();
    await log?.close();
    await source.close();
    await expect.poll(() => proxy.connections).toBe(0);
  });
});

const open = (url: string) => postgres.openSource(optionsOf(url));

async function until(client: Client, condition: string): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ exists: boolean }>(condition);
    if (rows[0]?.exists === true) return;
  }
}
