// Parked rows from the command line: seen, looked at, tried again by the program that runs, dropped.
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Workplace } from "./tidemark.ts";

const CONFIG = `export default {
  databases: { shop: "sqlite:./shop.db", copy: "sqlite:./copy.db" },
  syncs: [{ from: "shop", to: "copy", onError: "park", tables: [{
    table: "items",
    transform(row) {
      if (row.name.startsWith("bad")) throw new Error("cannot read " + row.name);
      return row;
    },
  }] }],
};`;

test("parked list, show, retry and drop", async () => {
  await using place = await Workplace.make();
  writeFileSync(place.path("tidemark.config.mjs"), CONFIG);
  place.sql("shop.db", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)");
  place.sql("shop.db", "INSERT INTO items VALUES (1, 'good'), (2, 'bad one'), (3, 'bad two')");
  const none = await place.start(["parked", "list"]);
  expect([none.exitCode, none.stdout]).toEqual([0, "Nothing is parked."]);
  const ran = await place.start(["run", "--until-synced"]);
  expect(ran.exitCode).toBe(0);
  expect(place.sql("copy.db", "SELECT id FROM items")).toEqual([{ id: 1 }]);

  const status = await place.start(["status"]);
  expect(status.stdout).toMatch(/shop->copy: .*2 rows are parked.*\nfix: tidemark parked list/);
  const listed = await place.start(["parked", "list"]);
  expect(listed.stdout).toMatch(/items +\{"id":"2"\}.*TM-TRANSFORM-FAILED.*cannot read bad one/);
  const { envelope } = await place.json(["parked", "list"]);
  const { parked } = envelope.result as { parked: { id: string }[] };
  const ids = parked.map(({ id }) => id);
  expect(ids).toHaveLength(2);
  const [first = "", second = ""] = ids;
  const shown = await place.start(["parked", "show", first]);
  expect(JSON.parse(shown.stdout)).toMatchObject({
    id: first,
    row: { name: expect.stringMatching(/^bad/) },
  });

  // Nobody runs who could try it again; but it can be dropped.
  const unanswered = await place.json(["parked", "retry", first, "--timeout", "500ms"]);
  expect(unanswered.envelope.error).toMatchObject({ code: "TM-WAIT-TIMEOUT" });
  expect((await place.start(["parked", "drop", first])).exitCode).toBe(0);
  const unconfirmed = await place.start(["parked", "drop", "--all"]);
  expect([unconfirmed.exitCode, unconfirmed.stderr]).toEqual([2, expect.stringContaining("--yes")]);
  expect((await place.json(["parked", "list"])).envelope.result?.parked).toMatchObject([
    { id: second },
  ]);
  expect((await place.start(["parked", "drop", "--all", "--yes"])).exitCode).toBe(0);
  expect((await place.json(["parked", "list"])).envelope.result).toEqual({ parked: [] });
});

test.each([
  ["no such action", ["parked", "keep"]],
  ["no ids", ["parked", "retry"]],
  ["ids that are not parked", ["parked", "show", "0000000000000000"]],
])("%s: a usage error that says what to type", async (_title, args) => {
  await using place = await Workplace.make();
  writeFileSync(place.path("tidemark.config.mjs"), CONFIG);
  place.sql("shop.db", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)");
  const ended = await place.json(args);
  expect(ended.envelope.error).toMatchObject({ code: "TM-USAGE", fix: expect.any(String) });
  expect(ended.exitCode).toBe(2);
});
