// Rows are chosen (where) by a generated column that is computed otherwise from some day on: no trigger runs for the rows that stand (G8).
import { describe, expect, it } from "vitest";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available } from "../servers/index.ts";
import { openBed, openLog, SERVERS, takenLines } from "./bed.ts";

const BROKEN = {
  code: "TM-CAPTURE-BROKEN",
  message: expect.stringContaining("generated column g, by which rows are chosen"),
};

describe.each(SERVERS)("a generated column in a condition, on %s", (kind) => {
  it.skipIf(!available(kind)).each([
    ["stored", "MODIFY g INT AS (a * 3) STORED"],
    ["virtual", "DROP COLUMN g, ADD COLUMN g INT AS (a * 3) VIRTUAL"],
  ])("stops the sync when it is computed otherwise: %s", async (how, alteration) => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      // MySQL prints names as they are typed here, until the table is altered.
      `CREATE TABLE t (id INT PRIMARY KEY, a INT, g INT AS (A * 2) ${how}, w INT AS (a + 1) ${how});
       INSERT INTO t (id, a) VALUES (1, 1), (2, 2), (3, 3)`,
    );
    const tables = (await bed.capture("t")).map((table) => ({
      ...table,
      columns: ["id", "a"],
      filters: ["g > 5"],
    }));
    {
      await using open = await openLog(bed, tables);
      // By this one no rows are chosen, and it is not sent.
      await bed.admin.query("ALTER TABLE t DROP COLUMN w, ADD COLUMN w INT AS (a + 2) VIRTUAL");
      await bed.admin.query("INSERT INTO t (id, a) VALUES (4, 4)");
      expect(await takenLines(open)).toHaveLength(1);
      await bed.admin.query(`ALTER TABLE t ${alteration}`);
      await expect(open.log.batches.look?.()).rejects.toMatchObject(BROKEN);
    }
    await expect(openLog(bed, tables)).rejects.toMatchObject(BROKEN);
    // The way out that the message names.
    {
      const log = await (await mysql.openSource(bed.options)).openChangeLog();
      await log?.forget([{ schema: null, name: "t" }]);
      await log?.close();
    }
    await using open = await openLog(bed, tables);
    await open.log.batches.look?.();
  });
});
