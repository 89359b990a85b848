// The guarded wake-up on a server where transactions cannot be prepared: there writers wake the relay.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { canStart, freshDatabase, type Server, startPostgres } from "../servers/index.ts";
import { captureTables, connect, optionsOf } from "./support.ts";

describe.skipIf(!canStart("postgres"))("wake-up", () => {
  let server: Server;
  beforeAll(async () => {
    server = await startPostgres({ settings: { max_prepared_transactions: 0 } });
  });
  afterAll(() => server?.stop());

  it("wakes the relay by the commit while the load is light, and never loses a change", async () => {
    await using database = await freshDatabase("postgres", { server: server.url });
    const application = await connect(database.url);
    await application.query("CREATE TABLE t (id int PRIMARY KEY)");
    const source = await postgres.openSource(optionsOf(database.url));
    const log = (await source.openChangeLog()) as ChangeLog;
    await log.capture(await captureTables(database.url, ["t"]));
    const ringing = async () => {
      const { rows } = await application.query(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 1953064037 AND objid = 1 AND mode = 'ExclusiveLock' AND granted",
      );
      return rows.length > 0;
    };
    const stop = new AbortController();
    try {
      for (let id = 1; id <= 5; id++) {
        const waiting = log.waitForChanges(stop.signal);
        await expect.poll(ringing, { interval: 5, timeout: 10_000 }).toBe(true);
        const from = performance.now();
        await application.query("INSERT INTO t VALUES ($1)", [id]);
        await waiting;
        // Far less than the sleeper's own look every few seconds: it was woken.
        expect(performance.now() - from).toBeLessThan(2_000);
        expect((await log.batches.cut()).header?.batch).toBe(id);
      }
      // Under load nobody is made to notify.
      log.observe?.(10_000);
      await expect.poll(ringing, { interval: 5, timeout: 10_000 }).toBe(false);
      // A writer at work keeps the relay from the lock, not from seeing others' commits.
      const other = await connect(database.url);
      await other.query("BEGIN; INSERT INTO t VALUES (100)");
      const waiting = log.waitForChanges(stop.signal);
      await application.query("INSERT INTO t VALUES (101)");
      await waiting;
      expect((await log.batches.cut()).header?.batch).toBe(6);
      await other.query("COMMIT");
      await other.end();
      await log.waitForChanges(stop.signal);
      expect((await log.batches.cut()).header?.batch).toBe(7);
      // When nothing comes any more, they are again.
      const quiet = log.waitForChanges(stop.signal);
      await expect.poll(ringing, { interval: 5, timeout: 10_000 }).toBe(true);
      // A ring that comes while the relay does something else is not lost.
      await application.query("INSERT INTO t VALUES (102)");
      await quiet;
      await application.query("INSERT INTO t VALUES (103)");
      await log.waitForChanges(stop.signal);
      expect((await log.batches.cut()).header?.batch).toBe(8);
      const aborted = log.waitForChanges(stop.signal);
      stop.abort();
      await aborted;
    } finally {
      await log.close();
      await source.close();
      await application.end();
    }
  });
});
