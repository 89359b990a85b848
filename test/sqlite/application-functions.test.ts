// A target's table whose rules call what only its application defines (Django's REGEXP in a CHECK) cannot be
// written by anybody else: that is told before the start, or where it comes later stops the sync by name (G8).
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Bench } from "../../src/testing/database-bed.ts";
import { apply, itemRows, items, openSite } from "../../src/testing/target-site.ts";
import { sqliteBed } from "../conformance/sqlite-bed.ts";

let bench: Bench;
beforeEach(async () => {
  bench = new Bench(await sqliteBed());
});
afterEach(() => bench.close());

/** As the application does, whose connection alone has the function. */
function runAsApplication(ddl: string): void {
  using application = new DatabaseSync(bench.bed.url.slice("sqlite:".length));
  application.function("slug", { deterministic: true }, (text) => text);
  application.exec(ddl);
}

const RULES = [
  ["a check", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT CHECK (slug(name)), qty)"],
  [
    "an index",
    "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, qty); CREATE INDEX i ON items (slug(name))",
  ],
  [
    "a computed column",
    "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, qty INTEGER, s AS (slug(name)) STORED)",
  ],
  [
    "a trigger",
    `CREATE TABLE seen (name TEXT); CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, qty);
     CREATE TRIGGER i AFTER DELETE ON items BEGIN INSERT INTO seen VALUES (slug(OLD.name)); END`,
  ],
  [
    "a trigger of a column",
    `CREATE TABLE seen (name TEXT); CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, qty);
     CREATE TRIGGER i AFTER UPDATE OF qty ON items BEGIN INSERT INTO seen VALUES (slug(NEW.name)); END`,
  ],
  [
    "the default of a column that is not sent",
    "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, qty, s TEXT DEFAULT (slug('new')))",
  ],
] as const;

test.each(RULES)("a function of the application in %s is refused by name", async (_, ddl) => {
  runAsApplication(ddl);
  const target = await bench.target();
  const { mappings } = await target.plan([items(bench)]);
  for (const { fidelity, note } of mappings) {
    expect({ fidelity, note }).toEqual({
      fidelity: "refused",
      note: expect.stringMatching(/the function slug is its application's own, .* of items /),
    });
  }
});

test("one that no write of a sync calls is left to the application", async () => {
  runAsApplication(
    `CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT (slug('new')), qty, own TEXT);
     CREATE TRIGGER i AFTER UPDATE OF id, own ON items BEGIN SELECT slug(OLD.own); END`,
  );
  const { sql, session, table } = await openSite(bench, [items(bench)]);
  for (const name of ["a", "b"])
    await apply(session, (each) => each.put(table, [["1", name, "1"]]));
  expect(await itemRows(sql)).toEqual([["1", "b", "1"]]);
});

test("one that comes later stops with how to mend it", async () => {
  const { session, table } = await openSite(bench, [items(bench)]);
  runAsApplication("CREATE INDEX i ON items (slug(name))");
  const transaction = await session.begin(await session.load());
  const put = () => transaction.put(table, [["1", "a", "1"]]);
  await expect(transaction.attempt(put)).rejects.toMatchObject({
    code: "TM-TABLE-UNSUPPORTED",
    fix: expect.stringContaining("function slug"),
  });
  await transaction.rollback();
});
