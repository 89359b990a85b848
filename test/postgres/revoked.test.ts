// A right of our role that is revoked while a table is captured: the application's writes go on, and the sync stops where
// rows could not be looked at (G1, G8).
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, changesOf, connect, line, optionsOf, SERVERS, SHAPES } from "./support.ts";

const PLAIN = "CREATE TABLE t (id KEY PRIMARY KEY, name text)";
const [, , CURRENT] = SHAPES;
const CASES = [
  ["a row deleted right after others came", PLAIN, "DELETE FROM t WHERE id = '1'"],
  [
    "one statement that deletes and writes",
    PLAIN,
    "WITH gone AS (DELETE FROM t WHERE id = '1' RETURNING id) INSERT INTO t SELECT id, 'b' FROM gone",
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
/** And a type of the key. */
const RIGHTS = [
  ["SELECT", "SELECT ON ALL TABLES IN SCHEMA shop", "int"],
  ["USAGE", "USAGE ON SCHEMA shop", "int"],
  ["USAGE where its key's type stands", 'USAGE ON SCHEMA "Kinds"', '"Kinds".place'],
] as const;

describe.each(SERVERS)("on %s", (kind) => {
  const open: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  describe.skipIf(!available(kind)).each(RIGHTS)("without %s", (_, right, type) => {
    // By a partition's keys nothing is looked for.
    const cases = CASES.filter(([, sql]) => type === "int" || !sql.includes("PARTITION"));
    it.each(cases)("%s: the write goes on, the sync stops", async (...[, sql, write]) => {
      const database = await freshDatabase(kind);
      open.push({ close: async () => database[Symbol.asyncDispose]() });
      const owner = await connect(database.url);
      open.push({ close: () => owner.end() });
      const name = database.url.split("/").at(-1);
      const role = `revoked_${name}`;
      await owner.query(
        `CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE ${name} TO ${role};
         CREATE SCHEMA shop; CREATE SCHEMA "Kinds"; CREATE TYPE "Kinds".place AS ENUM ('1', '2', '3');
         GRANT USAGE ON SCHEMA shop, "Kinds" TO ${role}; SET search_path TO shop; ${sql.replace("KEY", type)};
         GRANT SELECT, TRIGGER ON ALL TABLES IN SCHEMA shop TO ${role}`,
      );
      open.push({ close: () => owner.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`) });
      const url = new URL(database.url);
      [url.username, url.password] = [role, "x"];
      const tables = await captureTables(database.url, [{ schema: "shop", name: "t" }]);
      const source = await postgres.openSource(optionsOf(url.href));
      open.push(source);
      const log = (await source.openChangeLog()) as ChangeLog;
      open.push(log);
      await log.capture(tables);
      await owner.query("INSERT INTO t VALUES ('1', 'a'), ('2', 'b')");
      expect((await changesOf(await log.batches.cut())).map(line)).toHaveLength(2);
      await owner.query(`REVOKE ${right} FROM ${role}`);
      await owner.query(`BEGIN; UPDATE t SET name = 'x' WHERE id = '2'; ${write}; COMMIT`);
      await expect(log.batches.cut().then(changesOf)).rejects.toMatchObject({
        code: "TM-CAPTURE-BROKEN",
        message: expect.stringMatching(/lacked SELECT on shop\.t.*USAGE/),
        fix: expect.stringContaining("tidemark resync shop.t"),
      });
    });
  });
});
