// A table copied anew from the command line, whether or not something runs.
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { Running, Workplace } from "./tidemark.ts";

const ENDS = ["--from", "sqlite:shop.db", "--to", "sqlite:copy.db", "--table", "items"];

test("resync empties a table, and the next run copies it", async () => {
  await using place = await Workplace.make();
  place.sql("shop.db", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)");
  place.sql("shop.db", "INSERT INTO items VALUES (1, 'one'), (2, 'two')");
  expect((await place.start(["run", ...ENDS, "--until-synced"])).exitCode).toBe(0);
  place.sql("copy.db", "UPDATE items SET name = 'edited'; INSERT INTO items VALUES (3, 'made up')");

  const unconfirmed = await place.start(["resync", "*", "--sync", "source->target", ...ENDS]);
  expect(unconfirmed.exitCode).toBe(2);
  expect(unconfirmed.stderr).toMatch(
    /^fix: tidemark resync '\*' --sync 'source->target' --from .* --yes$/m,
  );
  expect(place.sql("copy.db", "SELECT * FROM items")).toHaveLength(3);
  const unknown = await place.json(["resync", "itmes", ...ENDS, "--yes"]);
  expect(unknown.envelope.error).toMatchObject({ code: "TM-USAGE" });

  const { envelope, exitCode } = await place.json(["resync", "items", ...ENDS, "--yes"]);
  expect([exitCode, envelope.result]).toEqual([
    0,
    { resynced: [{ sync: "source->target", tables: ["items"] }], never: [] },
  ]);
  expect(place.sql("copy.db", "SELECT * FROM items")).toEqual([]);
  expect((await place.start(["run", ...ENDS, "--until-synced"])).exitCode).toBe(0);
  const rows = [
    { id: 1, name: "one" },
    { id: 2, name: "two" },
  ];
  expect(place.sql("copy.db", "SELECT * FROM items ORDER BY id")).toEqual(rows);

  // With no queue to look in: none is made, and an applier at work with another one cannot be asked.
  const elsewhere = [...ENDS, "--queue", "sqlite:elsewhere/queue.db"];
  expect((await place.start(["resync", "items", ...elsewhere, "--yes"])).exitCode).toBe(0);
  expect(place.sql("copy.db", "SELECT * FROM items")).toEqual([]);
  expect((await place.start(["run", ...ENDS, "--until-synced"])).exitCode).toBe(0);

  // By the applier that runs.
  const run = new Running(place.start(["run", ...ENDS, "--json"]));
  await run.until<{ event: string }>(({ event }) => event === "status");
  const unasked = await place.json(["resync", "items", ...elsewhere, "--yes"]);
  expect(unasked.envelope.error).toMatchObject({
    code: "TM-WAIT-TIMEOUT",
    message: expect.stringContaining("there is no queue yet"),
  });
  expect(existsSync(place.path("elsewhere"))).toBe(false);
  place.sql("copy.db", "DELETE FROM items WHERE id = 1");
  expect((await place.start(["resync", "items", ...ENDS, "--yes"])).exitCode).toBe(0);
  expect((await place.start(["wait", ...ENDS.slice(0, 4)])).exitCode).toBe(0);
  expect(place.sql("copy.db", "SELECT * FROM items ORDER BY id")).toEqual(rows);
  await run.end("SIGINT");
});

test("resync of what was never copied says so, and makes nothing at the target", async () => {
  await using place = await Workplace.make();
  place.sql("shop.db", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)");
  place.sql("shop.db", "INSERT INTO items VALUES (1, 'one')");
  const { envelope, exitCode } = await place.json(["resync", "items", ...ENDS]);
  const never = [{ sync: "source->target", tables: ["items"] }];
  expect([exitCode, envelope.result]).toEqual([0, { resynced: [], never }]);
  const { stdout } = await place.start(["resync", "items", ...ENDS, "--yes"]);
  expect(stdout).toMatch(/^source->target: no copy of items at the target: nothing to empty/);
  expect(stdout).not.toContain("Emptied");
  expect(existsSync(place.path("copy.db"))).toBe(false);

  // Rows that stand there, of whomever, are emptied: `plan` sends people here for it.
  place.sql("copy.db", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)");
  place.sql("copy.db", "INSERT INTO items VALUES (3, 'made up')");
  expect((await place.start(["resync", "items", ...ENDS, "--yes"])).exitCode).toBe(0);
  expect(place.sql("copy.db", "SELECT * FROM items")).toEqual([]);
});

test("resync empties nothing where the target is the source by another URL", async () => {
  await using place = await Workplace.make();
  place.sql("shop.db", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)");
  place.sql("shop.db", "INSERT INTO items VALUES (1, 'one'), (2, 'two')");
  const ends = ["--from", "sqlite:./shop.db", "--to", "sqlite:./shop.db?mode=rw"];
  const args = ["resync", "items", ...ends, "--table", "items", "--yes"];
  const { envelope, exitCode } = await place.json(args);
  expect([exitCode, envelope.error]).toEqual([
    2,
    expect.objectContaining({
      code: "TM-CONFIG-LOOP",
      message: expect.stringContaining('"source" and "target" are one database'),
    }),
  ]);
  expect(place.sql("shop.db", "SELECT * FROM items")).toHaveLength(2);
});
