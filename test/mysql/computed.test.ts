// Rows are chosen (where) by a generated column that is computed otherwise from some day on: no trigger runs for the rows that stand (G8).
import { describe, expect, it } from "vitest";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available } from "../servers/index.ts";
import { openBed, openLog, SERVERS, takenLines } from "./bed.ts";

describe.each(SERVERS)("a generated column in a condition, on %s", (kind) => {
  it.skipIf(!available(kind)).each([
    ["stored", "MODIFY g INT AS (a * 3) STORED", "generated column g, by which"],
    [
      "virtual",
      "DROP COLUMN g, ADD COLUMN g INT AS (a * 3) VIRTUAL",
      "generated column g, by which",
    ],
    // Neither is sent, and `where` names neither.
    ["stored", "MODIFY h INT AS (b * 3) STORED", "column h, from which"],
    // So MySQL keeps bare names.
    ["stored", "MODIFY h INT AS (b * 3) STORED", "column h, from which", 0],
    ["stored", "MODIFY `B``b` DECIMAL(5, 0)", "column B`b, from which"],
  ])(
    "stops the sync when computed otherwise: %s, %s",
    async (how, alteration, told, quoted = 1) => {
      const broken = { code: "TM-CAPTURE-BROKEN", message: expect.stringContaining(told) };
      await using bed = await openBed(kind);
      await bed.admin.query(`SET sql_quote_show_create = ${quoted}`);
      await bed.admin.query(
        // MySQL prints names as they are typed here, until the table is altered.
        `CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, \`B\`\`b\` DECIMAL(5, 1), h INT AS (b * 2) ${how},
         g INT AS (a * 2 + COALESCE(h, 0) + COALESCE(\`b\`\`B\`, 0)) ${how}, w INT AS (a + 1) ${how});
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
        await expect(open.log.batches.look?.()).rejects.toMatchObject(broken);
      }
      await expect(openLog(bed, tables)).rejects.toMatchObject(broken);
      // The way out that the message names.
      {
        const log = await (await mysql.openSource(bed.options)).openChangeLog();
        await log?.forget([{ schema: null, name: "t" }]);
        await log?.close();
      }
      await using open = await openLog(bed, tables);
      await open.log.batches.look?.();
    },
  );

  it.skipIf(!available(kind))(
    "goes on where a session with other settings alters something else",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        `SET NAMES latin1; SET sql_quote_show_create = 0;
         CREATE TABLE t (id INT PRIMARY KEY, Kind VARCHAR(9), g VARCHAR(30) AS (CONCAT(KIND, 'It''s \`A\`', _latin1'b')) VIRTUAL)`,
      );
      const tables = (await bed.capture("t")).map((table) => ({
        ...table,
        columns: ["id"],
        filters: ["g <> ''"],
        takesNewColumns: false,
      }));
      await using open = await openLog(bed, tables);
      await open.log.batches.look?.();
      await bed.admin.query(
        "SET NAMES utf8mb4; SET sql_quote_show_create = 1; ALTER TABLE t ADD COLUMN other INT",
      );
      await open.log.batches.look?.();
      // In a text, letters and quotes are what they are.
      await bed.admin.query(
        "ALTER TABLE t DROP COLUMN g, ADD COLUMN g VARCHAR(30) AS (CONCAT(Kind, 'It''s `a`', _latin1'b')) VIRTUAL",
      );
      await expect(open.log.batches.look?.()).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
    },
  );
});
