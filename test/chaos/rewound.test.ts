// A source that is restored to the past, or replaced by a copy, is another history. Going on as if
// nothing had happened would leave the target wrong for good, so the pipeline stops and names it (G8).
import { describe, expect, test } from "vitest";
import { available } from "../servers/index.ts";
import { backupOf } from "../support/backup.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { dialectOf, withSql } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

describe.each(["sqlite", "postgres", "mariadb", "mysql"] as const)("%s", (kind) => {
  const backup = backupOf(kind);
  test.skipIf(!available(kind) || backup === null).each(["fewer", "more"] as const)(
    "restored to the past, and gone on with %s batches than were published",
    async (batches) => {
      await using bed = await TestBed.make({ source: kind, target: "sqlite" });
      const source = bed.database("source");
      await withSql(source, async (sql) => {
        await createTables(sql, kind, [CUSTOMERS]);
        await insertRow(sql, CUSTOMERS, { id: 1, name: "first", credit: 0 });
      });
      const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const insert = async (from: number, to: number, name: string) => {
        const pipeline = await bed.start(definition);
        await withSql(source, async (sql) => {
          for (let id = from; id <= to; id++) {
            await insertRow(sql, CUSTOMERS, { id, name: `${name} ${id}`, credit: id });
            await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
          }
        });
        await bed.stop(pipeline);
      };
      await insert(2, 4, "before");
      await backup?.take(bed);
      await insert(5, 10, "forgotten");
      await backup?.restore(bed);
      await withSql(source, async (sql) => {
        const last = batches === "fewer" ? 6 : 60;
        for (let id = 5; id <= last; id++) {
          await insertRow(sql, CUSTOMERS, { id, name: `after ${id}`, credit: 0 });
        }
      });
      const target = await bed.sql("target");
      const before = await target.rows("SELECT * FROM customers ORDER BY id");

      const outcome = () =>
        bed.start(definition).then(
          async (pipeline) => {
            await expect(pipeline.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toMatchObject({
              code: "TM-SYNC-STOPPED",
            });
            return await pipeline.finished.catch((error: unknown) => error);
          },
          (error: unknown) => error,
        );
      if (dialectOf(kind) === "mariadb") {
        // The server has made the tables anew. Whoever takes that for a rebuild is told all the same.
        expect(await outcome()).toMatchObject({
          code: "TM-TRUNCATE-UNSEEN",
          fix: expect.stringContaining("TM-SOURCE-REWOUND"),
        });
        await withSql(source, (sql) => sql.run("UPDATE tidemark_layouts SET table_id = NULL"));
      }
      expect(await outcome()).toMatchObject({
        code: expect.stringMatching(/TM-(SOURCE-REWOUND|SOURCE-CLONED|TIMELINE-CHANGED)/),
        fix: expect.stringMatching(/./),
      });
      expect(await target.rows("SELECT * FROM customers ORDER BY id")).toEqual(before);
    },
  );
});
