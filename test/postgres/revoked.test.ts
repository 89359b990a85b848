// A right of our role that is revoked while a table is captured, or a type that is given another name: the application's writes
// go on, and the sync stops where rows could not be looked at (G1, G8).
import { afterEach, describe, expect, it } from "vitest";
import type { CaptureTable, ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, changesOf, connect, line, optionsOf, SERVERS, SHAPES } from "./support.ts";

const PLAIN = "CREATE TABLE t (id KEY PRIMARY KEY, name text)";
const [, , CURRENT] = SHAPES;
const CASES = [
  ["a row deleted right after others came", PLAIN, "DELETE FROM t WHERE id::text = '1'"],
  [
    "one statement that deletes and writes",
    PLAIN,
    "WITH gone AS (DELETE FROM t WHERE id::text = '1' RETURNING id) INSERT INTO t SELECT id, 'b' FROM gone",
  ],
  [
    "a table with triggers of its own",
    `${PLAIN}; ${CURRENT[1]}`,
    "INSERT INTO t VALUES ('3', 'c')",
  ],
  [
    "a partition that is truncated",
    `${PLAIN} PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF t DEFAULT`,
    "TRUNCATE low",
  ],
] as const;
const NO_USAGE = 'REVOKE USAGE ON SCHEMA "Kinds" FROM ROLE';
const NO_NAME = 'ALTER TYPE "Kinds".place RENAME TO other';
const NOT_THERE = 'ALTER TYPE "Kinds".place SET SCHEMA shop';
/** And a type of the key: a domain's columns look no other when what it is over has. */
const LOST = [
  ["SELECT", "REVOKE SELECT ON ALL TABLES IN SCHEMA shop FROM ROLE", "int"],
  ["USAGE", "REVOKE USAGE ON SCHEMA shop FROM ROLE", "int"],
  ["USAGE where its key's type stands", NO_USAGE, '"Kinds".place'],
  ["the name of its key's type", NO_NAME, "spot"],
  ["its key's type in that schema", NOT_THERE, "spot"],
] as const;

describe.each(SERVERS)("on %s", (kind) => {
  const open: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  /** `shop.t`, captured by a role that has what that takes. */
  async function captured(sql: string, more: Partial<CaptureTable> = {}) {
    const database = await freshDatabase(kind);
    open.push({ close: async () => database[Symbol.asyncDispose]() });
    const owner = await connect(database.url);
    open.push({ close: () => owner.end() });
    const name = database.url.split("/").at(-1);
    const role = `revoked_${name}`;
    await owner.query(
      `CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE ${name} TO ${role};
       CREATE SCHEMA shop; CREATE SCHEMA "Kinds"; CREATE TYPE "Kinds".place AS ENUM ('1', '2', '3');
       GRANT USAGE ON SCHEMA shop, "Kinds" TO ${role}; SET search_path TO shop; CREATE DOMAIN spot AS "Kinds".place;
       ${sql}; GRANT SELECT, TRIGGER ON ALL TABLES IN SCHEMA shop TO ${role}`,
    );
    open.push({ close: () => owner.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`) });
    const url = new URL(database.url);
    [url.username, url.password] = [role, "x"];
    const tables = await captureTables(database.url, [{ schema: "shop", name: "t" }], more);
    const source = await postgres.openSource(optionsOf(url.href));
    open.push(source);
    const log = (await source.openChangeLog()) as ChangeLog;
    open.push(log);
    await log.capture(tables);
    return { owner, log, role, source, tables };
  }

  describe.skipIf(!available(kind)).each(LOST)("without %s", (_, lost, type) => {
    // By a partition's keys nothing is looked for.
    const cases = CASES.filter(([, sql]) => type === "int" || !sql.includes("PARTITION"));
    it.each(cases)("%s: the write goes on, the sync stops", async (...[, sql, write]) => {
      const { owner, log, role } = await captured(sql.replace("KEY", type));
      await owner.query("INSERT INTO t VALUES ('1', 'a'), ('2', 'b')");
      expect((await changesOf(await log.batches.cut())).map(line)).toHaveLength(2);
      await owner.query(lost.replace("ROLE", role));
      await owner.query(`BEGIN; UPDATE t SET name = 'x' WHERE id::text = '2'; ${write}; COMMIT`);
      await expect(log.batches.cut().then(changesOf)).rejects.toMatchObject({
        code: "TM-CAPTURE-BROKEN",
        message: expect.stringMatching(/lacked SELECT on shop\.t.*USAGE/),
        fix: expect.stringContaining("tidemark resync shop.t"),
      });
    });
  });

  describe.skipIf(!available(kind)).each(SHAPES)("by %s", (_, shape) => {
    it.each([NO_USAGE, NO_NAME, NOT_THERE])(
      "a condition over a type goes for one that fails after %s, and the write goes on",
      async (lost) => {
        const table = `CREATE TABLE t (id int PRIMARY KEY, at spot); ${shape}`;
        const { owner, log, role, source, tables } = await captured(table, {
          filters: ["at::text <> '3'", "id > 1"],
        });
        await owner.query("INSERT INTO t VALUES (1, '1')");
        await owner.query(lost.replace("ROLE", role));
        await owner.query("UPDATE t SET at = '2'; INSERT INTO t VALUES (2, '2'); DELETE FROM t");
        const changes = await changesOf(await log.batches.cut());
        const told = changes.flatMap(({ op, filters }) => (op === "delete" ? [] : [filters]));
        expect(told[0]).toEqual([true, false]);
        for (const filters of told.slice(1)) expect(filters).toEqual([null, null]);
        const { lacks = [] } = await source.planCapture(tables);
        const findings = [...lacks, ...(await source.diagnose(tables))];
        const fixes = findings.flatMap(({ severity, fix }) => (severity === "error" ? [fix] : []));
        const usage = `GRANT USAGE ON SCHEMA "Kinds" TO "${role}";`;
        expect(fixes).toEqual(lost === NO_USAGE ? [usage, usage] : []);
      },
    );
  });
});
