// A transaction that stays open delays nothing but itself: hundreds of others arrive beside it, tables
// are copied, the log is purged (G1, G7).
import { expect, test } from "vitest";
import { sleep } from "../../src/core/async.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import type { DatabaseKind } from "../servers/index.ts";
import { available } from "../support/pairs.ts";
import { openSql, type SqlClient, transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = { name: "items", columns: { id: "integer", n: "integer" }, key: ["id"] };
const MORE: TestTable = { ...ITEMS, name: "more" };
const OTHERS = 300;

const KINDS: readonly DatabaseKind[] = ["postgres", "mariadb", "mysql", "sqlite"];

for (const kind of KINDS) {
  test.skipIf(!available({ source: kind, target: "sqlite", queue: "embedded" }))(
    `a transaction open for long at ${kind}, beside hundreds of others`,
    async () => {
      await using bed = await TestBed.make({ source: kind, target: "sqlite" });
      const source = await bed.sql("source");
      // In its other modes a reader keeps every writer out, whoever that is.
      if (source.dialect === "sqlite") await source.rows("PRAGMA journal_mode = WAL");
      await createTables(source, kind, [ITEMS, MORE]);
      for (let id = 1; id <= 50; id++) await insertRow(source, ITEMS, { id, n: 0 });
      const define = (...tables: string[]) =>
        bed.define([{ from: "source", to: "target", tables }]);
      const first = await bed.start(define("items"));
      await first.waitFor({ timeoutMs: PATIENCE_MS });

      await using long = await openSql(bed.database("source"));
      if (long.dialect === "sqlite") {
        // Where there is one writer at a time, only a reader can stay beside others.
        await long.beginSnapshot();
        await long.rows("SELECT count(*) FROM items");
      } else {
        await long.begin();
        await insertRow(long, ITEMS, { id: 1_000, n: 1 });
      }
      const others = async (from: number) => {
        for (let i = 0; i < OTHERS / 2; i++) {
          await transaction(source, async () => {
            await insertRow(source, ITEMS, { id: from + i, n: i });
            await source.run(`UPDATE items SET n = n + 1 WHERE id = ${1 + (i % 50)}`);
          });
        }
      };
      await others(2_000);
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(ITEMS);
      await bed.stop(first);

      // A copy, too, and a relay that begins anew.
      for (let id = 1; id <= 50; id++) await insertRow(source, MORE, { id, n: id });
      const second = await bed.start(define("items", "more"));
      await others(3_000);
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(ITEMS);
      await bed.expectSame(MORE);
      await untilPurged(second, source);

      await long.commit();
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(ITEMS);
      const ids = (await contents(await bed.sql("target"), ITEMS)).map(({ id }) => id);
      expect(ids.includes("1000")).toBe(kind !== "sqlite");
      await untilPurged(second, source);
    },
  );
}

/**
 * Of hundreds of changes nothing is left in the log but the last few. PostgreSQL empties whole tables of it
 * when their turn comes: there every batch has been marked as gone.
 */
async function untilPurged(pipeline: Pipeline, source: SqlClient): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  const left = async () => {
    if (source.dialect !== "postgres") return (await pipeline.status()).sources[0]?.logRows ?? 50;
    const [row] = await source.rows(
      "SELECT (SELECT max(n) FROM tidemark.batches) - purged AS batches FROM tidemark.source",
    );
    return Number(row?.batches) * 50;
  };
  while ((await left()) >= 50) {
    if (Date.now() > deadline) throw new Error("The change log is not purged.");
    await sleep(100);
  }
}
