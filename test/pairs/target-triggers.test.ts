// Triggers of the application at the target run for applied rows as well. One that writes what the
// sync writes would double what came from the source already: it is refused, with the statement that
// mends it. Others run, and are named (G2, G8).
import { describe, expect, test } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { available, NINE_PAIRS, type TestPair, title } from "../support/pairs.ts";
import type { Dialect, SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

const TABLES = [
  "CREATE TABLE parts (id INTEGER PRIMARY KEY, qty INTEGER)",
  "CREATE TABLE totals (id INTEGER PRIMARY KEY, n INTEGER)",
];
const SEEN = "CREATE TABLE seen (part INTEGER)";

const ADD = "UPDATE totals SET n = n + NEW.qty WHERE id = 1;";
const NOTE = "INSERT INTO seen VALUES (NEW.id);";

/** A trigger that runs these statements after each new part. */
const AFTER_INSERT: Readonly<Record<Dialect, (name: string, body: string) => readonly string[]>> = {
  postgres: (name, body) => [
    `CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} RETURN NULL; END $$`,
    `CREATE TRIGGER ${name} AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION ${name}()`,
  ],
  mariadb: (name, body) => [
    `CREATE TRIGGER ${name} AFTER INSERT ON parts FOR EACH ROW BEGIN ${body} END`,
  ],
  sqlite: (name, body) => [`CREATE TRIGGER ${name} AFTER INSERT ON parts BEGIN ${body} END`],
};

const FIX: Readonly<Record<Dialect, string>> = {
  postgres: 'ALTER TABLE "public"."parts" DISABLE TRIGGER "add_up"',
  mariadb: "DROP TRIGGER `add_up`",
  sqlite: 'DROP TRIGGER "add_up"',
};

const PAIRS = NINE_PAIRS.filter(({ source, target }) => source === target);

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerTriggerTests(pair));
});

function registerTriggerTests(pair: TestPair): void {
  test("one that writes what the sync writes is refused, until it is off", async () => {
    await using bed = await bedWithTotals(pair);
    const target = await bed.sql("target");
    const { dialect } = target;
    await runAll(target, AFTER_INSERT[dialect]("add_up", ADD));
    const definition = define(bed);
    const plan = await makePlan(definition, silentLogger);
    expect(plan.refused).toBe(1);
    const totals = dialect === "postgres" ? "public.totals" : "totals";
    const refusal = {
      code: "TM-COLUMN-UNFIT",
      message: expect.stringMatching(
        new RegExp(`trigger add_up of \\S*parts runs for applied rows, too, and writes ${totals}`),
      ),
    };
    await expect(bed.start(definition)).rejects.toMatchObject(refusal);
    expect(await findings(bed)).toContain("error column-unfit");
    expect(plan.mappings.find(({ fidelity }) => fidelity === "refused")?.note).toContain(
      FIX[dialect],
    );

    await target.run(FIX[dialect]);
    expect((await makePlan(definition, silentLogger)).refused).toBe(0);
    await expectCounted(bed);
  });

  test("one that writes other tables runs, and is named", async () => {
    await using bed = await bedWithTotals(pair);
    const target = await bed.sql("target");
    await target.run(SEEN);
    await runAll(target, AFTER_INSERT[target.dialect]("note_down", NOTE));
    const plan = await makePlan(define(bed), silentLogger);
    expect(plan.refused).toBe(0);
    const { notes = [] } = plan.databases.find(({ name }) => name === "target") ?? {};
    expect(notes.join()).toMatch(/trigger note_down .*(?:DISABLE|DROP) TRIGGER/);
    expect(await findings(bed)).toContain("warning target-triggers");
    await expectCounted(bed);
    // The copy of a table may go in without triggers; what follows does not.
    expect(await target.rows("SELECT part FROM seen WHERE part = 2")).toEqual([{ part: "2" }]);
    expect(bed.logger.text()).toContain("trigger note_down");
  });

  if (pair.target === "postgres") {
    test("a rule is refused, until it is off", async () => {
      await using bed = await bedWithTotals(pair);
      const target = await bed.sql("target");
      await target.run("CREATE RULE kept AS ON DELETE TO parts DO INSTEAD NOTHING");
      await expect(bed.start(define(bed))).rejects.toMatchObject({
        code: "TM-COLUMN-UNFIT",
        message: expect.stringContaining(
          "cannot be written (the rule kept rewrites what is written",
        ),
      });
      await target.run("ALTER TABLE parts DISABLE RULE kept");
      await expectCounted(bed);
    });

    test("one that was told to run for replicated rows is left to whoever said so", async () => {
      await using bed = await bedWithTotals(pair);
      const target = await bed.sql("target");
      await runAll(target, AFTER_INSERT.postgres("add_up", ADD));
      await target.run("ALTER TABLE parts ENABLE ALWAYS TRIGGER add_up");
      expect((await makePlan(define(bed), silentLogger)).refused).toBe(0);
      await target.run("ALTER TABLE parts ENABLE REPLICA TRIGGER add_up");
      expect((await makePlan(define(bed), silentLogger)).refused).toBe(0);
    });
  }

  if (pair.target === "mariadb") {
    test("one that looks whether rows are applied may stay, and runs for others", async () => {
      await using bed = await bedWithTotals(pair);
      const target = await bed.sql("target");
      const body = `IF @tidemark_applying IS NULL THEN ${ADD} END IF;`;
      await runAll(target, AFTER_INSERT.mariadb("add_up", body));
      await expectCounted(bed);
      await target.run("INSERT INTO parts VALUES (9, 100)");
      expect(await target.rows("SELECT n FROM totals")).toEqual([{ n: "105" }]);
    });
  }
}

/** At the source the same trigger counts, as the application means it. */
async function bedWithTotals(pair: TestPair): Promise<TestBed> {
  const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  await runAll(source, [...TABLES, ...AFTER_INSERT[source.dialect]("add_up", ADD)]);
  await source.run("INSERT INTO totals VALUES (1, 0)");
  await runAll(await bed.sql("target"), TABLES);
  return bed;
}

function define(bed: TestBed) {
  return bed.define([{ from: "source", to: "target", tables: ["parts", "totals"] }]);
}

async function runAll(sql: SqlClient, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await sql.run(statement);
}

async function findings(bed: TestBed): Promise<readonly string[]> {
  const found = await diagnose(define(bed), silentLogger);
  return found.flatMap((of) => of.findings.map(({ severity, check }) => `${severity} ${check}`));
}

/** A part that is copied and one that follows are each counted once. */
async function expectCounted(bed: TestBed): Promise<void> {
  const [source, target] = [await bed.sql("source"), await bed.sql("target")];
  await source.run("INSERT INTO parts VALUES (1, 2)");
  const pipeline = await bed.start(define(bed));
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await source.run("INSERT INTO parts VALUES (2, 3)");
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  expect(await target.rows("SELECT n FROM totals")).toEqual([{ n: "5" }]);
  expect(await target.rows("SELECT id FROM parts ORDER BY id")).toEqual([{ id: "1" }, { id: "2" }]);
}
