// A process that does a part of a pipeline: with nothing to do it is refused, and it waits for its own part (G4, G8).
import { writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Workplace } from "./tidemark.ts";

const CONFIG = `databases: { shop: 'sqlite:shop.db', copy: 'sqlite:copy.db', reports: 'sqlite:reports.db' }
syncs:
  - { from: shop, to: [copy, reports], tables: [customers] }
`;

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
  place.sql("shop.db", "CREATE TABLE customers (id INTEGER PRIMARY KEY)");
  place.sql("shop.db", "INSERT INTO customers VALUES (1), (2)");
  await writeFile(place.path("tidemark.yaml"), CONFIG);
});
afterEach(() => place[Symbol.asyncDispose]());

test.each([
  ["relay", "copy", /no sync of the config reads from "copy"/, /: shop\.$/],
  ["applier", "shop", /no sync of the config writes to "shop"/, /: copy, reports\.$/],
])(
  "run --role %s --database %s has nothing to do, and says so",
  async (role, name, what, names) => {
    const { envelope, exitCode } = await place.json(["run", "--role", role, "--database", name]);
    expect(exitCode).toBe(2);
    expect(envelope.error).toMatchObject({
      code: "TM-USAGE",
      message: expect.stringMatching(what),
      fix: expect.stringMatching(names),
    });
  },
);

test("run --until-synced --database waits for its own targets, not for others", async () => {
  const first = await place.start(["run", "--until-synced", "--database", "shop", "copy"]);
  expect(first).toMatchObject({ exitCode: 0, stderr: "" });
  expect(place.sql("copy.db", "SELECT id FROM customers")).toHaveLength(2);

  const rest = await place.start(["run", "--until-synced", "--database", "shop", "reports"]);
  expect(rest).toMatchObject({ exitCode: 0, stderr: "" });
  expect(place.sql("reports.db", "SELECT id FROM customers")).toHaveLength(2);
});

test("relays alone wait for targets that another process applies to", async () => {
  const relay = place.start(["run", "--role", "relay", "--until-synced"]);
  const appliers = place.start(["run", "--role", "applier"]);
  expect(await relay).toMatchObject({ exitCode: 0, stderr: "" });
  expect(place.sql("copy.db", "SELECT id FROM customers")).toHaveLength(2);
  expect(place.sql("reports.db", "SELECT id FROM customers")).toHaveLength(2);
  appliers.kill("SIGTERM");
  expect((await appliers).exitCode).toBe(143);
});

test("an applier started before its relay says what it waits for, and goes on", async () => {
  const applier = place.start(["run", "--role", "applier"]);
  let told = "";
  for await (const line of applier.readable({ from: "stderr" })) {
    told += line;
    if (told.includes("source=shop")) break;
  }
  expect(told).toMatch(/waiting for the relay to write its tables to the queue.*source=shop/);
  expect(told).toContain("start=tidemark run --role relay --database shop");
  const relay = await place.start(["run", "--role", "relay", "--until-synced"]);
  expect(relay.exitCode).toBe(0);
  applier.kill("SIGTERM");
  expect((await applier).exitCode).toBe(143);
});
