import { expect, it } from "vitest";
import type { TargetPlan } from "../core/target.ts";
import { UNCHANGED } from "../core/value.ts";
import type { Bench } from "./database-bed.ts";
import { apply, column, INTEGER, itemRows, items, openSite, TEXT } from "./target-site.ts";

/** What a plan says of tables that stand, and what it would make (G6, G8). */
export function registerPlan(bench: () => Bench): void {
  it("creates what is missing, changes nothing before, and is content after", async () => {
    const target = await bench().target();
    const plan = await target.plan([items(bench())]);
    expect(plan.statements.length).toBeGreaterThan(0);
    const before = await bench().sql();
    expect((await before.rows(bench().dialect.objects)).flat().join()).not.toContain("items");
    await target.prepare(plan);
    const again = await target.plan([items(bench())]);
    expect(again.statements).toEqual([]);
    expect(again.tables).toEqual(plan.tables);
    expect(await itemRows(before)).toEqual([]);
    expect(await target.diagnose([items(bench())])).not.toContainEqual(
      expect.objectContaining({ severity: "error" }),
    );
  });

  it("is prepared by several at once, and once more with a plan of before", async () => {
    const several = [await bench().target(), await bench().target(), await bench().target()];
    const plans = await Promise.all(several.map((target) => target.plan([items(bench())])));
    await Promise.all(several.map((target, i) => target.prepare(plans[i] as TargetPlan)));
    for (const [i, target] of several.entries()) {
      await target.prepare(plans[i] as TargetPlan);
      expect((await target.plan([items(bench())])).statements).toEqual([]);
    }
  });

  it("maps every column, in the order asked", async () => {
    const target = await bench().target();
    const { mappings, tables } = await target.plan([items(bench())]);
    expect(mappings.map((mapping) => mapping.column)).toEqual(["id", "name", "qty"]);
    expect(tables[0]?.columns.map(({ name }) => name)).toEqual(["id", "name", "qty"]);
    expect(tables[0]?.key).toEqual([0]);
    for (const { sourceType, targetType } of mappings) {
      expect(sourceType).not.toBe("");
      expect(targetType).not.toBe("");
    }
  });

  it("makes the key unique and not null in a table it creates", async () => {
    const { sql } = await openSite(bench(), [items(bench())]);
    await sql.run("INSERT INTO items (id) VALUES (1)");
    await expect(sql.run("INSERT INTO items (id) VALUES (1)")).rejects.toThrow();
    const [schema] = await (await bench().catalog()).describe([bench().name("items")]);
    expect(schema?.key).toEqual(["id"]);
    expect(schema?.columns.map(({ nullable }) => nullable)).toEqual([false, true, true]);
  });

  it("takes a table that stands and fits", async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE items (extra ${integer}, qty ${integer}, id ${integer} NOT NULL PRIMARY KEY, name ${text})`,
    );
    const site = await openSite(bench(), [items(bench())]);
    await apply(site.session, (t) => t.put(site.table, [["1", "a", "10"]]));
    expect(await itemRows(sql)).toEqual([["1", "a", "10"]]);
  });

  it("takes a unique key that is not the primary key", async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE items (own ${integer}, id ${integer} NOT NULL UNIQUE, name ${text}, qty ${integer})`,
    );
    const site = await openSite(bench(), [items(bench())]);
    await apply(site.session, (t) => t.put(site.table, [["1", "a", "1"]]));
    await apply(site.session, (t) => t.put(site.table, [["1", "b", "1"]]));
    expect(await itemRows(sql)).toEqual([["1", "b", "1"]]);
  });

  it("refuses what does not fit, by name, and changes nothing", async () => {
    const { integer, text, unfitForDecimal } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE narrow (id ${integer} NOT NULL PRIMARY KEY, amount ${unfitForDecimal})`,
    );
    await sql.run(`CREATE TABLE keyless (id ${integer} NOT NULL, name ${text})`);
    const target = await bench().target();
    const before = await sql.rows(bench().dialect.objects);
    const decimal = column("amount", { kind: "decimal", precision: 20, scale: 4 });
    const id = column("id", INTEGER, false);
    const plan = await target.plan([
      { name: bench().name("narrow"), columns: [id, decimal, column("more", TEXT)], key: ["id"] },
      { name: bench().name("keyless"), columns: [id, column("name", TEXT)], key: ["id"] },
    ]);
    const refused = plan.mappings.filter(({ fidelity }) => fidelity === "refused");
    expect(refused.map(({ table, column: name }) => `${table.name}.${name}`)).toEqual([
      "narrow.amount",
      "narrow.more",
      "keyless.id",
    ]);
    for (const { note } of refused) expect(note).toBeTruthy();
    expect(await sql.rows(bench().dialect.objects)).toEqual(before);
  });

  it("takes names as they are", async () => {
    const { quote } = bench().dialect;
    const odd = { name: `Sel"ect 'from'; \`x\``, key: `Or"der`, value: "wert ß 漢" };
    const site = await openSite(bench(), [
      {
        name: bench().name(odd.name),
        columns: [column(odd.key, INTEGER, false), column(odd.value, TEXT)],
        key: [odd.key],
      },
    ]);
    await apply(site.session, (t) =>
      t.put(site.table, [
        ["1", "it's"],
        ["2", "gone"],
      ]),
    );
    await apply(site.session, (t) => t.put(site.table, [["1", UNCHANGED]]));
    await apply(site.session, (t) => t.remove(site.table, [["2"]]));
    const rows = await site.sql.rows(
      `SELECT ${quote(odd.key)}, ${quote(odd.value)} FROM ${quote(odd.name)}`,
    );
    expect(rows).toEqual([["1", "it's"]]);
  });

  it("leaves no trace of ours when it is uninstalled, and keeps the rows", async () => {
    const site = await openSite(bench(), [items(bench())]);
    await apply(site.session, (t) => t.put(site.table, [["1", "a", "10"]]));
    await site.session.close();
    const catalog = await bench().catalog();
    expect((await catalog.planUninstall()).length).toBeGreaterThan(0);
    await catalog.uninstall();
    expect(await catalog.planUninstall()).toEqual([]);
    expect((await site.sql.rows(bench().dialect.objects)).join("\n")).not.toContain("tidemark");
    expect(await itemRows(site.sql)).toEqual([["1", "a", "10"]]);
  });
}
