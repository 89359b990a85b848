// Which columns a rule may name: what is to be left out is left out, or the sync is refused (G8).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Catalog } from "../core/database.ts";
import type { TableRule } from "../core/definition.ts";
import { silentLogger } from "../core/log.ts";
import { loadSqlite } from "../core/sqlite-warning.ts";
import { sqlite } from "../databases/sqlite/index.ts";
import { resolveSync } from "./resolve.ts";

let folder: string;
let catalog: Catalog;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tidemark-resolve-"));
  const path = join(folder, "shop.db");
  const { DatabaseSync } = loadSqlite();
  const db = new DatabaseSync(path);
  db.exec(`CREATE TABLE cards (id INTEGER PRIMARY KEY, card_number TEXT, holder TEXT);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, total TEXT);
    CREATE TABLE old_cards (id INTEGER PRIMARY KEY, Card_Number TEXT);
    CREATE TABLE constructor (id INTEGER PRIMARY KEY, toString TEXT)`);
  db.close();
  catalog = await sqlite.openCatalog({ name: "shop", url: `sqlite:${path}`, logger: silentLogger });
});

afterAll(async () => {
  await catalog.close();
  rmSync(folder, { recursive: true });
});

async function resolved(tables: TableRule[], except: string[] = []) {
  const sync = { name: "shop->copy", from: "shop", to: "copy", tables, except };
  return resolveSync(sync, catalog, { sourceKind: "sqlite", targetSchema: null });
}

/** Table to the columns sent. */
async function sent(...rules: TableRule[]): Promise<Record<string, readonly string[]>> {
  const { tables } = await resolved(rules);
  return Object.fromEntries(tables.map(({ schema, columns }) => [schema.name.name, columns]));
}

const missing = (message: RegExp, fix: RegExp) => ({
  code: "TM-COLUMN-MISSING",
  exitCode: 2,
  message: expect.stringMatching(message),
  fix: expect.stringMatching(fix),
});

describe("beside a glob", () => {
  test.each<[string, Partial<TableRule>]>([
    ["except", { except: ["card_nubmer"] }],
    ["columns", { columns: ["id", "card_nubmer"] }],
    ["rename", { rename: { card_nubmer: "number" } }],
  ])("%s names no column that none of its tables has", async (_key, keys) => {
    await expect(sent({ table: "*", ...keys })).rejects.toMatchObject(
      missing(/"\*" has a column "card_nubmer"/, /Did you mean "card_number"\?/),
    );
  });

  test("a column need not be in every table", async () => {
    const rules: TableRule[] = [{ table: "old_cards" }, { table: "*", except: ["card_number"] }];
    expect(await sent(...rules)).toEqual({
      cards: ["id", "holder"],
      constructor: ["id", "toString"],
      old_cards: ["id", "Card_Number"],
      orders: ["id", "total"],
    });
  });

  test("a column in other letters is no other column, unless it is named too", async () => {
    await expect(sent({ table: "old*", except: ["card_number"] })).rejects.toMatchObject(
      missing(/"old\*" has a column "card_number"/, /Did you mean "Card_Number"\?/),
    );
    await expect(sent({ table: "*", except: ["card_number"] })).rejects.toMatchObject(
      missing(/old_cards, which goes by "\*", has no/, /Did you mean "Card_Number"\?/),
    );
    expect(await sent({ table: "*", except: ["card_number", "Card_Number"] })).toEqual({
      cards: ["id", "holder"],
      constructor: ["id", "toString"],
      old_cards: ["id"],
      orders: ["id", "total"],
    });
  });

  test("tables that another rule decides do not count", async () => {
    const rest: TableRule = { table: "*", except: ["holder"] };
    await expect(sent({ table: "cards" }, rest)).rejects.toMatchObject(
      missing(/"\*" has a column "holder"/, /Their columns: id, toString, Card_Number, total/),
    );
    await expect(sent({ table: "*" }, { ...rest, table: "car*" })).rejects.toMatchObject(
      missing(/"car\*" has a column "holder"/, /by a glob before it: put "holder" there/),
    );
  });
});

test("a table named in full has each column, in the same letters", async () => {
  await expect(sent({ table: "cards", except: ["Card_Number"] })).rejects.toMatchObject(
    missing(/^cards has no column "Card_Number"/, /Did you mean "card_number"\?/),
  );
});

test("names that every object of JavaScript has are names like others, unless they are renamed", async () => {
  const rules: TableRule[] = [{ table: "constructor", rename: { id: "number" } }];
  const [table] = (await resolved(rules)).tables;
  expect(table?.target.columns.map(({ name }) => name)).toEqual(["number", "toString"]);
});

describe("what a glob leaves out", () => {
  const names = async (tables: TableRule[], except: string[]) =>
    (await resolved(tables, except)).tables.map(({ schema }) => schema.name.name).sort();

  test("a name, or all that another glob matches; not what is named in full", async () => {
    const all = { table: "*" };
    expect(await names([all], ["orders", "*cards"])).toEqual(["constructor"]);
    expect(await names([all, { table: "old_cards" }], ["*cards"])).toEqual([
      "constructor",
      "old_cards",
      "orders",
    ]);
  });

  test("a name that no table has is refused, a glob that none matches is not", async () => {
    await expect(names([{ table: "*" }], ["ordes"])).rejects.toMatchObject({
      code: "TM-TABLE-MISSING",
      fix: expect.stringMatching(/Did you mean "orders"\?/),
    });
    expect(await names([{ table: "o*" }], ["audit_*"])).toEqual(["old_cards", "orders"]);
  });

  test("a glob of which nothing is left is refused, and why", async () => {
    await expect(names([{ table: "o*" }], ["o*"])).rejects.toThrow(/but for those that `except`/);
  });
});
