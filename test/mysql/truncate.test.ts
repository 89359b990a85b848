// TRUNCATE fires no trigger: it is found out all the same, and told from a mere rebuild (G8).
import { describe, expect, it } from "vitest";
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

  test("of one partition", async () => {
    await using bed = await bedWith(
      "CREATE TABLE `t-ü` (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2",
    );
    await using open = await openLog(bed, await bed.capture("t-ü"));
    await bed.admin.query(
      "ALTER TABLE `t-ü` TRUNCATE PARTITION p0; UPDATE `t-ü` SET id = 5 WHERE id = 1",
    );
    await expect(take(open.log.batches)).rejects.toMatchObject(UNSEEN);
  });

  test("a rebuild is none", async () => {
    await using bed = await bedWith("CREATE TABLE `t-ü` (id INT PRIMARY KEY, n INT)");
    const tables = await bed.capture("t-ü");
    {
      await using open = await openLog(bed, tables);
      await bed.admin.query("OPTIMIZE TABLE `t-ü`; UPDATE `t-ü` SET n = 1 WHERE id = 1");
      expect((await take(open.log.batches)).changes).toHaveLength(1);
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
