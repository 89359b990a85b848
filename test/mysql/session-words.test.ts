// Conditions that say another thing by settings of whoever writes are refused, and no others (G8).
import { describe, expect, it } from "vitest";
import { available } from "../servers/index.ts";
import { type Bed, openBed, openLog, SERVERS } from "./bed.ts";

async function capture(bed: Bed, filter: string): Promise<void> {
  const tables = (await bed.capture("t")).map((table) => ({ ...table, filters: [filter] }));
  await using _ = await openLog(bed, tables);
}

describe.each(SERVERS)("a condition on %s", (kind) => {
  it.skipIf(!available(kind))(
    "is taken where texts, names and comments look like such words",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        "CREATE TABLE t (id INT PRIMARY KEY, day DATE, `WEEK(day)` INT, name VARCHAR(20), made TIMESTAMP NULL)",
      );
      const taken = [
        "DATE_FORMAT(day, '%Y') = '2024' AND name NOT LIKE '%archive%'",
        "DATE_FORMAT(day, '%Y%%a') = '2024%a' AND day > STR_TO_DATE('1 May 2024', '%e %M %Y')",
        "name <> 'WEEK(day)' AND `WEEK(day)` > 1 /* DAYNAME(day) */ # MONTHNAME(day)",
        "WEEK(day, IF(id > 1, LEAST(1, GREATEST(2, ABS(MOD(id, 2)))), 1)) > 3",
        "UNIX_TIMESTAMP(made) > 1704067200 AND name <> 'FROM_UNIXTIME(id)'",
        ...(kind === "mariadb" ? ["DATE_FORMAT(day, '%W', 'en_US') = 'Monday'"] : []),
      ];
      for (const filter of taken) await capture(bed, filter);
    },
  );

  it.skipIf(!available(kind)).each<[string, string]>([
    ["EXTRACT( week FROM day) = 1", "default_week_format"],
    ["1 = WEEK(COALESCE(day, LEAST(day, GREATEST(day, DATE(CONCAT('2024', '-01-01'))))))", "WEEK"],
    ["named = 'Monday'", "(column named is computed so), which lc_time_names"],
    // The one is computed from the other.
    ["`over``named` > 5", "lc_time_names"],
    ["hour_of = 3", "TIMESTAMP (made)"],
    ["FROM_UNIXTIME(id) >= '2024-01-01'", "FROM_UNIXTIME"],
    ["UNIX_TIMESTAMP(day) > 1704067200", "time_zone"],
    ["UNIX_TIMESTAMP(made) >= UNIX_TIMESTAMP('2024-01-01')", "time_zone"],
    ...(kind === "mariadb"
      ? ([["TO_CHAR(day, 'DDMON') = '01MAY'", "lc_time_names"]] as [string, string][])
      : []),
  ])("is refused: %s", async (filter, told) => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `CREATE TABLE t (id INT PRIMARY KEY, day DATE, made TIMESTAMP NULL, named VARCHAR(20) AS (DAYNAME(day)) VIRTUAL,
       \`over\`\`named\` INT AS (LENGTH(named)) VIRTUAL, hour_of INT AS (HOUR(made)) VIRTUAL)`,
    );
    await expect(capture(bed, filter)).rejects.toMatchObject({
      code: "TM-CONFIG-INVALID",
      message: expect.stringContaining(told),
    });
  });

  it.skipIf(!available(kind))(
    "is taken by a column that stands, or is computed without such words",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        `CREATE TABLE t (id INT PRIMARY KEY, day DATE, made TIMESTAMP NULL, d VARCHAR(20) AS (DAYNAME(day)) VIRTUAL,
         text VARCHAR(50) AS (CONCAT(DATE_FORMAT(day, '%Y'), 'it''s made %W by "WEEK(day)"')) VIRTUAL,
         open INT AS (made IS NULL) VIRTUAL, hour_of INT AS (HOUR(made)) STORED,
         kept VARCHAR(20) ${kind === "mariadb" ? "" : "AS (DAYNAME(day)) STORED"})`,
      );
      // Words of SQL as names; the name of another column stands in each.
      await bed.admin.query(
        `ALTER TABLE t ADD \`order\` INT, ADD \`key\` INT AS (\`order\` + 1) VIRTUAL,
         ADD sum INT AS (\`order\` + \`key\`) VIRTUAL`,
      );
      await capture(bed, "sum > 5");
      // The name of one stands in it, but is none.
      for (const filter of ["text <> 'd made'", "open = 1 AND hour_of <> 3", "kept = 'Monday'"]) {
        await capture(bed, filter);
      }
    },
  );
});
