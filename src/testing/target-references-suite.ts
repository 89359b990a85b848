import { expect, it } from "vitest";
import type { TargetTransaction } from "../core/target.ts";
import { type Bench, refuses } from "./database-bed.ts";
import { after, apply, itemRows, items, openSite, reopen, tableOf } from "./target-site.ts";

/** Foreign keys of the target (G3). */
export function registerForeignKeys(bench: () => Bench): void {
  const openFamily = async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE parents (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer})`,
    );
    await sql.run(
      `CREATE TABLE children (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer}, FOREIGN KEY (qty) REFERENCES parents (id))`,
    );
    // Asked for in the wrong order.
    const site = await openSite(bench(), [items(bench(), "children"), items(bench(), "parents")]);
    return { ...site, parents: tableOf(site, "parents"), children: tableOf(site, "children") };
  };

  it("puts parents before children", async () => {
    const { tables } = await openFamily();
    expect(tables.map(({ name }) => name.name)).toEqual(["parents", "children"]);
    expect(tables.map(({ parents }) => parents)).toEqual([[], [0]]);
  });

  it("holds references at the end of every transaction", async () => {
    const site = await openFamily();
    const { sql, parents, children } = site;
    let { session } = site;
    await apply(session, async (t) => {
      await t.put(parents, [["1", "p", null]]);
      await t.put(children, [["10", "c", "1"]]);
    });
    const before = await session.load();
    await refuses(
      apply(session, (t) => t.put(children, [["11", "orphan", "2"]])),
      "TM-APPLY-CONSTRAINT",
    );
    session = await reopen(bench(), site, session);
    await refuses(
      apply(session, (t) => t.remove(parents, [["1"]])),
      "TM-APPLY-CONSTRAINT",
    );
    session = await reopen(bench(), site, session);
    expect(await session.load()).toEqual(before);
    await apply(session, async (t) => {
      await t.remove(children, [["10"]]);
      await t.remove(parents, [["1"]]);
    });
    expect(await itemRows(sql, "parents")).toEqual([]);
  });

  it("overwrites a parent without touching its children", async () => {
    const { sql, session, parents, children } = await openCascadingFamily();
    await apply(session, async (t) => {
      await t.put(parents, [["1", "p", null]]);
      await t.put(children, [["10", "c", "1"]]);
    });
    await apply(session, (t) => t.put(parents, [["1", "new", "5"]]));
    await apply(session, (t) => t.put(parents, [["1", "newer", "6"]], { fresh: true }));
    expect(await itemRows(sql, "children")).toEqual([["10", "c", "1"]]);
  });

  it("lets references be, where the database allows, only in a relaxed transaction", async () => {
    const { sql, session, children } = await openFamily();
    const put = (id: string, relaxed: boolean) =>
      apply(session, (t) => t.put(children, [[id, "orphan", "7"]]), { relaxed });
    if (bench().dialect.relaxes) {
      await put("1", true);
      expect(await itemRows(sql, "children")).toEqual([["1", "orphan", "7"]]);
    }
    await refuses(put("2", false), "TM-APPLY-CONSTRAINT");
  });

  it("tells which tables have columns outside their key that references follow", async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE parents (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer} UNIQUE)`,
    );
    const child = (name: string, column: string) =>
      `CREATE TABLE ${name} (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer}, FOREIGN KEY (qty) REFERENCES parents (${column}) ON UPDATE CASCADE)`;
    const followed = async () => {
      const site = await openSite(bench(), [items(bench(), "parents"), items(bench(), "children")]);
      await site.session.close();
      return [tableOf(site, "parents").followed, tableOf(site, "children").followed];
    };
    await sql.run(child("children", "id"));
    expect(await followed()).toEqual([false, false]);
    await sql.run(child("others", "qty"));
    expect(await followed()).toEqual([true, false]);
  });

  it("puts references off to the end, and lets no action run before", async () => {
    const { sql, session, parents, children } = await openCascadingFamily();
    expect([parents.cascades, children.cascades]).toEqual([true, false]);
    await apply(session, async (t) => {
      expect(t.enforcing).toBe(true);
      await t.put(parents, [["1", "p", null]]);
      await t.put(children, [["10", "c", "1"]]);
    });
    if (!bench().dialect.relaxes) return;
    const now = await session.load();
    const postponed = await session.begin(now, { postponed: true });
    expect(postponed.enforcing).toBe(false);
    await postponed.attempt(() => postponed.put(children, [["11", "early", "2"]]));
    await postponed.attempt(async () => {
      await postponed.remove(parents, [["1"]]);
      await postponed.put(parents, [["1", "again", null]]);
    });
    await postponed.attempt(() => postponed.put(parents, [["2", "late", null]]));
    await postponed.verify([parents, children]);
    await postponed.commit(after(now));
    expect(await itemRows(sql, "children")).toEqual([
      ["10", "c", "1"],
      ["11", "early", "2"],
    ]);
  });

  it("tells of references that do not hold at the end", async () => {
    const { session, parents, children } = await openCascadingFamily();
    const verify = async (work: (t: TargetTransaction) => Promise<void>) => {
      const transaction = await session.begin(await session.load(), { postponed: true });
      try {
        await transaction.attempt(() => work(transaction));
        await transaction.verify([parents]);
      } finally {
        await transaction.rollback();
      }
    };
    await verify((t) => t.put(parents, [["1", "p", null]]));
    await refuses(
      verify((t) => t.put(children, [["10", "orphan", "7"]])),
      "TM-APPLY-CONSTRAINT",
    );
  });

  async function openCascadingFamily() {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE parents (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer})`,
    );
    await sql.run(
      `CREATE TABLE children (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer}, FOREIGN KEY (qty) REFERENCES parents (id) ON DELETE CASCADE)`,
    );
    const site = await openSite(bench(), [items(bench(), "parents"), items(bench(), "children")]);
    return { ...site, parents: tableOf(site, "parents"), children: tableOf(site, "children") };
  }
}
