import { expect, it } from "vitest";
import { toTidemarkError } from "../core/errors.ts";
import { formatTable } from "../core/table.ts";
import { type Bench, refuses } from "./database-bed.ts";
import { createItems, ITEMS, openShop } from "./source-shop.ts";

/** What the catalog tells of tables. */
export function registerCatalog(bench: () => Bench): void {
  it("shows the user's tables and none of ours", async () => {
    const { log } = await openShop(bench());
    await log.capture([]);
    const catalog = await bench().catalog();
    expect(await catalog.listTables()).toEqual([bench().name(ITEMS)]);
  });

  it("tells which database it is, the same each time, and for source and target too", async () => {
    const identity = await (await bench().catalog()).identity();
    expect(identity).toEqual(expect.any(String));
    expect(await (await bench().catalog()).identity()).toBe(identity);
    expect(await (await bench().source()).identity()).toBe(identity);
    expect(await (await bench().target()).identity()).toBe(identity);
  });

  it("describes columns and key", async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE parents (a ${text} NOT NULL, b ${integer} NOT NULL, PRIMARY KEY (b, a))`,
    );
    await sql.run(
      `CREATE TABLE children (id ${integer} NOT NULL PRIMARY KEY, code ${text} UNIQUE, pb ${integer}, pa ${text}, FOREIGN KEY (pb, pa) REFERENCES parents (b, a))`,
    );
    const catalog = await bench().catalog();
    const [parents, children] = await catalog.describe([
      bench().name("parents"),
      bench().name("children"),
    ]);
    expect(parents).toMatchObject({ key: ["b", "a"] });
    expect(children).toMatchObject({ key: ["id"] });
    expect(children?.columns.map(({ name, nullable }) => [name, nullable])).toEqual([
      ["id", false],
      ["code", true],
      ["pb", true],
      ["pa", true],
    ]);
  });

  it("takes a unique key of NOT NULL columns where there is no primary key", async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(`CREATE TABLE coded (code ${text} NOT NULL UNIQUE, maybe ${integer} UNIQUE)`);
    const [coded] = await (await bench().catalog()).describe([bench().name("coded")]);
    expect(coded?.key).toEqual(["code"]);
  });

  it("refuses what cannot be captured, by name", async () => {
    const sql = await createItems(bench());
    await sql.run("CREATE VIEW seen AS SELECT id FROM items");
    const catalog = await bench().catalog();
    const misspelt = await catalog.describe([bench().name("itmes")]).catch(toTidemarkError);
    expect(misspelt).toMatchObject({ code: "TM-TABLE-MISSING" });
    expect(JSON.stringify(misspelt)).toContain("items");
    await sql.run("CREATE VIEW shown AS SELECT id FROM items");
    const views = ["seen", "shown"].map((name) => bench().name(name));
    await refuses(catalog.describe(views.slice(0, 1)), "TM-TABLE-UNSUPPORTED");
    const refused = toTidemarkError(await catalog.describe(views).catch((error) => error));
    expect(refused.code).toBe("TM-TABLE-UNSUPPORTED");
    for (const view of views) expect(refused.message).toContain(formatTable(view));
  });
}
