// What has to lock a table of a source waits for those who have written it, and says so (G1, G8).
import { expect, it } from "vitest";
import { Connection } from "../../src/databases/postgres/connection.ts";
import { againWhileLocked, withShortLocks } from "../../src/databases/postgres/locks.ts";
import { uninstall } from "../../src/databases/postgres/uninstall.ts";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { connect, optionsOf } from "./support.ts";

const WAITING = "waiting for a transaction that has it locked to end";

it.skipIf(!available("postgres"))(
  "a first capture, and uninstall, wait for a transaction that has written the table, and name it",
  async () => {
    await using bed = await TestBed.make({ source: "postgres", target: "sqlite" });
    const { url } = bed.database("source");
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    const writer = await connect(url);
    const connection = await Connection.open(optionsOf(url), "catalog");
    const toldTimes = () => bed.logger.text().split(WAITING).length - 1;
    try {
      await source.run("CREATE TABLE t (id int PRIMARY KEY)");
      await writer.query("BEGIN; INSERT INTO t VALUES (1)");
      const started = bed.start(
        bed.define([{ from: "source", to: "target", tables: ["public.t"] }]),
      );
      await expect.poll(toldTimes, { timeout: PATIENCE_MS }).toBeGreaterThan(0);
      expect(bed.logger.text()).toContain("what: 'Table public.t'");
      await expect(
        withShortLocks(connection, () =>
          againWhileLocked({ what: "Table public.t", logger: bed.logger, forMs: 0 }, () =>
            connection.script("ALTER TABLE public.t ADD COLUMN n int"),
          ),
        ),
      ).rejects.toMatchObject({
        code: "TM-TABLE-HELD",
        // A relay that has given up tries again, however long it takes.
        retryable: true,
        fix: expect.stringContaining("pg_stat_activity"),
      });
      await writer.query("COMMIT");
      const pipeline = await started;
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      expect(await target.rows("SELECT id FROM t")).toEqual([{ id: "1" }]);
      await bed.stop(pipeline);

      await writer.query("BEGIN; INSERT INTO t VALUES (2)");
      const before = toldTimes();
      const removed = uninstall(connection, bed.logger);
      await expect.poll(toldTimes, { timeout: PATIENCE_MS }).toBeGreaterThan(before);
      expect(bed.logger.text()).toMatch(/what: 'What is to go \(DROP FUNCTION tidemark\./);
      await writer.query("COMMIT");
      await removed;
    } finally {
      await connection.close();
      await writer.end();
    }
  },
);
