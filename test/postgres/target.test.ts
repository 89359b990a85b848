import { afterEach, describe, expect, it } from "vitest";
import type { ColumnType } from "../../src/core/column-type.ts";
import type {
  ApplierSession,
  BoundTable,
  Progress,
  Target,
  TargetTable,
} from "../../src/core/target.ts";
import { type Row, UNCHANGED } from "../../src/core/value.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { connect, optionsOf, SERVERS } from "./support.ts";

const INTEGER: ColumnType = { kind: "integer", bits: 32 };
const TEXT: ColumnType = { kind: "text" };

describe.each(SERVERS)("%s as target", (kind) => {
  describe.skipIf(!available(kind))("an applier", () => {
    const open: { close(): Promise<unknown> }[] = [];
    afterEach(async () => {
      for (const each of open.splice(0).reverse()) await each.close();
    });

    async function start(tables: readonly TargetTable[], ddl = "SELECT 1") {
      const database = await freshDatabase(kind);
      const reader = await connect(database.url);
      open.push(
        { close: async () => database[Symbol.asyncDispose]() },
        { close: () => reader.end() },
      );
      await reader.query(ddl);
      const target: Target = await postgres.openTarget(optionsOf(database.url));
      open.push(target);
      const plan = await target.plan(tables);
      await target.prepare(plan);
      expect((await target.plan(tables)).statements).toEqual([]);
      const session = (await target.openApplier("a->b", plan.tables)) as ApplierSession;
      open.push(session);
      const rows = async (sql: string) =>
        (await reader.query({ text: sql, rowMode: "array" })).rows as unknown[][];
      return { database, reader, target, plan, session, rows, table: plan.tables[0] as BoundTable };
    }

    const next = (before: Progress, batch: number): Progress => ({
      ...before,
      timeline: "t",
      position: { batch, chunk: 0 },
      hash: `h${batch}`,
    });

    it("plans in few ways to the server, however many types its columns have", async () => {
      const columns = Array.from({ length: 40 }, (_, i) => {
        const precision = i + 1;
        const type = { kind: "decimal", precision, scale: 0 } as const;
        const nativeType = `numeric(${precision},0)`;
        return { name: `c${i}`, type, nativeType, sourceKind: "postgres", nullable: false };
      });
      const table = { name: { schema: "public", name: "wide" }, columns, key: ["c0"] };
      const { database } = await start([]);
      const proxy = await TcpProxy.start(database.url);
      open.push({ close: () => proxy[Symbol.asyncDispose]() });
      const target = await postgres.openTarget(optionsOf(proxy.through(database.url)));
      open.push(target);
      proxy.slow(3);
      const before = proxy.turns;
      const { statements } = await target.plan([table]);
      expect(statements.join()).toContain("numeric(40,0)");
      expect(proxy.turns - before).toBeLessThan(8);
    });

    it("makes tables in few ways to the server, and names the one that it cannot make", async () => {
      const table = (name: string): TargetTable => {
        const types = { type: INTEGER, nativeType: "integer", sourceKind: "postgres" };
        const columns = [{ name: "id", ...types, nullable: false }];
        return { name: { schema: "public", name }, columns, key: ["id"] };
      };
      const tables = Array.from({ length: 120 }, (_, i) => table(`t${i}`));
      const { database, reader } = await start([]);
      const proxy = await TcpProxy.start(database.url);
      open.push({ close: () => proxy[Symbol.asyncDispose]() });
      const target = await postgres.openTarget(optionsOf(proxy.through(database.url)));
      open.push(target);
      const plan = await target.plan(tables);
      // A name that something else takes meanwhile.
      await reader.query("CREATE TYPE t77 AS ENUM ()");
      await expect(target.prepare(plan)).rejects.toThrow(/t77/);
      await reader.query("DROP TYPE t77");
      const before = proxy.turns;
      await target.prepare(plan);
      expect(proxy.turns - before).toBeLessThan(40);
      expect((await target.plan(tables)).statements).toEqual([]);
    });

    it("keeps the tables' own triggers on when references are put off, as far as they can be", async () => {
      const column = (name: string) =>
        ({
          name,
          type: INTEGER,
          nativeType: "integer",
          sourceKind: "postgres",
          nullable: true,
        }) as const;
      const table = (name: string) => ({
        name: { schema: "public", name },
        columns: [column("id"), column("up")],
        key: ["id"],
      });
      const { session, plan, rows } = await start(
        [table("parents"), table("children")],
        `CREATE TABLE parents (id int PRIMARY KEY, up int);
         CREATE TABLE children (id int PRIMARY KEY, up int REFERENCES parents DEFERRABLE);
         CREATE TABLE counted (id int);
         CREATE FUNCTION count_one() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN INSERT INTO counted VALUES (NEW.id); RETURN NULL; END';
         CREATE TRIGGER count_one AFTER INSERT ON children FOR EACH ROW EXECUTE FUNCTION count_one()`,
      );
      const [parents, children] = plan.tables as [BoundTable, BoundTable];
      const before = await session.load();
      const transaction = await session.begin(before, { postponed: true });
      expect(transaction.enforcing).toBe(true);
      await transaction.attempt(() => transaction.put(children, [["1", "7"]]));
      await transaction.attempt(() => transaction.put(parents, [["7", null]]));
      await transaction.verify([parents, children]);
      await transaction.commit(next(before, 1));
      expect(await rows("SELECT id FROM counted")).toEqual([[1]]);

      const orphan = await session.begin(next(before, 1), { postponed: true });
      await orphan.attempt(() => orphan.put(children, [["2", "8"]]));
      await expect(orphan.verify([children])).rejects.toMatchObject({
        code: "TM-APPLY-CONSTRAINT",
      });
      await orphan.rollback();
    });

    it("looks at references by the operators of their constraints, and by none that another has planted", async () => {
      const column = (name: string) =>
        ({ name, type: TEXT, nativeType: "text", sourceKind: "postgres", nullable: true }) as const;
      const table = (name: string) => ({
        name: { schema: "public", name },
        columns: [column("id"), column("up")],
        key: ["id"],
      });
      const { session, plan } = await start(
        [table("parents"), table("children")],
        `CREATE TABLE parents (id varchar PRIMARY KEY, up varchar);
         CREATE TABLE children (id varchar PRIMARY KEY, up varchar REFERENCES parents);
         CREATE FUNCTION planted(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS
           'BEGIN RAISE ''planted''; END';
         CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = planted)`,
      );
      const [parents, children] = plan.tables as [BoundTable, BoundTable];
      const transaction = await session.begin(await session.load(), { postponed: true });
      expect(transaction.enforcing).toBe(false);
      await transaction.attempt(() => transaction.put(children, [["1", "7"]]));
      await transaction.attempt(() => transaction.put(parents, [["7", null]]));
      await transaction.verify([parents, children]);
      await transaction.attempt(() => transaction.put(children, [["2", "8"]]));
      const orphan = { code: "TM-APPLY-CONSTRAINT" };
      await expect(transaction.verify([children])).rejects.toMatchObject(orphan);
      await transaction.rollback();
    });

    it.skipIf(kind !== "postgres-newest")(
      "looks at a reference to periods as the server does",
      async () => {
        const period: ColumnType = { kind: "native", database: "postgres", name: "daterange" };
        const column = (name: string, type: ColumnType, nativeType: string) =>
          ({ name, type, nativeType, sourceKind: "postgres", nullable: true }) as const;
        const table = (name: string) => ({
          name: { schema: "public", name },
          columns: [
            column("n", INTEGER, "integer"),
            column("id", INTEGER, "integer"),
            column("at", period, "daterange"),
          ],
          key: ["n"],
        });
        const { session, plan } = await start(
          [table("parents"), table("children")],
          `CREATE EXTENSION btree_gist;
         CREATE TABLE parents (n int UNIQUE NOT NULL, id int, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS));
         CREATE TABLE children (n int PRIMARY KEY, id int, at daterange,
           FOREIGN KEY (id, PERIOD at) REFERENCES parents (id, PERIOD at))`,
        );
        const [parents, children] = plan.tables as [BoundTable, BoundTable];
        const transaction = await session.begin(await session.load(), { postponed: true });
        expect(transaction.enforcing).toBe(false);
        await transaction.attempt(() =>
          transaction.put(parents, [
            ["1", "1", "[2020-01-01,2020-02-01)"],
            ["2", "1", "[2020-02-01,2020-03-01)"],
          ]),
        );
        await transaction.attempt(() =>
          transaction.put(children, [["1", "1", "[2020-01-15,2020-02-15)"]]),
        );
        await transaction.verify([parents, children]);
        await transaction.attempt(() =>
          transaction.put(children, [["2", "1", "[2020-02-15,2020-03-15)"]]),
        );
        await expect(transaction.verify([children])).rejects.toMatchObject({
          code: "TM-APPLY-CONSTRAINT",
        });
        await transaction.rollback();
      },
    );

    it("neither reads nor writes progress that another version has made", async () => {
      const { target, reader } = await start([]);
      await reader.query("ALTER TABLE tidemark.progress_tables DROP COLUMN has_rows");
      const message = expect.stringContaining("tidemark.progress_tables");
      const version = { code: "TM-LOG-VERSION", message };
      await expect(target.copiesOf("a->b")).rejects.toMatchObject(version);
      await expect(target.plan([])).rejects.toMatchObject(version);
    });

    it("writes rows and progress in one transaction", async () => {
      const { session, rows, table } = await start([people()]);
      const before = await session.load();
      expect(before).toEqual({
        timeline: "",
        position: { batch: 0, chunk: 0 },
        hash: "",
        tables: [],
      });
      const first = await session.begin(before);
      await first.attempt(() =>
        first.put(table, [
          ["1", 'a"\\,{}', null],
          ["2", "", "x\ty\n"],
        ]),
      );
      expect(await rows("SELECT * FROM people")).toEqual([]);
      const after = {
        ...next(before, 1),
        tables: [
          {
            table: "public.people",
            state: "live" as const,
            cursor: null,
            copy: "c",
            hasRows: false,
          },
        ],
      };
      await first.commit(after);
      expect(await session.load()).toEqual(after);
      const second = await session.begin(after);
      await second.remove(table, [["1"], ["77"]]);
      await second.put(table, [
        ["2", UNCHANGED, "new"],
        ["3", "c", null],
      ]);
      await second.commit(next(after, 2));
      expect(await rows("SELECT * FROM people ORDER BY id")).toEqual([
        [2, "", "new"],
        [3, "c", null],
      ]);
    });

    it("lets the target's own triggers find their tables", async () => {
      const { session, rows, table, reader } = await start([people()]);
      await reader.query(
        `CREATE TABLE seen (n int);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN INSERT INTO seen VALUES (1); RETURN NULL; END';
         CREATE TRIGGER note AFTER INSERT ON ${table.name.name} FOR EACH STATEMENT EXECUTE FUNCTION note()`,
      );
      const before = await session.load();
      const transaction = await session.begin(before);
      await transaction.attempt(() => transaction.put(table, [["1", "a", null]]));
      await transaction.commit(next(before, 1));
      expect(await rows("SELECT count(*)::int FROM seen")).toEqual([[1]]);
    });

    it("fences a transaction that expects another progress", async () => {
      const { session, table, rows, reader } = await start([people()]);
      const before = await session.load();
      const first = await session.begin(before);
      await first.put(table, [["1", "a", null]]);
      await first.commit(next(before, 1));
      await expect(session.begin(before)).rejects.toMatchObject({ code: "TM-APPLY-FENCED" });
      const { target, plan } = { target: open[2] as Target, plan: [table] };
      expect(await target.openApplier("a->b", plan)).toBeNull();
      await session.close();
      const other = (await target.openApplier("a->b", plan)) as ApplierSession;
      open.push(other);
      const known = await other.load();
      await reader.query("UPDATE tidemark.progress SET batch = 5");
      const late = await other.begin(known);
      await expect(late.attempt(() => late.put(table, [["9", "z", null]]))).rejects.toMatchObject({
        code: "TM-APPLY-FENCED",
      });
      expect(await rows("SELECT id FROM people")).toEqual([[1]]);
    });

    it("undoes an attempt that breaks a rule, and goes on in the same transaction", async () => {
      const { session, table, rows } = await start(
        [people()],
        "CREATE TABLE people (id int PRIMARY KEY, name text UNIQUE, note text)",
      );
      const before = await session.load();
      const transaction = await session.begin(before);
      await transaction.attempt(() => transaction.put(table, [["1", "a", null]]));
      const collision = transaction.attempt(async () => {
        await transaction.put(table, [["2", "b", null]]);
        await transaction.put(table, [["3", "a", null]]);
      });
      await expect(collision).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
      await transaction.attempt(() => transaction.put(table, [["4", "d", null]]));
      await transaction.commit(next(before, 1));
      expect(await rows("SELECT id FROM people ORDER BY id")).toEqual([[1], [4]]);
    });

    it("puts fresh rows by COPY, and by upsert where one is there already", async () => {
      const { session, table, rows } = await start([people()]);
      const many = (from: number): Row[] =>
        Array.from({ length: 5_000 }, (_, i) => [String(from + i), `n\t${i}\\`, null]);
      let progress = await session.load();
      for (const from of [1, 3_000]) {
        const transaction = await session.begin(progress);
        await transaction.attempt(() => transaction.put(table, many(from), { fresh: true }));
        progress = next(progress, progress.position.batch + 1);
        await transaction.commit(progress);
      }
      expect(
        await rows("SELECT count(*)::int, min(name), count(DISTINCT id)::int FROM people"),
      ).toEqual([[7_999, "n\t0\\", 7_999]]);
    });

    it("checks deferrable constraints at the end of an attempt", async () => {
      const { session, plan, rows } = await start(
        [child(), people()],
        `CREATE TABLE people (id int PRIMARY KEY, name text, note text);
         CREATE TABLE child (id int PRIMARY KEY, person int REFERENCES people DEFERRABLE)`,
      );
      expect(plan.tables.map((table) => table.name.name)).toEqual(["people", "child"]);
      expect(plan.tables[1]?.parents).toEqual([0]);
      const [parents, children] = plan.tables as [BoundTable, BoundTable];
      const before = await session.load();
      const transaction = await session.begin(before);
      const orphan = transaction.attempt(() => transaction.put(children, [["1", "7"]]));
      await expect(orphan).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
      await transaction.attempt(async () => {
        await transaction.put(children, [["1", "7"]]);
        await transaction.put(parents, [["7", "p", null]]);
      });
      await transaction.commit(next(before, 1));
      expect(await rows("SELECT * FROM child")).toEqual([[1, 7]]);
    });

    it("names the table and column of a value it refuses, never the value", async () => {
      const { session, table } = await start(
        [people()],
        "CREATE TABLE people (id int PRIMARY KEY, name varchar, note text)",
      );
      const transaction = await session.begin(await session.load());
      const refused = transaction.attempt(() => transaction.put(table, [["secret", "a", null]]));
      await expect(refused).rejects.toMatchObject({
        code: "TM-VALUE-REFUSED",
        details: { table: "people", column: "id" },
        message: expect.not.stringContaining("secret"),
      });
    });

    it("refuses what a standing table cannot hold, with what to do", async () => {
      const { target, reader } = await start([people()]);
      await reader.query("CREATE TABLE narrow (id smallint, name varchar(3), must int NOT NULL)");
      const plan = await target.plan([{ ...people(), name: { schema: null, name: "narrow" } }]);
      const notes = plan.mappings
        .filter((each) => each.fidelity === "refused")
        .map((each) => each.note);
      expect(notes.join("\n")).toMatch(/CREATE UNIQUE INDEX ON "public"."narrow" \("id"\)/);
      expect(notes.join("\n")).toMatch(/ADD COLUMN "note" text/);
      expect(notes.join("\n")).toMatch(/ALTER "must" DROP NOT NULL/);
      expect(plan.mappings.find((each) => each.column === "name")?.fidelity).toBe("refused");
    });

    it("lets two first appliers race for the progress row", async () => {
      const { target, table } = await start([people()]);
      const sessions = await Promise.all([1, 2, 3].map(() => target.openApplier("new", [table])));
      const held = sessions.filter((session) => session !== null);
      expect(held.length).toBe(1);
      await held[0]?.close();
    });
  });
});

function column(name: string, type: ColumnType, nativeType: string, nullable = true) {
  return { name, type, nativeType, sourceKind: "postgres", nullable };
}

function people(): TargetTable {
  return {
    name: { schema: null, name: "people" },
    columns: [
      column("id", INTEGER, "integer", false),
      column("name", TEXT, "text"),
      column("note", TEXT, "text"),
    ],
    key: ["id"],
  };
}

function child(): TargetTable {
  return {
    name: { schema: null, name: "child" },
    columns: [column("id", INTEGER, "integer", false), column("person", INTEGER, "integer")],
    key: ["id"],
  };
}
