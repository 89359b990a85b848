// What the application has locked at a target keeps the sync waiting: doctor tells who has it (G8).
import { describe, expect, it } from "vitest";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { connect, SERVERS } from "./support.ts";

const READER = "BEGIN; SELECT FROM t; PREPARE TRANSACTION";

const HELD = [
  ["a row", "UPDATE t SET a = 'theirs'", READER],
  ["a table", "LOCK TABLE t", "BEGIN; SELECT 1; PREPARE TRANSACTION"],
  ["a table that another one reads", "LOCK TABLE t IN EXCLUSIVE MODE", READER],
] as const;

describe.each(SERVERS)("a target on %s", (kind) => {
  it.skipIf(!available(kind)).each(HELD)("of which %s is locked", async (_, lock, innocent) => {
    await using bed = await TestBed.make({ source: kind, target: kind });
    const definition = bed.define([{ from: "source", to: "target", tables: ["public.t"] }]);
    const source = await connect(bed.database("source").url);
    const target = await connect(bed.database("target").url);
    const other = `reader ${new URL(bed.database("target").url).pathname}`;
    const gid = `it's ${new URL(bed.database("target").url).pathname}`;
    try {
      for (const each of [source, target]) {
        await each.query("CREATE TABLE t (id int PRIMARY KEY, a text)");
      }
      await source.query("INSERT INTO t VALUES (1, 'first')");
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const awaited = async () => {
        const told = await diagnose(definition, bed.logger);
        return told
          .flatMap(({ findings }) => findings)
          .filter(({ check }) => check === "lock-awaited");
      };
      expect(await awaited()).toEqual([]);

      // In nobody's way: it is not to be rolled back.
      await target.query(`${innocent} '${other}'`);
      await target.query(`BEGIN; ${lock}`);
      await source.query("UPDATE t SET a = 'second'");
      await expect.poll(awaited, { timeout: PATIENCE_MS }).toMatchObject([
        {
          severity: "warning",
          message: expect.stringContaining("(tidemark applier) waits for what session "),
          fix: expect.stringMatching(/pg_terminate_backend\(\d+\);$/),
        },
      ]);
      // Prepared, it is in no session any more.
      await target.query(`PREPARE TRANSACTION '${gid.replace("'", "''")}'`);
      const [found, ...others] = await awaited();
      expect(others).toEqual([]);
      expect(found?.message).toContain(`a prepared transaction, '${gid.replace("'", "''")}'`);
      await target.query(/ROLLBACK PREPARED '.*?';(?= --)/.exec(found?.fix ?? "")?.[0] ?? "");
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      expect((await target.query("SELECT a FROM t")).rows).toEqual([{ a: "second" }]);
    } finally {
      await target.query(`ROLLBACK PREPARED '${other}'`).catch(() => {});
      await target.query(`ROLLBACK PREPARED '${gid.replace("'", "''")}'`).catch(() => {});
      await Promise.all([source.end(), target.end()]);
    }
  });
});
