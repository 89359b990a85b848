import { describe, expect, it } from "vitest";
import { type ColumnType, describeType } from "../core/column-type.ts";
import { toTidemarkError } from "../core/errors.ts";
import type {
  ApplierSession,
  BoundTable,
  Progress,
  Target,
  TargetColumn,
  TargetPlan,
  TargetTable,
  TargetTransaction,
} from "../core/target.ts";
import { type Row, UNCHANGED, type Value } from "../core/value.ts";
import {
  type Bench,
  type DatabaseBed,
  type Dialect,
  refuses,
  type SqlSession,
  useBench,
} from "./database-bed.ts";
import { sorted, takeChunk } from "./replica.ts";
import { VALUE_SAMPLES } from "./values.ts";

/** The target contract (src/core/target.ts), run against one adapter. */
export function registerTargetSuite(name: string, createBed: () => Promise<DatabaseBed>): void {
  describe(`target contract: ${name}`, () => {
    const bench = useBench(createBed);
    describe("plan", () => registerPlan(() => bench.now));
    describe("rows", () => registerRows(() => bench.now));
    describe("foreign keys", () => registerForeignKeys(() => bench.now));
    describe("progress", () => registerProgress(() => bench.now));
    describe("values", () => registerValues(() => bench.now));
  });
}

const SYNC = "here->there";
const INTEGER: ColumnType = { kind: "integer", bits: 64 };
const TEXT: ColumnType = { kind: "text" };

function column(name: string, type: ColumnType, nullable = true): TargetColumn {
  return { name, type, nativeType: describeType(type), sourceKind: "elsewhere", nullable };
}

function items(bench: Bench, name = "items"): TargetTable {
  return {
    name: bench.name(name),
    columns: [column("id", INTEGER, false), column("name", TEXT), column("qty", INTEGER)],
    key: ["id"],
  };
}

/** A prepared target with one session. */
interface Site {
  readonly sql: SqlSession;
  readonly target: Target;
  readonly plan: TargetPlan;
  readonly tables: readonly BoundTable[];
  /** The first table of the plan. */
  readonly table: BoundTable;
  readonly session: ApplierSession;
}

async function openSite(bench: Bench, tables: readonly TargetTable[]): Promise<Site> {
  const target = await bench.target();
  const plan = await target.plan(tables);
  expect(plan.mappings.filter(({ fidelity }) => fidelity === "refused")).toEqual([]);
  await target.prepare(plan);
  const session = await openSession(bench, target, plan.tables);
  const sql = await bench.sql();
  return { sql, target, plan, tables: plan.tables, table: first(plan.tables), session };
}

async function openSession(
  bench: Bench,
  target: Target,
  tables: readonly BoundTable[],
  sync = SYNC,
): Promise<ApplierSession> {
  const session = await target.openApplier(sync, tables);
  if (session === null) throw new ReferenceError("the lease of the sync is not free");
  return bench.keep(session);
}

/** After most errors a session is of no more use (contract). */
async function reopen(bench: Bench, site: Site, session: ApplierSession): Promise<ApplierSession> {
  await session.close();
  return openSession(bench, site.target, site.tables);
}

function first<T>(list: readonly T[]): T {
  const [item] = list;
  if (item === undefined) throw new ReferenceError("an empty list");
  return item;
}

function tableOf(site: Site, name: string): BoundTable {
  return first(site.tables.filter((table) => table.name.name === name));
}

function after(progress: Progress): Progress {
  const batch = progress.position.batch + 1;
  return {
    ...progress,
    timeline: "a timeline",
    position: { batch, chunk: 0 },
    hash: `hash ${batch}`,
  };
}

/** One whole transaction under one attempt, as the applier does it. */
async function apply(
  session: ApplierSession,
  work: (transaction: TargetTransaction) => Promise<void>,
  options: { readonly relaxed?: boolean } = {},
): Promise<Progress> {
  const now = await session.load();
  const transaction = await session.begin(now, options);
  try {
    await transaction.attempt(() => work(transaction));
    await transaction.commit(after(now));
  } catch (error) {
    await transaction.rollback();
    throw error;
  }
  return after(now);
}

async function itemRows(sql: SqlSession, table = "items"): Promise<readonly Row[]> {
  return sorted(await sql.rows(`SELECT id, name, qty FROM ${table}`));
}

function registerPlan(bench: () => Bench): void {
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

function registerRows(bench: () => Bench): void {
  it("inserts, overwrites and removes by key", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    await apply(session, (t) =>
      t.put(table, [
        ["1", "a", "10"],
        ["2", "b", null],
        ["3", "c", "30"],
      ]),
    );
    await apply(session, async (t) => {
      await t.remove(table, [["2"], ["99"]]);
      await t.put(table, [
        ["1", "A", null],
        ["4", null, "40"],
      ]);
    });
    expect(await itemRows(sql)).toEqual([
      ["1", "A", null],
      ["3", "c", "30"],
      ["4", null, "40"],
    ]);
  });

  it("takes empty sets", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    await apply(session, async (t) => {
      await t.put(table, []);
      await t.put(table, [], { fresh: true });
      await t.remove(table, []);
    });
    expect(await itemRows(sql)).toEqual([]);
  });

  it("inserts lines as they came, where it says that it can, and only where no row stands", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    const text = ["1\ta\\tb\\\\\t10\n", "2\t\\N\t\\N\n", "3\t\t30\n"].join("");
    const lines = { layout: 1, rows: 3, filtered: false, bytes: Buffer.from(text) };
    const expected = [
      ["1", "a\tb\\", "10"],
      ["2", null, null],
      ["3", "", "30"],
    ];
    let streams = true;
    const write = async (t: TargetTransaction) => {
      const writer = await t.openLines?.(table);
      streams = writer !== undefined && writer !== null;
      if (!writer) return t.put(table, expected);
      for (const line of [text.slice(0, 13), text.slice(13)]) {
        await writer.write({ ...lines, rows: 1, bytes: Buffer.from(line) });
      }
      await writer.close();
    };
    const now = await session.load();
    const first = await session.begin(now);
    await write(first);
    await first.commit(after(now));
    expect(await itemRows(sql)).toEqual(expected);
    if (!streams) return;
    const again = await session.begin(after(now));
    await expect(write(again)).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
    await again.attempt(() => again.put(table, [["4", "after", "4"]]));
    await again.commit(after(after(now)));
    expect(await itemRows(sql)).toEqual([...expected, ["4", "after", "4"]]);
    const left = await session.begin(after(after(now)));
    await (await left.openLines?.(table))?.write({ ...lines, bytes: Buffer.from("9\tx\t9\n") });
    await left.rollback();
    expect(await itemRows(sql)).toEqual([...expected, ["4", "after", "4"]]);
  });

  it("takes rows said to be fresh, whether they are or not", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    const fresh = { fresh: true };
    await apply(session, (t) =>
      t.put(
        table,
        [
          ["1", "a", "1"],
          ["2", "b", "2"],
        ],
        fresh,
      ),
    );
    await apply(session, async (t) => {
      await t.put(
        table,
        [
          ["3", "c", "3"],
          ["2", "again", null],
        ],
        fresh,
      );
      await t.put(table, [["4", "d", "4"]], fresh);
    });
    expect(await itemRows(sql)).toEqual([
      ["1", "a", "1"],
      ["2", "again", null],
      ["3", "c", "3"],
      ["4", "d", "4"],
    ]);
  });

  it("clears a table and fills it again", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    await apply(session, (t) =>
      t.put(table, [
        ["1", "a", "1"],
        ["2", "b", "2"],
      ]),
    );
    await apply(session, async (t) => {
      await t.clear(table);
      await t.put(table, [["2", "new", "2"]], { fresh: true });
    });
    expect(await itemRows(sql)).toEqual([["2", "new", "2"]]);
  });

  it("leaves an unchanged column as it is, also among whole rows", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    await apply(session, (t) =>
      t.put(table, [
        ["1", "keep", "1"],
        ["2", "b", "2"],
        ["3", "c", "3"],
      ]),
    );
    await apply(session, (t) =>
      t.put(table, [
        ["1", UNCHANGED, "100"],
        ["2", "whole", "200"],
        ["3", "c2", UNCHANGED],
        ["4", "new", "4"],
      ]),
    );
    expect(await itemRows(sql)).toEqual([
      ["1", "keep", "100"],
      ["2", "whole", "200"],
      ["3", "c2", "3"],
      ["4", "new", "4"],
    ]);
  });

  it("works with keys of several columns, wherever they stand", async () => {
    const pairs: TargetTable = {
      name: bench().name("pairs"),
      columns: [
        column("v", TEXT),
        column("b", INTEGER, false),
        column("a", { kind: "text", maxLength: 40 }, false),
      ],
      key: ["a", "b"],
    };
    const { sql, session, table } = await openSite(bench(), [pairs]);
    await apply(session, (t) =>
      t.put(table, [
        ["x", "1", "k"],
        ["y", "2", "k"],
        ["z", "1", "l"],
      ]),
    );
    await apply(session, async (t) => {
      await t.remove(table, [["k", "1"]]);
      await t.put(table, [["y2", "2", "k"]]);
    });
    expect(sorted(await sql.rows("SELECT a, b, v FROM pairs"))).toEqual([
      ["k", "2", "y2"],
      ["l", "1", "z"],
    ]);
  });

  it("counts rows that are equal where there is no key", async () => {
    const bag: TargetTable = { ...items(bench(), "bag"), key: [] };
    const { sql, session, table } = await openSite(bench(), [
      { ...bag, columns: bag.columns.map((each) => ({ ...each, nullable: true })) },
    ]);
    const [one, none, other]: Row[] = [
      ["1", "a", "10"],
      [null, null, null],
      ["1", "A", "10"],
    ];
    const put = (rows: readonly Row[]) =>
      apply(session, (t) => t.put(table, rows, { fresh: true }));
    await put([one, one, one, none, none, other] as Row[]);
    await put([["1", "a ", "10"]]);
    const remove = (rows: readonly Row[]) => apply(session, (t) => t.remove(table, rows));
    await remove([one, none, ["1", "a", null], ["9", "a", "10"]] as Row[]);
    const left = async () => sorted(await sql.rows("SELECT id, name, qty FROM bag"));
    expect(await left()).toEqual(sorted([one, one, none, other, ["1", "a ", "10"]] as Row[]));
    // More than there are, and all at once.
    await remove([one, one, one, other, none] as Row[]);
    expect(await left()).toEqual([["1", "a ", "10"]]);
  });

  it("never overwrites another row that holds the same unique value", async () => {
    for (const fresh of [false, true]) {
      const { integer, text } = bench().dialect;
      const name = fresh ? "fresh_items" : "items";
      const sql = await bench().sql();
      await sql.run(
        `CREATE TABLE ${name} (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer} UNIQUE)`,
      );
      const site = await openSite(bench(), [items(bench(), name)]);
      await apply(site.session, (t) =>
        t.put(site.table, [
          ["1", "a", "1"],
          ["2", "b", "2"],
        ]),
      );
      const put = (row: Row) =>
        apply(site.session, (t) => t.put(site.table, [["3", "c", "3"], row], { fresh }));
      await refuses(put(["4", "d", "1"]), "TM-APPLY-CONSTRAINT");
      await refuses(put(["2", "d", "1"]), "TM-APPLY-CONSTRAINT");
      expect(await itemRows(sql, name)).toEqual([
        ["1", "a", "1"],
        ["2", "b", "2"],
      ]);
      await site.session.close();
    }
  });

  it("undoes an attempt that fails, and only it", async () => {
    const { integer, text } = bench().dialect;
    const standing = await bench().sql();
    await standing.run(
      `CREATE TABLE items (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer} UNIQUE)`,
    );
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    const now = await session.load();
    const transaction = await session.begin(now);
    await transaction.attempt(() => transaction.put(table, [["1", "kept", "1"]]));
    const failing = transaction.attempt(async () => {
      await transaction.put(table, [["2", "undone", "2"]]);
      await transaction.remove(table, [["1"]]);
      await transaction.put(table, [["1", "undone", "3"]]);
      await transaction.put(table, [["5", "collides", "3"]]);
    });
    await refuses(failing, "TM-APPLY-CONSTRAINT");
    expect(await transaction.attempt(async () => "result")).toBe("result");
    await transaction.attempt(() => transaction.put(table, [["3", "kept", "3"]]));
    await transaction.commit(after(now));
    expect(await itemRows(sql)).toEqual([
      ["1", "kept", "1"],
      ["3", "kept", "3"],
    ]);
    expect((await session.load()).position.batch).toBe(1);
  });

  it("finishes work and progress at once, or nothing of either", async () => {
    const { integer, text } = bench().dialect;
    await (await bench().sql()).run(
      `CREATE TABLE items (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer} UNIQUE)`,
    );
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    const finish = async (rows: readonly Row[]) => {
      const now = await session.load();
      const transaction = await session.begin(now);
      const work = async () => {
        // More statements than one, and an error in any of them.
        for (const row of rows) await transaction.put(table, [row]);
        await transaction.remove(table, [["99"]]);
      };
      if (transaction.finish) return transaction.finish(work, after(now));
      try {
        await transaction.attempt(work);
      } catch (error) {
        await transaction.rollback();
        throw error;
      }
      await transaction.commit(after(now));
    };
    await finish([["1", "a", "1"]]);
    const colliding = [
      ["2", "b", "2"],
      ["3", "c", "1"],
      ["4", "d", "4"],
    ];
    await refuses(finish(colliding), "TM-APPLY-CONSTRAINT");
    expect((await session.load()).position.batch).toBe(1);
    await finish([["2", "b", "2"]]);
    expect(await itemRows(sql)).toEqual([
      ["1", "a", "1"],
      ["2", "b", "2"],
    ]);
    expect((await session.load()).position.batch).toBe(2);
  });

  it("calls a NULL where none is allowed a broken rule", async () => {
    const table = items(bench());
    const columns = table.columns.map((entry) => ({ ...entry, nullable: false }));
    const site = await openSite(bench(), [{ ...table, columns }]);
    await refuses(
      apply(site.session, (t) => t.put(site.table, [["1", null, "1"]])),
      "TM-APPLY-CONSTRAINT",
    );
    expect(await itemRows(site.sql)).toEqual([]);
  });

  it("names a table or column that went away", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    await apply(session, (t) => t.put(table, [["1", "a", "1"]]));
    await sql.run("ALTER TABLE items DROP COLUMN qty");
    const error = await apply(session, (t) => t.put(table, [["2", "b", "2"]])).catch(
      toTidemarkError,
    );
    expect(error).toMatchObject({ code: "TM-COLUMN-MISSING" });
  });

  it("writes many rows, of every size, in one transaction", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    const rows = Array.from(
      { length: 20_000 },
      (_, i): Row => [
        String(i),
        `name ${i}`.repeat(1 + (i % 9)),
        i % 10 === 0 ? null : String(i * 3),
      ],
    );
    rows[10_000] = ["10000", "x".repeat(1 << 20), "1"];
    await apply(session, (t) => t.put(table, rows, { fresh: true }));
    await apply(session, (t) =>
      t.put(
        table,
        rows.map(([id]) => [id ?? null, "again", id ?? null]),
      ),
    );
    const sums = "SELECT count(*), count(DISTINCT name), min(name), sum(qty) FROM items";
    expect(await sql.rows(sums)).toEqual([["20000", "1", "again", String((20_000 * 19_999) / 2)]]);
    const odd = rows.filter((_, i) => i % 2 === 1).map(([id]) => [id ?? null]);
    await apply(session, (t) => t.remove(table, odd));
    expect(await sql.rows("SELECT count(*), max(id) FROM items")).toEqual([["10000", "19998"]]);
  });
}

function registerForeignKeys(bench: () => Bench): void {
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

function registerProgress(bench: () => Bench): void {
  it("begins at nothing", async () => {
    const { session } = await openSite(bench(), [items(bench())]);
    expect(await session.load()).toEqual({
      timeline: "",
      position: { batch: 0, chunk: 0 },
      hash: "",
      tables: [],
    });
  });

  it("stores progress and rows together, and finds both again", async () => {
    const { sql, target, session, table, tables } = await openSite(bench(), [items(bench())]);
    const next: Progress = {
      timeline: "zeit ß",
      position: { batch: 7, chunk: 3 },
      hash: "abc",
      tables: [
        { table: "a.x", state: "copying", cursor: '{"k":"\u{1f30a}"}', copy: "one", hasRows: true },
        { table: "b", state: "pending", cursor: null, copy: "two", hasRows: false },
      ],
    };
    const transaction = await session.begin(await session.load());
    await transaction.put(table, [["1", "a", "1"]]);
    await transaction.commit(next);
    expect(await session.load()).toEqual(next);
    await session.close();
    const again = await openSession(bench(), target, tables);
    expect(await again.load()).toEqual(next);
    expect(await itemRows(sql)).toEqual([["1", "a", "1"]]);
    const later: Progress = {
      ...after(next),
      tables: [
        { table: "a.x", state: "live", cursor: null, copy: "one", hasRows: false },
        ...next.tables.slice(1),
      ],
    };
    const second = await again.begin(next);
    await second.commit(later);
    expect(await again.load()).toEqual(later);
  });

  it("tells tables that hold no row, and how many a transaction would leave", async () => {
    const names = ["a", "b", "c"];
    const wanted = names.map((name) => items(bench(), name));
    const { session, tables } = await openSite(bench(), wanted);
    const [a, b, c] = names.map((name) =>
      first(tables.filter((table) => table.name.name === name)),
    ) as [BoundTable, BoundTable, BoundTable];
    expect(await session.emptyOf([])).toEqual([]);
    expect(new Set(await session.emptyOf([a, b, c]))).toEqual(new Set([a, b, c]));
    const rows = [1, 2, 3].map((id) => [String(id), "x", "1"]);
    await apply(session, (t) => t.put(b, rows));
    expect(new Set(await session.emptyOf([a, b, c]))).toEqual(new Set([a, c]));
    const transaction = await session.begin(await session.load());
    await transaction.attempt(() => transaction.remove(b, [["1"]]));
    expect(await session.countRows(b, 10)).toBe(2);
    expect(await session.countRows(b, 1)).toBe(1);
    await transaction.attempt(() => transaction.remove(b, [["2"], ["3"]]));
    expect(await session.countRows(b, 10)).toBe(0);
    await transaction.rollback();
    expect(await session.emptyOf([b])).toEqual([]);
  });

  it("takes each step once: what was committed cannot be begun again", async () => {
    const site = await openSite(bench(), [items(bench())]);
    const { sql, table } = site;
    let { session } = site;
    const start = await session.load();
    const next = await apply(session, (t) => t.put(table, [["1", "once", "1"]]));
    for (const other of [
      start,
      { ...next, timeline: "another" },
      { ...next, hash: "another" },
      { ...next, position: { batch: 1, chunk: 1 } },
    ]) {
      // An adapter may send begin together with what follows: then the commit is refused.
      const stale = async () => {
        const transaction = await session.begin(other);
        await transaction.put(table, [["1", "twice", "1"]]);
        await transaction.commit(after(other));
      };
      await refuses(stale(), "TM-APPLY-FENCED");
      session = await reopen(bench(), site, session);
    }
    expect(await itemRows(sql)).toEqual([["1", "once", "1"]]);
    expect(await session.load()).toEqual(next);
    await apply(session, (t) => t.put(table, [["2", "next", "2"]]));
    expect((await session.load()).position.batch).toBe(2);
    expect(await itemRows(sql)).toHaveLength(2);
  });

  it("has one session of a sync at a time, and the next one goes on", async () => {
    const { target, session, tables } = await openSite(bench(), [items(bench())]);
    const other = await bench().target();
    expect(await other.openApplier(SYNC, tables)).toBeNull();
    expect(await target.openApplier(SYNC, tables)).toBeNull();
    const progress = await apply(session, async () => {});
    await session.close();
    const next = await openSession(bench(), other, tables);
    expect(await next.load()).toEqual(progress);
  });

  it("keeps the progress of each sync apart", async () => {
    const { target, session, table } = await openSite(bench(), [items(bench())]);
    const plan = await target.plan([items(bench(), "others")]);
    await target.prepare(plan);
    const other = await openSession(bench(), target, plan.tables, "elsewhere->there");
    await apply(session, (t) => t.put(table, [["1", "a", "1"]]));
    expect((await other.load()).position.batch).toBe(0);
    await apply(other, (t) => t.put(first(plan.tables), [["1", "b", "1"]]));
    await apply(other, async () => {});
    expect((await session.load()).position.batch).toBe(1);
    expect((await other.load()).position.batch).toBe(2);
  });

  it("leaves nothing of a transaction that is rolled back or whose session ends", async () => {
    const { sql, target, session, table, tables } = await openSite(bench(), [items(bench())]);
    const start = await session.load();
    const transaction = await session.begin(start);
    await transaction.put(table, [["1", "never", "1"]]);
    await transaction.rollback();
    const second = await session.begin(start);
    await second.put(table, [["2", "never", "2"]]);
    await session.close();
    expect(await itemRows(sql)).toEqual([]);
    const again = await openSession(bench(), target, tables);
    expect(await again.load()).toEqual(start);
    await apply(again, (t) => t.put(table, [["3", "kept", "3"]]));
    expect(await itemRows(sql)).toEqual([["3", "kept", "3"]]);
  });

  it("shows readers whole transactions only", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    const start = await session.load();
    const transaction = await session.begin(start);
    await transaction.put(table, [["1", "half", "1"]]);
    expect(await itemRows(sql)).toEqual([]);
    await transaction.put(table, [["2", "half", "2"]]);
    await transaction.commit(after(start));
    expect(await itemRows(sql)).toHaveLength(2);
  });
}

/**
 * What the target wrote is read back through the source of the same adapter, so both codecs are
 * under test: a value survives there and back or its type is refused at plan.
 */
function registerValues(bench: () => Bench): void {
  for (const { type, nativeType, texts } of VALUE_SAMPLES) {
    it(`gives ${describeType(type)} back as it was, or refuses it at plan`, async () => {
      const value = { ...column("v", type), nativeType };
      const samples: TargetTable = {
        name: bench().name("samples"),
        columns: [column("id", INTEGER, false), value],
        key: ["id"],
      };
      const target = await bench().target();
      const plan = await target.plan([samples]);
      if (plan.mappings.some(({ fidelity }) => fidelity === "refused")) return;
      await target.prepare(plan);
      const session = await openSession(bench(), target, plan.tables);
      const rows: Row[] = [null, ...texts].map((text, i) => [String(i), text]);
      const expected = rows.map(([id, text]) => [id, sameAs(bench().dialect, type, text ?? null)]);
      for (const fresh of [true, false]) {
        await apply(session, (t) => t.put(first(plan.tables), rows, { fresh }));
        const back = await readBack(bench());
        expect(back.map(([id, text]) => [id, comparable(type, text ?? null)])).toEqual(expected);
      }
    });
  }

  it("never cuts, rounds or guesses", async () => {
    const { integer } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE items (id ${integer} NOT NULL PRIMARY KEY, name ${bench().dialect.shortText}, qty ${integer})`,
    );
    const target = await bench().target();
    const plan = await target.plan([items(bench())]);
    if (plan.mappings.some(({ fidelity }) => fidelity === "refused")) return;
    await target.prepare(plan);
    const session = await openSession(bench(), target, plan.tables);
    const long = "longer than the column";
    const outcome = await apply(session, (t) => t.put(first(plan.tables), [["1", long, "1"]])).then(
      () => "stored",
      (error) => toTidemarkError(error).code,
    );
    const rows = await itemRows(sql);
    if (outcome === "stored") expect(rows).toEqual([["1", long, "1"]]);
    else {
      expect(outcome).toBe("TM-VALUE-REFUSED");
      expect(rows).toEqual([]);
    }
  });
}

/** What the database may print instead, since it has no such type of its own. */
function sameAs(dialect: Dialect, type: ColumnType, text: Value): Value {
  const printed = typeof text === "string" ? (dialect.readsBack?.(type, text) ?? text) : text;
  return comparable(type, printed);
}

/** A double has several shortest texts (1e+308, 1e308): its value is what must survive. */
function comparable(type: ColumnType, text: Value): Value {
  return type.kind === "float" && typeof text === "string" ? String(Number(text)) : text;
}

async function readBack(bench: Bench): Promise<readonly Row[]> {
  const log = await bench.log();
  await log.capture([await bench.captureTable("samples")]);
  const request = {
    table: bench.name("samples"),
    after: null,
    maxRows: 1_000,
    maxBytes: 1 << 24,
  };
  const { chunk } = await takeChunk(log.batches, request);
  await log.close();
  return chunk.rows;
}
