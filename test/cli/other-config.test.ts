// A wait means the tables and rules of its own config: a process of another one does not answer for them (G4). Two
// configs that write one table do not overwrite each other's rows (G1).
import { writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Workplace } from "./tidemark.ts";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
  place.sql("shop.db", "CREATE TABLE customers (id INTEGER PRIMARY KEY)");
  place.sql("shop.db", "INSERT INTO customers VALUES (1), (2)");
});
afterEach(() => place[Symbol.asyncDispose]());

function configure(file: string, rule: string): Promise<void> {
  const databases = "databases: { shop: 'sqlite:shop.db', copy: 'sqlite:copy.db' }";
  return writeFile(
    place.path(file),
    `${databases}\nsyncs: [{ from: shop, to: copy, tables: [${rule}] }]\n`,
  );
}

test.each([
  ["a filter less", "customers"],
  ["another target table", "{ table: customers, as: people, where: id > 1 }"],
])("%s: the process at work has the old config", async (_, rule) => {
  await configure("old.yaml", "{ table: customers, where: id > 1 }");
  await configure("new.yaml", rule);
  const old = place.start(["run", "--config", "old.yaml"]);
  expect(await place.json(["wait", "--config", "old.yaml"])).toMatchObject({ exitCode: 0 });

  const { envelope, exitCode } = await place.json([
    "wait",
    "--config",
    "new.yaml",
    "--timeout",
    "2s",
  ]);
  expect(exitCode).toBe(1);
  expect(envelope.error).toMatchObject({
    code: "TM-WAIT-TIMEOUT",
    message: expect.stringContaining("other tables or rules"),
  });

  const next = place.start(["run", "--config", "new.yaml", "--until-synced"]);
  old.kill("SIGTERM");
  expect((await old).exitCode).toBe(143);
  expect((await next).exitCode).toBe(0);
  const table = rule.includes("people") ? "people" : "customers";
  expect(place.sql("copy.db", `SELECT id FROM ${table}`)).toHaveLength(table === "people" ? 1 : 2);
});

test("two sources into one table, of configs that know nothing of each other", async () => {
  place.sql("other.db", "CREATE TABLE customers (id INTEGER PRIMARY KEY)");
  place.sql("other.db", "INSERT INTO customers VALUES (7)");
  for (const [file, from] of [
    ["one.yaml", "shop"],
    ["two.yaml", "other"],
  ] as const) {
    await writeFile(
      place.path(file),
      `databases: { ${from}: 'sqlite:${from}.db', copy: 'sqlite:copy.db' }
queue: 'sqlite:${from}-queue/queue.db'
syncs: [{ from: ${from}, to: copy, tables: [customers] }]
`,
    );
  }
  const one = place.start(["run", "--config", "one.yaml"]);
  expect(await place.json(["wait", "--config", "one.yaml"])).toMatchObject({ exitCode: 0 });

  const refused = await place.json(["run", "--config", "two.yaml"]);
  expect(refused.exitCode).toBe(2);
  expect(refused.envelope.error).toMatchObject({
    code: "TM-CONFIG-OVERLAP",
    message: expect.stringContaining('"shop->copy"'),
  });
  expect(place.sql("copy.db", "SELECT id FROM customers")).toEqual([{ id: 1 }, { id: 2 }]);

  // Who ends while the other waits for it, as where a sync is given another name, is no rival.
  const two = place.start(["run", "--config", "two.yaml", "--until-synced"]);
  one.kill("SIGTERM");
  await one;
  expect((await two).exitCode).toBe(0);
  expect(place.sql("copy.db", "SELECT id FROM customers")).toContainEqual({ id: 7 });
});
