// The queue of notifications is the server's, shared by all its databases: one that others have filled fails each commit
// that notifies. The application's writes must not (G1).
import { expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { canStart, freshDatabase, startPostgres } from "../servers/index.ts";
import { captureTables, connect, optionsOf } from "./support.ts";

it.skipIf(!canStart("postgres-newest"))(
  "a full queue of notifications fails no write of the application, and loses no change",
  async () => {
    await using server = await startPostgres({
      version: "newest",
      settings: { max_prepared_transactions: 0, max_notify_queue_pages: 64 },
    });
    await using database = await freshDatabase("postgres-newest", { server: server.url });
    const [application, stuck] = [await connect(database.url), await connect(server.url)];
    await application.query("CREATE TABLE t (id int PRIMARY KEY)");
    const source = await postgres.openSource(optionsOf(database.url));
    const log = (await source.openChangeLog()) as ChangeLog;
    try {
      await log.capture(await captureTables(database.url, ["t"]));
      const stop = new AbortController();
      const waiting = log.waitForChanges(stop.signal);
      await expect
        .poll(() => application.query(RINGING).then(({ rows }) => rows.length), { interval: 5 })
        .toBe(1);
      // It hears of nothing until its transaction ends, and nothing that it has yet to hear of may go.
      await stuck.query("LISTEN others");
      await stuck.query("BEGIN; SELECT 1");
      const filling =
        "SELECT pg_notify('others', repeat('x', 7000) || i) FROM generate_series(1, 40) i";
      await expect(
        (async () => {
          for (;;) await application.query(filling);
        })(),
      ).rejects.toThrow("too many notifications in the NOTIFY queue");
      await application.query("INSERT INTO t VALUES (1)");
      await waiting;
      expect((await log.batches.cut()).header?.batch).toBe(1);
      const findings = await source.diagnose([]);
      expect(findings.map(({ check }) => check)).toContain("notifications-pending");
      await stuck.query("COMMIT");
    } finally {
      await log.close();
      await source.close();
      await Promise.all([application.end(), stuck.end()]);
    }
  },
);

/** The relay sleeps, and each writer is to wake it. */
const RINGING =
  "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 1953064037 AND objid = 1 AND mode = 'ExclusiveLock' AND granted";
