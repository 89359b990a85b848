// Two pairs of databases synced from one folder, both named source and target, have nothing in common (G2).
import { expect, test } from "vitest";
import { Running, Workplace } from "./tidemark.ts";

test("two pairs that run in one folder at once", async () => {
  await using place = await Workplace.make();
  for (const [at, file] of ["a.db", "c.db"].entries()) {
    place.sql(file, "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)");
    place.sql(file, `INSERT INTO items VALUES (1, '${file}'), (${at + 2}, '${file}')`);
  }
  const pairs = [
    ["--from", "sqlite:a.db", "--to", "sqlite:b.db", "--table", "items"],
    ["--from", "sqlite:c.db", "--to", "sqlite:d.db", "--table", "items"],
  ];
  const runs = pairs.map((pair) => new Running(place.start(["run", ...pair, "--json"])));
  for (const pair of pairs) {
    expect((await place.json(["wait", ...pair, "--timeout", "30s"])).exitCode).toBe(0);
  }
  place.sql("a.db", "INSERT INTO items VALUES (9, 'late')");
  for (const pair of pairs) {
    expect((await place.json(["wait", ...pair, "--timeout", "30s"])).exitCode).toBe(0);
  }
  const all = "SELECT * FROM items ORDER BY id";
  expect(place.sql("b.db", all)).toEqual(place.sql("a.db", all));
  expect(place.sql("d.db", all)).toEqual(place.sql("c.db", all));
  for (const run of runs) expect((await run.end("SIGINT")).exitCode).toBe(130);
});
