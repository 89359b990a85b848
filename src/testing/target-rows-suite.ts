import { setTimeout as pause } from "node:timers/promises";
import { expect, it } from "vitest";
import { toTidemarkError } from "../core/errors.ts";
import type { TargetTable, TargetTransaction } from "../core/target.ts";
import { type Row, UNCHANGED } from "../core/value.ts";
import { type Bench, refuses } from "./database-bed.ts";
import { sorted } from "./replica.ts";
import { after, apply, column, INTEGER, itemRows, items, openSite, TEXT } from "./target-site.ts";

/** Lines written on after a refusal: more than a server takes in before it looks at the first. */
const MANY = 2_000;
const MANY_TIMES = 30;
const PAUSE_MS = 3;

/** Rows put and removed (G2). */
export function registerRows(bench: () => Bench): void {
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
    // What comes behind a row that stands is taken by nobody, and the end tells.
    const refused = await session.begin(after(after(now)));
    const writer = await refused.openLines?.(table);
    const bytes = Buffer.from("1\tagain\t1\n".repeat(MANY));
    for (let times = 0; times < MANY_TIMES; times++) {
      await writer?.write({ ...lines, rows: MANY, bytes });
      await pause(PAUSE_MS);
    }
    await expect(writer?.close()).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
    await refused.rollback();
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
