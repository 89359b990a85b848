// A target that loses its last commits while the pipeline runs, as a standby that is promoted without them: rows and
// progress go back together, and what is missing is sent again (G1, G4).
import { expect, test, vi } from "vitest";
import { available, FOUR_PAIRS, title } from "../support/pairs.ts";
import { transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = { name: "items", columns: { id: "integer", n: "integer" }, key: ["id"] };
const PROGRESS = ["progress", "progress_tables"];

for (const pair of FOUR_PAIRS) {
  test.skipIf(!available(pair))(`${title(pair)}: goes on by itself`, async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await createTables(source, pair.source, [ITEMS]);
    const before = [1, 2, 3].map((id) => ({ id, n: 0 }));
    for (const row of before) await insertRow(source, ITEMS, row);
    const definition = bed.define([{ from: "source", to: "target", tables: ["items"] }]);
    const retention = { ...definition.retention, keptMs: 30_000 };
    const pipeline = await bed.start({ ...definition, retention });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const ours = (table: string) =>
      target.dialect === "postgres" ? `tidemark.${table}` : `tidemark_${table}`;
    for (const table of [...PROGRESS.map(ours), "items"]) {
      await target.run(`CREATE TABLE ${kept(table)} AS SELECT * FROM ${table}`);
    }

    await source.run("DELETE FROM items WHERE id = 2");
    await source.run("UPDATE items SET n = 1 WHERE id = 3");
    for (const id of [4, 5]) await insertRow(source, ITEMS, { id, n: id });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
    await transaction(target, async () => {
      for (const table of [...PROGRESS.map(ours), "items"]) {
        await target.run(`DELETE FROM ${table}`);
        await target.run(`INSERT INTO ${table} SELECT * FROM ${kept(table)}`);
      }
    });
    expect(await target.rows("SELECT id FROM items")).toHaveLength(3);

    // Nothing is written at the source meanwhile.
    await vi.waitFor(() => bed.expectSame(ITEMS), { timeout: PATIENCE_MS, interval: 200 });
    await insertRow(source, ITEMS, { id: 6, n: 6 });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  });
}

function kept(table: string): string {
  return `kept_${table.replace(".", "_")}`;
}
