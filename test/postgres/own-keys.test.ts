// Keys of a type that PostgreSQL does not bring: its operators stand where no closed search_path finds them.
import { describe, expect, test } from "vitest";
import type { TidemarkError } from "../../src/core/errors.ts";
import { available } from "../servers/index.ts";
import { startPlayer } from "../support/player.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, insertRow, type TestTable } from "../support/test-tables.ts";

const PLACES: TestTable = {
  name: "places",
  columns: { at: "text", n: "integer" },
  key: ["at"],
};

describe.skipIf(!available("postgres"))("a key of an extension's type", () => {
  test.each([
    ["with its operators beside it", []],
    [
      "with its operator in a schema of its own",
      ['ALTER OPERATOR = (ltree, ltree) SET SCHEMA "my ops"'],
    ],
  ])("%s is captured, copied and applied", async (_, statements) => {
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
    const source = await bed.sql("source");
    if (
      (await source.rows("SELECT FROM pg_available_extensions WHERE name = 'ltree'")).length === 0
    ) {
      return;
    }
    for (const side of ["source", "target"]) {
      const sql = await bed.sql(side);
      await sql.run("CREATE EXTENSION ltree");
      await sql.run('CREATE SCHEMA "my ops"');
      await sql.run("CREATE TABLE places (at ltree PRIMARY KEY, n int)");
      for (const statement of statements) await sql.run(statement);
    }
    // With a trigger of the application each change reads its row again, by its key.
    await source.run(
      "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    );
    await source.run(
      "CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON places FOR EACH ROW EXECUTE FUNCTION keep()",
    );
    for (let n = 0; n < 30; n++) await insertRow(source, PLACES, { at: `top.n${n}`, n });
    const play = await startPlayer(bed, { tables: [PLACES] });
    await play("UPDATE places SET n = n + 100 WHERE n < 10");
    await play(
      "UPDATE places SET at = 'top.new' WHERE at::text = 'top.n3'",
      "UPDATE places SET n = 5",
    );
    await play("DELETE FROM places WHERE at::text LIKE 'top.n1%'");
    expect(await contents(await bed.sql("target"), PLACES)).toHaveLength(19);
  });

  test.each([
    ["alone", "PRIMARY KEY (at)"],
    ["behind another", "PRIMARY KEY (n, at)"],
  ])("without operators of the usual names, %s, is copied in pieces", async (_, key) => {
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
    const source = await bed.sql("source");
    const available = "SELECT FROM pg_available_extensions WHERE name = 'hstore'";
    if ((await source.rows(available)).length === 0) return;
    await source.run("CREATE EXTENSION hstore");
    await source.run(`CREATE TABLE places (at hstore, n int, note text, ${key})`);
    await source.run(
      "INSERT INTO places SELECT hstore('k', n::text), n, repeat('x', 500) FROM generate_series(1, 5000) n",
    );
    await source.run("INSERT INTO places VALUES ('', 0), ('k=>NULL', 0), ('\"b c\"=>\"\\\"\"', 0)");
    const places = { ...PLACES, key: key.includes("n,") ? ["n", "at"] : ["at"] };
    const play = await startPlayer(bed, { tables: [places] });
    await play("UPDATE places SET at = at || 'z=>1', n = n + 1 WHERE n < 10");
    await play("DELETE FROM places WHERE n > 4000");
    expect(await contents(await bed.sql("target"), places)).toHaveLength(4_003);
  });

  // The server has no operator for two of them.
  test.each([
    ["by rows", "keep"],
    ["by statements", null],
  ])("of a domain over an enum is captured %s, copied and applied", async (_, trigger) => {
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
    const source = await bed.sql("source");
    for (const sql of [source, await bed.sql("target")]) {
      await sql.run("CREATE TYPE place AS ENUM ('(a)', '(b)', '(c)', '(d)')");
      await sql.run("CREATE DOMAIN spot AS place");
      await sql.run("CREATE TABLE places (at spot PRIMARY KEY, n int)");
    }
    if (trigger !== null) {
      await source.run(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
      );
      await source.run(
        "CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON places FOR EACH ROW EXECUTE FUNCTION keep()",
      );
    }
    for (const [n, at] of ["(a)", "(b)", "(c)"].entries())
      await insertRow(source, PLACES, { at, n });
    const play = await startPlayer(bed, { tables: [PLACES] });
    await play("UPDATE places SET n = n + 100");
    await play("UPDATE places SET at = '(d)' WHERE n = 100", "DELETE FROM places WHERE n = 101");
    expect(await contents(await bed.sql("target"), PLACES)).toHaveLength(2);
  });

  // Whoever may create in the schema of a key's type could have us run what is theirs, with our rights.
  test.each([
    ["an enum", "at", ["CREATE TYPE place AS ENUM ('(a)', '(b)', '(c)')"], "place"],
    ["a composite type", "at", ["CREATE TYPE place AS (name text)"], "place"],
    ["an extension", "at", ["CREATE EXTENSION citext", "CREATE DOMAIN place AS citext"], null],
    [
      "an extension, beside another",
      "at, n",
      ["CREATE EXTENSION citext", "CREATE DOMAIN place AS citext"],
      null,
    ],
  ] as const)(
    "of %s is copied by no operator that another has put beside it",
    async (_, key, type, ordered) => {
      await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
      const source = await bed.sql("source");
      for (const sql of [source, await bed.sql("target")]) {
        for (const statement of type) await sql.run(statement);
        await sql.run(`CREATE TABLE places (at place, n int, PRIMARY KEY (${key}))`);
      }
      for (const [n, at] of ["(a)", "(b)", "(c)"].entries())
        await insertRow(source, PLACES, { at, n });
      const planted = [["<>", "oid", "int"] as const];
      const orders = [">", "<="].map((name) => [name, ordered, ordered] as const);
      for (const [name, left, right] of ordered === null ? planted : [...planted, ...orders]) {
        await source.run(
          `CREATE OR REPLACE FUNCTION planted(${left}, ${right}) RETURNS boolean LANGUAGE plpgsql
         AS 'BEGIN RAISE ''planted''; END'`,
        );
        await source.run(
          `CREATE OPERATOR ${name} (LEFTARG = ${left}, RIGHTARG = ${right}, FUNCTION = planted)`,
        );
      }
      const places = { ...PLACES, key: key.split(", ") };
      const play = await startPlayer(bed, { tables: [places] });
      await play("UPDATE places SET n = n + 100");
      expect(await contents(await bed.sql("target"), places)).toHaveLength(3);
    },
  );

  // Its values are then compared not at all ("operator is not unique": PostgreSQL's own foreign keys fail by it, too), or, of a
  // domain, by what the cast makes of them.
  test.each([
    ["an enum", "place", "ENUM ('(1)', '(2)')", "CAST (place AS text) WITH INOUT"],
    ["a number", "place", "ENUM ('(1)', '(2)')", "CAST (place AS integer) WITH FUNCTION numbered"],
    ["a composite type", "place", "(name text)", "CAST (place AS text) WITH INOUT"],
    ["a range", "place", "RANGE (SUBTYPE = numeric)", "CAST (place AS text) WITH INOUT"],
  ])(
    "whose type has an implicit cast, %s, is refused before capture",
    async (_, key, type, cast) => {
      await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
      const [source, target] = [await bed.sql("source"), await bed.sql("target")];
      for (const sql of [source, target]) {
        await sql.run(`CREATE TYPE place AS ${type}`);
        await sql.run("CREATE DOMAIN spot AS place");
        await sql.run(`CREATE TABLE places (at ${key} PRIMARY KEY, n int)`);
        await sql.run("CREATE FUNCTION numbered(place) RETURNS int LANGUAGE sql AS 'SELECT 1'");
      }
      await source.run(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
      );
      await source.run(
        "CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON places FOR EACH ROW EXECUTE FUNCTION keep()",
      );
      const start = () =>
        bed.start(bed.define([{ from: "source", to: "target", tables: ["places"] }]));
      const one = type.startsWith("RANGE") ? "[1,2]" : "(1)";
      const drop = `DROP ${/CAST .*?\)/.exec(cast)?.[0]}`;
      for (const [sql, code] of [
        [source, "TM-TYPE-UNSUPPORTED"],
        [target, "TM-COLUMN-UNFIT"],
      ] as const) {
        await sql.run(`CREATE ${cast} AS IMPLICIT`);
        const error = (await start().catch((refusal) => refusal)) as TidemarkError;
        expect(error.code).toBe(code);
        expect(`${error.message} ${error.fix}`).toContain(drop.replace("place", "public.place"));
        await source.run(`INSERT INTO places VALUES ('${one}', 0)`);
        await source.run("UPDATE places SET n = 1");
        await source.run("DELETE FROM places");
        await sql.run(drop);
        await sql.run(`CREATE ${cast} AS ASSIGNMENT`);
      }
      const pipeline = await start();
      await source.run(`INSERT INTO places VALUES ('${one}', 0)`);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      expect(await target.rows("SELECT n FROM places")).toEqual([{ n: "0" }]);
    },
  );

  test.each([
    ["a row trigger", "place", true],
    ["statement triggers", "place", false],
    ["the order of their text", "hstore", false],
  ])("by %s is captured and copied by no cast of its owner", async (_, type, withTrigger) => {
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    for (const sql of [source, target]) {
      await sql.run(`CREATE TYPE ${type} AS (name text)`);
      await sql.run(`CREATE TABLE places (at ${type} PRIMARY KEY, n int)`);
    }
    for (const [n, at] of ["(a)", "(b)", "(c)"].entries())
      await insertRow(source, PLACES, { at, n });
    await source.run(
      `CREATE FUNCTION planted(${type}) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''planted''; END'`,
    );
    await source.run(`CREATE CAST (${type} AS text) WITH FUNCTION planted(${type})`);
    if (withTrigger) {
      await source.run(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
      );
      await source.run(
        "CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON places FOR EACH ROW EXECUTE FUNCTION keep()",
      );
    }
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: ["places"] }]),
    );
    for (const statement of [
      "UPDATE places SET n = n + 100",
      "UPDATE places SET at = ROW('d') WHERE n = 100",
      "DELETE FROM places WHERE n = 101",
    ]) {
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await source.run(statement);
    }
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    expect(await target.rows("SELECT (at).name AS name, n FROM places ORDER BY 1")).toEqual([
      { name: "c", n: "102" },
      { name: "d", n: "100" },
    ]);
  });

  test("and of a domain over one, whose index takes different texts for equal, fits the table made for it", async () => {
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    for (const sql of [source, target]) await sql.run("CREATE EXTENSION citext");
    await source.run("CREATE DOMAIN place AS citext CHECK (VALUE <> '')");
    await source.run("CREATE TABLE places (at place PRIMARY KEY, n int)");
    await insertRow(source, PLACES, { at: "Top", n: 1 });
    const definition = bed.define([{ from: "source", to: "target", tables: ["places"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    await source.run("UPDATE places SET at = 'TOP'");
    const again = await bed.start(definition);
    await again.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(PLACES);
  });
});
