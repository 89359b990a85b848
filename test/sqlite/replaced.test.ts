// Another table that takes the place of a target's table and holds rows of its own, as after a rebuild, or where one is restored
// alone: nobody may be told that it is in step before it was copied anew (G8). What only moves it, or alters it, costs no copy.
import { copyFileSync, existsSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import {
  bedOfTwoRows,
  copiedRows,
  planned,
  synced,
  TABLE,
  untilCopied,
} from "../support/replaced.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS } from "../support/test-bed.ts";
import { insertRow } from "../support/test-tables.ts";

const MAKE =
  "CREATE TABLE other (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO other VALUES (1, 'of before')";
const SWAPS = [
  ["dropped and made again with rows", `${MAKE}; DROP TABLE t; ALTER TABLE other RENAME TO t`],
  ["exchanged", `${MAKE}; ALTER TABLE t RENAME TO old; ALTER TABLE other RENAME TO t`],
] as const;

const TRIGGERS = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";

const KEPT = [
  ["VACUUM", "DROP TABLE first; VACUUM"],
  ["a column more", "ALTER TABLE t ADD COLUMN more INTEGER DEFAULT 5"],
  ["a column less", "ALTER TABLE t DROP COLUMN own"],
  ["a column by another name", "ALTER TABLE t RENAME COLUMN own TO other"],
  ["a name for a while", "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t"],
  ["an index", "CREATE INDEX t_note ON t (note)"],
  ["ANALYZE and REINDEX", "ANALYZE; REINDEX"],
] as const;

describe("a table of an SQLite target", () => {
  it.each(SWAPS)("%s while nothing runs is copied anew", async (_, swap) => {
    await using bed = await bedOfTwoRows("sqlite");
    await bed.stop(await synced(bed));
    expect(await planned(bed)).toEqual([]);
    await runAll(await bed.sql("target"), swap);
    expect(await planned(bed)).toEqual([{ table: "t", reason: "replaced" }]);
    const second = await synced(bed);
    await bed.expectSame(TABLE);
    expect(bed.logger.text()).toContain("is another one than was copied into, and holds rows");
    expect(await copiedRows(second)).toBe(2);
    await bed.stop(second);
    expect(await copiedRows(await synced(bed))).toBe(0);
  });

  it.each(SWAPS)("%s while the source is quiet is copied anew", async (_, swap) => {
    await using bed = await bedOfTwoRows("sqlite");
    await synced(bed);
    const target = await bed.sql("target");
    await runAll(target, swap);
    await untilCopied(target);
  });

  it("is written where the link to its file leads by now, and while the source is quiet it is told", async () => {
    await using bed = await bedOfTwoRows("sqlite");
    await bed.stop(await synced(bed));
    const link = bed.database("target").url.slice("sqlite:".length);
    const [first, second] = [`${link}.first`, `${link}.second`];
    renameSync(link, first);
    copyFileSync(first, second);
    symlinkSync(first, link);
    const running = await synced(bed);
    rmSync(link);
    // Not yet led elsewhere: the file that is open stays the target, and none is made in the link's place.
    await insertRow(await bed.sql("source"), TABLE, { id: 9, note: "between" });
    await running.waitFor({ timeoutMs: PATIENCE_MS });
    using open = new DatabaseSync(first);
    expect(open.prepare("SELECT note FROM t WHERE id = 9").get()).toEqual({ note: "between" });
    expect(existsSync(link)).toBe(false);
    symlinkSync(second, link);
    await expect.poll(() => bed.logger.text(), { timeout: 15_000 }).toContain("no longer leads to");
    await insertRow(await bed.sql("source"), TABLE, { id: 3, note: "three" });
    await running.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(TABLE);
  });

  it("made anew just before a change comes is copied anew", async () => {
    await using bed = await bedOfTwoRows("sqlite");
    await bed.stop(await synced(bed));
    const running = await synced(bed);
    await runAll(await bed.sql("target"), SWAPS[0][1]);
    await insertRow(await bed.sql("source"), TABLE, { id: 3, note: "three" });
    await expect.poll(() => copiedRows(running), { timeout: 20_000 }).toBe(3);
    await bed.expectSame(TABLE);
  });

  it.each(KEPT)("is not copied anew for %s", async (_, statements) => {
    await using bed = await bedOfTwoRows("sqlite");
    const target = await bed.sql("target");
    await target.run("CREATE TABLE first (id)");
    await bed.stop(await synced(bed));
    await target.run("ALTER TABLE t ADD COLUMN own TEXT");
    await runAll(target, statements);
    expect(await planned(bed)).toEqual([]);
    expect(await copiedRows(await synced(bed))).toBe(0);
  });

  it("is not copied anew after a dump that left out triggers", async () => {
    await using bed = await bedOfTwoRows("sqlite");
    await bed.stop(await synced(bed));
    const target = await bed.sql("target");
    const triggers = await target.rows(TRIGGERS);
    expect(triggers).not.toEqual([]);
    for (const { name } of triggers) await target.run(`DROP TRIGGER ${name}`);
    expect(await planned(bed)).toEqual([]);
    expect(await copiedRows(await synced(bed))).toBe(0);
  });

  it("that an earlier version copied into is told from the first start on", async () => {
    await using bed = await bedOfTwoRows("sqlite");
    await bed.stop(await synced(bed));
    const target = await bed.sql("target");
    for (const { name } of await target.rows(TRIGGERS)) {
      await target.run(`DROP TRIGGER ${name}`);
    }
    await target.run(
      "UPDATE tidemark_progress_tables SET copy = substr(copy, 1, instr(copy, '@') - 1) || substr(copy, instr(copy, ':'))",
    );
    expect(await copiedRows(await synced(bed))).toBe(0);
    await runAll(target, SWAPS[0][1]);
    await untilCopied(target);
  });
});

async function runAll(sql: SqlClient, statements: string): Promise<void> {
  for (const statement of statements.split("; ")) await sql.run(statement);
}
