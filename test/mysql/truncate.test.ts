// TRUNCATE fires no trigger: it is found out all the same, and told from a mere rebuild (G8).
import { chmod, readFile, writeFile } from "node:fs/promises";
import type { Connection } from "mysql2/promise";
import { describe, expect, it } from "vitest";
import { sleep } from "../../src/core/async.ts";
import { type TidemarkError, toTidemarkError } from "../../src/core/errors.ts";
import { triggerName } from "../../src/databases/mysql/capture-sql.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { take } from "../../src/testing/replica.ts";
import { available } from "../servers/index.ts";
import { CollectingLogger } from "../support/test-bed.ts";
import { type Bed, openBed, openLog, SERVERS } from "./bed.ts";

const UNSEEN = { code: "TM-TRUNCATE-UNSEEN" };

describe.each(SERVERS)("TRUNCATE on %s", (kind) => {
  const test = it.skipIf(!available(kind));

  async function bedWith(tables: string): Promise<Bed> {
    const bed = await openBed(kind);
    await bed.admin.query(`${tables}; INSERT INTO \`t-ü\` (id) VALUES (1), (2)`);
    return bed;
  }

  /** Until another transaction keeps it from going on. */
  async function waits({ admin }: Bed, altering: Connection): Promise<void> {
    for (;;) {
      const [rows] = await admin.query(
        `SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = ${altering.threadId} AND STATE LIKE '%metadata lock%'`,
      );
      if ((rows as unknown[]).length > 0) break;
      await sleep(20);
    }
  }

  test("is found while the relay works, at its start, and by doctor", async () => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY)");
    const tables = await bed.capture("t-ü");
    {
      await using open = await openLog(bed, tables);
      await bed.admin.query("TRUNCATE `t-ü`; INSERT INTO `t-ü` VALUES (3)");
      await expect(take(open.log.batches)).rejects.toMatchObject(UNSEEN);
    }
    await expect(openLog(bed, tables)).rejects.toMatchObject(UNSEEN);
    const source = await mysql.openSource(bed.options);
    const findings = await source.diagnose(tables);
    await source.close();
    expect(findings).toContainEqual(
      expect.objectContaining({ check: "truncate", severity: "error" }),
    );
    // The way out that the message names.
    await bed.admin.query("UPDATE tidemark_layouts SET table_id = NULL WHERE table_name = 't-ü'");
    await using open = await openLog(bed, tables);
    expect((await take(open.log.batches)).changes).toHaveLength(1);
  });

  test("of several tables is told at once, with statements for all", async () => {
    await using bed = await bedWith(
      "CREATE TABLE `t-ü` (id INT PRIMARY KEY); CREATE TABLE other (id INT PRIMARY KEY); CREATE TABLE kept (id INT PRIMARY KEY)",
    );
    const tables = await bed.capture("t-ü", "other", "kept");
    const told = {
      ...UNSEEN,
      message: expect.stringContaining("The same is true of other."),
      fix: expect.stringMatching(
        /tidemark resync 't-ü' other, .*table_name IN \('t-ü', 'other'\),/,
      ),
    };
    {
      await using open = await openLog(bed, tables);
      await bed.admin.query("TRUNCATE `t-ü`; TRUNCATE other");
      await expect(take(open.log.batches)).rejects.toMatchObject(told);
    }
    await expect(openLog(bed, tables)).rejects.toMatchObject(told);
    const accept = /UPDATE [^;]*?\)(?=,)/.exec(
      ((await openLog(bed, tables).catch(toTidemarkError)) as TidemarkError).fix ?? "",
    );
    await bed.admin.query(accept?.[0] ?? "");
    await using open = await openLog(bed, tables);
    await take(open.log.batches);
  });

  test.each([
    ["emptied", "TRUNCATE `t-ü`", UNSEEN],
    [
      "left without a trigger",
      `DROP TRIGGER ${triggerName("t-ü", "UPDATE")}`,
      { code: "TM-CAPTURE-BROKEN" },
    ],
  ])(
    "%s while a start waits for another table: is found by the first look",
    async (_, sql, code) => {
      await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY)");
      await (await openLog(bed, await bed.capture("t-ü")))[Symbol.asyncDispose]();
      await bed.admin.query("CREATE TABLE other (id INT PRIMARY KEY)");
      const tables = await bed.capture("t-ü", "other");
      const holder = await bed.connect();
      await holder.query("BEGIN; INSERT INTO other VALUES (1)");
      const opening = openLog(bed, tables);
      await expect
        .poll(async () => {
          const [rows] = await bed.admin.query(
            "SELECT 1 FROM tidemark_layouts WHERE table_name = 'other'",
          );
          return (rows as unknown[]).length;
        })
        .toBeGreaterThan(0);
      await bed.admin.query(sql);
      await holder.query("COMMIT");
      await using open = await opening;
      await expect(open.log.batches.look?.()).rejects.toMatchObject(code);
    },
  );

  test("a trigger that goes while the start that made it waits for another table: stops it", async () => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY)");
    await bed.admin.query("CREATE TABLE other (id INT PRIMARY KEY)");
    const tables = await bed.capture("t-ü", "other");
    const holder = await bed.connect();
    await holder.query("BEGIN; INSERT INTO other VALUES (1)");
    const stopped = expect(openLog(bed, tables)).rejects.toMatchObject({
      code: "TM-CAPTURE-BROKEN",
    });
    await expect
      .poll(
        async () => {
          const [rows] = await bed.admin.query(
            "SELECT 1 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = DATABASE()",
          );
          return (rows as unknown[]).length;
        },
        { timeout: 20_000 },
      )
      .toBe(3);
    await bed.admin.query(`DROP TRIGGER ${triggerName("t-ü", "UPDATE")}`);
    await holder.query("COMMIT");
    await stopped;
    // Nothing was copied by then: what is missing is made.
    await using open = await openLog(bed, tables);
    await open.log.batches.look?.();
  });

  test.each([
    ["truncated", 2, "ALTER TABLE `t-ü` TRUNCATE PARTITION p0"],
    [
      "exchanged, the only one",
      1,
      `CREATE TABLE other (id INT PRIMARY KEY); INSERT INTO other VALUES (1), (7), (8);
       ALTER TABLE \`t-ü\` EXCHANGE PARTITION p0 WITH TABLE other`,
    ],
  ])("of one partition: %s", async (_, partitions, statements) => {
    await using bed = await bedWith(
      `CREATE TABLE \`t-ü\` (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS ${partitions}`,
    );
    await using open = await openLog(bed, await bed.capture("t-ü"));
    await bed.admin.query(`${statements}; DELETE FROM \`t-ü\` WHERE id = 1`);
    await expect(take(open.log.batches)).rejects.toMatchObject(UNSEEN);
  });

  test.each([
    ["older", true],
    ["newer", false],
  ])(
    "of a table that gets the rows of a partition which is %s than it, though it has more than were inserted",
    async (_, isOlder) => {
      await using bed = await openBed(kind);
      const parts = "CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 1";
      const fill = "INSERT INTO parts VALUES (1), (2), (3)";
      if (isOlder) await bed.admin.query(`${parts}; ${fill}`);
      await bed.admin.query("CREATE TABLE plain (id INT PRIMARY KEY)");
      const tables = await bed.capture("plain");
      {
        await using open = await openLog(bed, tables);
        if (!isOlder) await bed.admin.query(`${parts}; ${fill}`);
        await open.log.batches.look?.();
        await bed.admin.query("INSERT INTO plain VALUES (9)");
        await bed.admin.query("ALTER TABLE parts EXCHANGE PARTITION p0 WITH TABLE plain");
        // As who archives does: with the partition goes the number that the table had.
        if (isOlder) await bed.admin.query("DROP TABLE parts");
        await expect(open.log.batches.look?.()).rejects.toMatchObject(UNSEEN);
      }
      await expect(openLog(bed, tables)).rejects.toMatchObject(UNSEEN);
    },
  );

  const REBUILD = "ALTER TABLE `t-ü` ADD COLUMN n INT, FORCE";

  test.each([
    [
      "rows that came since",
      `TRUNCATE \`t-ü\`; INSERT INTO \`t-ü\` VALUES (3), (4), (5); ${REBUILD}`,
    ],
    ["none", `${REBUILD}; TRUNCATE \`t-ü\``],
  ])("of a table that is altered at that time, which holds %s", async (_, statements) => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY)");
    await (await openLog(bed, await bed.capture("t-ü")))[Symbol.asyncDispose]();
    await bed.admin.query(statements);
    await expect(openLog(bed, await bed.capture("t-ü"))).rejects.toMatchObject(UNSEEN);
    await bed.admin.query("UPDATE tidemark_layouts SET table_id = NULL WHERE table_name = 't-ü'");
    await using open = await openLog(bed, await bed.capture("t-ü"));
    await take(open.log.batches);
  });

  it.skipIf(kind !== "mariadb" || !available(kind))(
    "and rows that a unique key has taken away: ALTER IGNORE",
    async () => {
      await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY, n INT DEFAULT 1)");
      await (await openLog(bed, await bed.capture("t-ü")))[Symbol.asyncDispose]();
      await bed.admin.query("ALTER IGNORE TABLE `t-ü` ADD UNIQUE (n)");
      await expect(openLog(bed, await bed.capture("t-ü"))).rejects.toMatchObject(UNSEEN);
    },
  );

  test("a table that is altered, with fewer rows inserted than it has, was not", async () => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY)");
    await (await openLog(bed, await bed.capture("t-ü")))[Symbol.asyncDispose]();
    await bed.admin.query(`INSERT INTO \`t-ü\` VALUES (3), (4); ${REBUILD}`);
    await using open = await openLog(bed, await bed.capture("t-ü"));
    expect((await take(open.log.batches)).changes).toHaveLength(2);
  });

  test("is found once it can be, and all else goes on, while a transaction keeps an ALTER waiting", async () => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY, n INT)");
    await bed.admin.query("CREATE TABLE other (id INT PRIMARY KEY); INSERT INTO other VALUES (1)");
    const tables = await bed.capture("t-ü", "other");
    await using open = await openLog(bed, tables);
    const [reader, altering] = [await bed.connect(), await bed.connect()];
    await reader.query("BEGIN; SELECT * FROM other");
    const altered = altering.query("ALTER TABLE other COMMENT 'x'");
    await waits(bed, altering);
    await bed.admin.query("INSERT INTO `t-ü` VALUES (8, 8)");
    expect((await take(open.log.batches)).changes).toHaveLength(1);
    await bed.admin.query("TRUNCATE `t-ü`");
    // MariaDB waits for none, and tells at once.
    if (kind === "mysql") expect(await open.log.batches.look?.()).toBe(false);
    await reader.query("COMMIT");
    await altered;
    await expect(open.log.batches.look?.()).rejects.toMatchObject(UNSEEN);
  });

  test("a rebuild during which other tables are created was none", async () => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY)");
    await using open = await openLog(bed, await bed.capture("t-ü"));
    const [reader, altering] = [await bed.connect(), await bed.connect()];
    await reader.query("BEGIN; SELECT * FROM `t-ü`");
    const altered = altering.query("ALTER TABLE `t-ü` FORCE, ALGORITHM = COPY");
    await waits(bed, altering);
    await bed.admin.query("CREATE TABLE other (id INT PRIMARY KEY)");
    expect(await open.log.batches.look?.()).toBe(kind === "mariadb");
    await reader.query("COMMIT");
    await altered;
    expect(await open.log.batches.look?.()).toBe(true);
  });

  test("IMPORT TABLESPACE is found, though the table has rows of which no insert is logged", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      "CREATE TABLE plain (id INT PRIMARY KEY); INSERT INTO plain VALUES (1), (2)",
    );
    await bed.admin.query("CREATE TABLE other LIKE plain; INSERT INTO other VALUES (1), (7), (8)");
    await using open = await openLog(bed, await bed.capture("plain"));
    const file = (table: string) => `@@datadir, DATABASE(), '/', '${table}.ibd'`;
    const [[paths]] = (await bed.admin.query(
      `SELECT CONCAT(${file("other")}), CONCAT(${file("plain")})`,
    )) as unknown as [string[][]];
    const [from = "", to = ""] = paths ?? [];
    await bed.admin.query("FLUSH TABLES other FOR EXPORT");
    const kept = await readFile(from);
    await bed.admin.query("UNLOCK TABLES; ALTER TABLE plain DISCARD TABLESPACE");
    await writeFile(to, kept);
    // The server may be another user's.
    await chmod(to, 0o666);
    await bed.admin.query("ALTER TABLE plain IMPORT TABLESPACE; INSERT INTO plain VALUES (9)");
    await expect(open.log.batches.look?.()).rejects.toMatchObject(UNSEEN);
  });

  test("of a table that an earlier version has noted without its file", async () => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY)");
    const tables = await bed.capture("t-ü");
    await (await openLog(bed, tables))[Symbol.asyncDispose]();
    const forget = "UPDATE tidemark_layouts SET table_id = SUBSTRING_INDEX(table_id, '@', 1)";
    await bed.admin.query(forget);
    await (await openLog(bed, tables))[Symbol.asyncDispose]();
    await bed.admin.query(`${forget}; TRUNCATE \`t-ü\``);
    await expect(openLog(bed, tables)).rejects.toMatchObject(UNSEEN);
  });

  test("a rebuild is none", async () => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY, n INT)");
    const tables = await bed.capture("t-ü");
    {
      await using open = await openLog(bed, tables);
      await bed.admin.query("OPTIMIZE TABLE `t-ü`; UPDATE `t-ü` SET n = 1 WHERE id = 1");
      await bed.admin.query("INSERT INTO `t-ü` VALUES (3, 3), (4, 4)");
      expect((await take(open.log.batches)).changes).toHaveLength(3);
    }
    await using open = await openLog(bed, tables);
    expect((await take(open.log.batches)).changes).toEqual([]);
  });

  test("doctor, plan and the log say so where it would not be found", async () => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY)");
    const name = `u${Date.now() % 1e9}`;
    const account = `'${name}'@'%'`;
    const database = `\`${new URL(bed.options.url).pathname.slice(1)}\``;
    await bed.admin.query(
      `CREATE USER ${account} IDENTIFIED BY 'secret'; GRANT ALL ON ${database}.* TO ${account}`,
    );
    try {
      const logger = new CollectingLogger();
      const options = { ...bed.as(name, "secret"), logger };
      const tables = await bed.capture("t-ü");
      // The user may not make the triggers, where there is a binary log.
      await (await openLog(bed, tables))[Symbol.asyncDispose]();
      const source = await mysql.openSource(options);
      const { notes } = await source.planCapture(tables);
      const findings = await source.diagnose(tables);
      await source.close();
      await (await openLog({ options }, tables))[Symbol.asyncDispose]();
      const [finding] = findings.filter(({ check }) => check === "truncate");
      expect(finding?.severity).toBe("warning");
      const grant = `GRANT PROCESS ON *.* TO ${account}`;
      for (const text of [finding?.fix, notes.join(), logger.text()]) expect(text).toContain(grant);
      await bed.admin.query(grant);
      await using open = await openLog({ options }, tables);
      await bed.admin.query("TRUNCATE `t-ü`; INSERT INTO `t-ü` VALUES (3)");
      await expect(take(open.log.batches)).rejects.toMatchObject(UNSEEN);
    } finally {
      await bed.admin.query(`DROP USER ${account}`);
    }
  });
});
