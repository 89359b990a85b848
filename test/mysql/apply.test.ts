// What the target's primitives promise: exact rows, constraints told apart, progress in the same transaction (G2, G3).
import { describe, expect, it } from "vitest";
import type { ColumnType } from "../../src/core/column-type.ts";
import { START } from "../../src/core/position.ts";
import type { ApplierSession, BoundTable, Progress, TargetTable } from "../../src/core/target.ts";
import { type Row, UNCHANGED } from "../../src/core/value.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available } from "../servers/index.ts";
import { type Bed, only, openBed, SERVERS } from "./bed.ts";

const INT: ColumnType = { kind: "integer", bits: 32 };
const TEXT: ColumnType = { kind: "text" };

function table(name: string, columns: Record<string, ColumnType>, key: string[]): TargetTable {
  return {
    name: { schema: null, name },
    key,
    columns: Object.entries(columns).map(([column, type]) => ({
      name: column,
      type,
      nativeType: type.kind,
      sourceKind: "postgres",
      nullable: !key.includes(column),
    })),
  };
}

interface OpenTarget extends AsyncDisposable {
  readonly session: ApplierSession;
  readonly tables: readonly BoundTable[];
}

async function openTarget(bed: Bed, ...tables: TargetTable[]): Promise<OpenTarget> {
  const target = await mysql.openTarget(bed.options);
  const plan = await target.plan(tables);
  expect(plan.mappings.filter(({ fidelity }) => fidelity === "refused")).toEqual([]);
  await target.prepare(plan);
  expect((await target.plan(tables)).statements).toEqual([]);
  const session = await target.openApplier("a->b", plan.tables);
  if (session === null) throw new Error("the lease is taken");
  expect(await target.openApplier("a->b", plan.tables)).toBeNull();
  return {
    session,
    tables: plan.tables,
    async [Symbol.asyncDispose]() {
      await session.close();
      await target.close();
    },
  };
}

const BEGUN: Progress = { timeline: "", position: START, hash: "", tables: [] };

function at(batch: number, tables: Progress["tables"] = []): Progress {
  return { timeline: "t", position: { batch, chunk: 0 }, hash: `h${batch}`, tables };
}

async function rows(bed: Bed, sql: string): Promise<unknown> {
  return (await bed.admin.query(sql))[0];
}

describe.each(SERVERS)("applying to %s", (kind) => {
  it.skipIf(!available(kind))("refuses a FLOAT in the key before it makes the table", async () => {
    await using bed = await openBed(kind);
    const own = table("t", { id: INT, v: { kind: "float", bits: 32 } }, ["id", "v"]);
    const columns = own.columns.map((each) => ({ ...each, sourceKind: "mysql" as const }));
    const target = await mysql.openTarget(bed.options);
    const { mappings } = await target.plan([{ ...own, columns }]);
    await target.close();
    expect(mappings.map(({ fidelity }) => fidelity)).toEqual(["exact", "refused"]);
  });

  it.skipIf(!available(kind))("commits rows and progress together, for one applier", async () => {
    await using bed = await openBed(kind);
    await using opened = await openTarget(bed, table("t", { id: INT, body: TEXT }, ["id"]));
    const { session } = opened;
    const t = only(opened.tables);
    expect(await session.load()).toEqual(BEGUN);
    const first = await session.begin(BEGUN);
    await first.put(
      t,
      [
        ["1", "one"],
        ["2", null],
      ],
      { fresh: true },
    );
    await first.commit(
      at(1, [{ table: "x", state: "copying", cursor: "c'\\", copy: "1", hasRows: false }]),
    );
    expect(await session.load()).toEqual(
      at(1, [{ table: "x", state: "copying", cursor: "c'\\", copy: "1", hasRows: false }]),
    );
    const stale = await session.begin(BEGUN);
    await stale.put(t, [["1", "stale"]]);
    await expect(stale.commit(at(1))).rejects.toMatchObject({ code: "TM-APPLY-FENCED" });
    expect(await rows(bed, "SELECT body FROM t WHERE id = 1")).toEqual([["one"]]);
    const second = await session.begin(await session.load());
    await second.put(t, [
      ["2", "it's \\ 'two' 😀\0\n"],
      ["3", "three"],
    ]);
    await second.remove(t, [["1"], ["99"]]);
    await second.commit(at(2));
    expect(await session.load()).toEqual(at(2));
    expect(await rows(bed, "SELECT * FROM t ORDER BY id")).toEqual([
      [2, "it's \\ 'two' 😀\0\n"],
      [3, "three"],
    ]);
    const third = await session.begin(at(2));
    await third.clear(t);
    await third.rollback();
    expect(await rows(bed, "SELECT COUNT(*) FROM t")).toEqual([["2"]]);
  });

  it.skipIf(!available(kind))(
    "keeps keys apart that differ in case or in spaces at the end",
    async () => {
      await using bed = await openBed(kind);
      await using opened = await openTarget(
        bed,
        table("t", { k: TEXT, n: INT, v: INT }, ["k", "n"]),
      );
      const keys = ["a", "A", "a ", "á", "", " "];
      const transaction = await opened.session.begin(await opened.session.load());
      await transaction.put(
        only(opened.tables),
        keys.map((key, index): Row => [key, "1", String(index)]),
      );
      await transaction.remove(only(opened.tables), [
        ["A", "1"],
        ["a ", "1"],
      ]);
      await transaction.commit(at(1));
      expect(await rows(bed, "SELECT k FROM t ORDER BY v")).toEqual([["a"], ["á"], [""], [" "]]);
    },
  );

  it.skipIf(!available(kind))(
    "never overwrites another row that holds a unique value, and undoes what an attempt did",
    async () => {
      await using bed = await openBed(kind);
      const exact = kind === "mysql" ? "utf8mb4_0900_bin" : "utf8mb4_nopad_bin";
      await bed.admin.query(
        `CREATE TABLE u (id INT PRIMARY KEY, code VARCHAR(20) COLLATE ${exact} UNIQUE, v INT)`,
      );
      const asked = table("u", { id: INT, code: { kind: "text", maxLength: 20 }, v: INT }, ["id"]);
      await using opened = await openTarget(bed, asked);
      const u = only(opened.tables);
      const many = Array.from({ length: 30 }, (_, i): Row => [String(i), `c${i}`, "0"]);
      const begun = await opened.session.begin(await opened.session.load());
      await begun.put(u, many.slice(0, 10));
      await begun.put(u, many, { fresh: true });
      await begun.put(
        u,
        many.map(([id, code]): Row => [id ?? null, `${String(code)}x`, "1"]),
      );
      // Before it something was written, so this attempt has a savepoint; the next has none.
      await expect(
        begun.attempt(async () => {
          await begun.remove(u, [["5"]]);
          await begun.put(u, [["1", "c2x", "9"]]);
        }),
      ).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT", details: { constraint: "code" } });
      await begun.commit(at(1));
      expect(await rows(bed, "SELECT COUNT(*), SUM(v), MIN(code) FROM u")).toEqual([
        ["30", "30", "c0x"],
      ]);
      const next = await opened.session.begin(at(1));
      await expect(
        next.attempt(async () => {
          await next.remove(u, [["5"]]);
          await next.put(
            u,
            many.map(([id]): Row => [id ?? null, "same", "2"]),
          );
        }),
      ).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
      await next.attempt(() => next.put(u, [["1", UNCHANGED, "7"]]));
      await next.commit(at(2));
      expect(await rows(bed, "SELECT COUNT(*), SUM(v) FROM u")).toEqual([["30", "36"]]);
      expect(await rows(bed, "SELECT code FROM u WHERE id = 1")).toEqual([["c1x"]]);
    },
  );

  it.skipIf(!available(kind))("refuses by name what does not fit, without the value", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      "CREATE TABLE narrow (id INT PRIMARY KEY, small TINYINT, short VARCHAR(3), n DECIMAL(6,2), day DATE)",
    );
    const decimal: ColumnType = { kind: "decimal" };
    const day: ColumnType = { kind: "date" };
    const asked = table("narrow", { id: INT, small: INT, short: TEXT, n: decimal, day }, ["id"]);
    await using opened = await openTarget(bed, asked);
    const bad: readonly [string, Row][] = [
      ["small", ["1", "777", null, null, null]],
      ["short", ["1", null, "secret", null, null]],
      ["n", ["1", null, null, "1.239", null]],
      ["day", ["1", null, null, null, "infinity"]],
    ];
    for (const [column, row] of bad) {
      const transaction = await opened.session.begin(await opened.session.load());
      const error: unknown = await transaction
        .put(only(opened.tables), [row])
        .catch((each) => each);
      expect(error).toMatchObject({
        code: "TM-VALUE-REFUSED",
        details: { table: "narrow", column },
      });
      expect(JSON.stringify(error) + String(error)).not.toMatch(/777|secret|1\.239|infinity/);
      await transaction.rollback();
    }
  });

  it.skipIf(!available(kind))(
    "orders parents first and lets foreign keys rest when relaxed",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        "CREATE TABLE p (id INT PRIMARY KEY); CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))",
      );
      await using opened = await openTarget(
        bed,
        table("c", { id: INT, p: INT }, ["id"]),
        table("p", { id: INT }, ["id"]),
      );
      const [p, c] = opened.tables;
      if (p === undefined || c === undefined) throw new Error("two tables");
      expect([p.name.name, c.parents]).toEqual(["p", [0]]);
      const strict = await opened.session.begin(await opened.session.load());
      await expect(strict.put(c, [["1", "1"]])).rejects.toMatchObject({
        code: "TM-APPLY-CONSTRAINT",
      });
      await strict.rollback();
      const relaxed = await opened.session.begin(await opened.session.load(), { relaxed: true });
      await relaxed.put(c, [["1", "1"]]);
      await relaxed.put(p, [["1"]]);
      await relaxed.commit(at(1));
      const again = await opened.session.begin(at(1));
      await expect(again.remove(p, [["1"]])).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
      await again.rollback();
    },
  );

  it.skipIf(!available(kind))("refuses at plan a table that would lose something", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `CREATE TABLE loose (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, t TIME, f FLOAT, c CHAR(5), must INT NOT NULL);
       CREATE TABLE heap (id INT PRIMARY KEY) ENGINE = MEMORY;
       CREATE TABLE keyless (id INT)`,
    );
    const target = await mysql.openTarget(bed.options);
    const time: ColumnType = { kind: "time" };
    const plan = await target.plan([
      table("loose", { k: TEXT, t: time, f: { kind: "float", bits: 64 }, c: TEXT, gone: INT }, [
        "k",
      ]),
      table("heap", { id: INT }, ["id"]),
      table("keyless", { id: INT }, ["id"]),
    ]);
    await target.close();
    const refused = plan.mappings.filter(({ fidelity }) => fidelity === "refused");
    expect(refused.map(({ table: { name }, column }) => `${name}.${column}`)).toEqual([
      ...["loose.k", "loose.t", "loose.f", "loose.c", "loose.gone", "heap.id", "keyless.id"],
    ]);
    for (const { note } of refused) expect(note).toMatch(/ALTER/);
  });
});
