// A server that keeps the names of tables in lower case, as on Windows: tables by names in other letters arrive in it,
// are known again, and two that it takes for one are refused (G1).
import { describe, expect, it } from "vitest";
import type { TableRule } from "../../src/core/definition.ts";
import { canStart, startMariadb, startMysql } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import {
  createStatement,
  createTables,
  insertRow,
  type TestTable,
} from "../support/test-tables.ts";

const SETTINGS = { "lower-case-table-names": "1" };
const KINDS = { mariadb: startMariadb, mysql: startMysql };

const USERS: TestTable = {
  name: "Users",
  columns: { id: "integer", Name: "text", code: "varchar" },
  key: ["id"],
  unique: [["code"]],
};
const ORDERS: TestTable = {
  name: "Orders",
  columns: { id: "integer", user: "integer" },
  key: ["id"],
  references: { user: "Users" },
};
const BAG: TestTable = { name: "Bag", columns: { n: "integer" }, key: [] };
const ALL = [USERS, ORDERS, BAG];

describe.each(["mariadb", "mysql"] as const)("%s with names in lower case", (kind) => {
  it.skipIf(!canStart(kind))("takes tables with capitals, and knows them again", async () => {
    await using server = await KINDS[kind]({ settings: SETTINGS });
    const servers = { target: server.url };
    await using bed = await TestBed.make({ source: "sqlite", target: kind }, { servers });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.rows("PRAGMA journal_mode = WAL");
    await createTables(source, "sqlite", ALL);
    await createTables(target, kind, [USERS]);
    const cascades = { ...ORDERS, actions: { user: "ON DELETE CASCADE" } };
    await target.run(createStatement(kind, { ...cascades, name: "orders" }));
    const write = async (first: number) => {
      for (let id = first; id < first + 9; id++) {
        await insertRow(source, USERS, { id, Name: `n${id}`, code: `c${id}` });
        await insertRow(source, ORDERS, { id, user: id });
        await insertRow(source, BAG, { n: id % 3 });
      }
    };
    await write(1);
    const define = (...tables: TableRule[]) =>
      bed.define([{ from: "source", to: "target", tables }]);
    await expect(
      bed.start(define({ table: "Users" }, { table: "Orders", as: "users" })),
    ).rejects.toMatchObject({
      code: "TM-COLUMN-UNFIT",
      message: expect.stringContaining("for one"),
    });
    const definition = define({ table: "*" });
    for (const round of [1, 2]) {
      const pipeline = await bed.start(definition);
      await write(round * 100);
      // The order stays, where deletions at the target carry on to it.
      await source.run(`UPDATE "Orders" SET user = ${round * 100 + 1} WHERE id = ${round}`);
      await source.run(`DELETE FROM "Users" WHERE id = ${round}`);
      await source.run(`UPDATE "Users" SET Name = 'new', code = 'd' || id WHERE id > 5`);
      await source.run('DELETE FROM "Bag" WHERE n = 1');
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      for (const table of ALL) await bed.expectSame(table);
      if (round === 1) await bed.stop(pipeline);
      else {
        await target.run("ALTER TABLE `Users` DROP COLUMN `Name`");
        await write(500);
        await expect(pipeline.finished).rejects.toMatchObject({ code: "TM-SCHEMA-DRIFT" });
      }
    }
  });
});
