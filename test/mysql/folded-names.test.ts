// A server that keeps the names of tables in lower case, as on Windows: tables by names in other letters arrive in it,
// are known again, and two that it takes for one are refused (G1).
import { describe, expect, it } from "vitest";
import type { TableRule } from "../../src/core/definition.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { canStart, startMariadb, startMysql } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import {
  createStatement,
  createTables,
  insertRow,
  type TestTable,
} from "../support/test-tables.ts";
import { asTarget, openBed, openLog } from "./bed.ts";

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

  it.skipIf(!canStart(kind))("takes its own name in other letters for the same", async () => {
    await using server = await KINDS[kind]({ settings: SETTINGS });
    await using bed = await openBed(kind, server.url);
    await bed.admin.query(
      `CREATE TABLE p (id INT PRIMARY KEY);
       CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))`,
    );
    const { url } = bed.options;
    const { pathname } = new URL(url);
    const options = { ...bed.options, url: url.replace(pathname, pathname.toUpperCase()) };
    const tables = await bed.capture("c", "p");
    const first = await openLog({ options }, tables);
    // As an earlier build has stored it.
    await bed.admin.query(
      `UPDATE tidemark_source SET identity = REPLACE(identity, DATABASE(), UPPER(DATABASE()))`,
    );
    const source = await mysql.openSource(bed.options);
    expect(await source.openChangeLog()).toBeNull();
    await source.close();
    await first[Symbol.asyncDispose]();
    await using _ = await openLog({ options }, tables);
    const target = await mysql.openTarget(options);
    const plan = await target.plan(tables.map((table) => asTarget(table)));
    await target.close();
    expect(plan.tables.map(({ name, parents }) => [name.name, parents])).toEqual([
      ["p", []],
      ["c", [0]],
    ]);
  });
});
