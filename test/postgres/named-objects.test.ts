// Columns whose values name objects of the database (regclass …): one that the target lacks is told with its column (G8).
import { describe, expect, it } from "vitest";
import { makePlan } from "../../src/pipeline/plan.ts";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

const MADE = `CREATE TABLE other (id int); CREATE FUNCTION made() RETURNS int LANGUAGE sql AS 'SELECT 1';
  CREATE TYPE mood AS ENUM ('a'); CREATE SCHEMA place`;

describe.skipIf(!available("postgres"))("a value that names what the target lacks", () => {
  it.each([
    ["regclass", "other"],
    ["regproc", "made"],
    ["regprocedure", "made()"],
    ["regtype", "mood"],
    ["regnamespace", "place"],
    ["regclass[]", "{other}"],
  ])("%s", async (type, value) => {
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run(`${MADE}; CREATE TABLE t (id int PRIMARY KEY, c regclass, v ${type})`);
    await target.run(`CREATE TABLE t (id int PRIMARY KEY, c regclass, v ${type})`);
    const definition = bed.define([{ from: "source", to: "target", tables: ["t"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    // A dash is none, and the number of what is gone stays a number.
    await source.run(`INSERT INTO t VALUES (1, '-', '${value}'), (2, '123456789', NULL)`);
    await expect(first.finished).rejects.toMatchObject({
      code: "TM-VALUE-REFUSED",
      message: "A value for public.t, column v names an object that the target's database lacks.",
      fix: expect.stringMatching(/^Create it at the target/),
    });
    await bed.stop(first);
    await target.run(MADE);
    const again = await bed.start(definition);
    await again.waitFor({ timeoutMs: PATIENCE_MS });
    expect(await target.rows("SELECT id, v::text FROM t ORDER BY id")).toEqual(
      await source.rows("SELECT id, v::text FROM t ORDER BY id"),
    );
  });

  it("a label of an enum, as plan says", async () => {
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    const table = "CREATE TABLE t (id int PRIMARY KEY, v mood)";
    await source.run(`CREATE TYPE mood AS ENUM ('a', 'b'); ${table}`);
    await target.run(`CREATE TYPE mood AS ENUM ('a'); ${table}`);
    const definition = bed.define([{ from: "source", to: "target", tables: ["t"] }]);
    const { mappings } = await makePlan(definition, bed.logger);
    const note = mappings.find(({ column }) => column === "v")?.note ?? "";
    const first = await bed.start(definition);
    await source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    await expect(first.finished).rejects.toMatchObject({
      code: "TM-VALUE-REFUSED",
      details: { column: "v" },
      fix: expect.stringMatching(/^ALTER TYPE public.mood ADD VALUE '…'/),
    });
    await bed.stop(first);
    await target.run(/ALTER TYPE .*/.exec(note)?.[0] ?? "");
    const again = await bed.start(definition);
    await again.waitFor({ timeoutMs: PATIENCE_MS });
    expect(await target.rows("SELECT v FROM t")).toHaveLength(2);
  });

  it("is not taken for what a trigger there does not find", async () => {
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run("CREATE TABLE t (id int PRIMARY KEY, c regclass)");
    await target.run(`CREATE TABLE t (id int PRIMARY KEY, c regclass);
      CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO nowhere VALUES (1); RETURN NEW; END $$;
      CREATE TRIGGER lost BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION lost();
      ALTER TABLE t ENABLE ALWAYS TRIGGER lost`);
    const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables: ["t"] }]));
    await source.run("INSERT INTO t VALUES (1, '-')");
    await expect(pipeline.finished).rejects.toMatchObject({ code: "TM-TABLE-MISSING" });
  });
});
