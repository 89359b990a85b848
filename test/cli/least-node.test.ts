// The oldest Node that Tidemark promises to run on: what it lacks of today's must not be found out by users (G6, G8).
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type Program, Running, Workplace } from "./tidemark.ts";

/** Installed by scripts/lib/oldest-install.mjs. What it runs is built: it does not read TypeScript. */
const LEAST: Program = [
  fileURLToPath(new URL("../../.servers/node-22.13.0/node_modules/node/bin/node", import.meta.url)),
  fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url)),
];

const CONFIG = `import { defineConfig } from "tidemark";

const unread: string = "bad";

export default defineConfig({
  databases: { shop: "sqlite:./shop.db", copy: "sqlite:./copy.db" },
  syncs: [{ from: "shop", to: "copy", onError: "park", tables: ["things", {
    table: "items",
    transform(row) {
      if (row.name === unread) throw new Error("cannot read it");
      return row;
    },
  }] }],
});`;

const IN_UTF16 = "; PRAGMA encoding = 'UTF-16le'; CREATE TABLE first (x)";
/** Half a pair of UTF-16, a text with a NUL, an integer that no double holds. */
const THINGS = `(1, 'a' || char(0) || 'b', 9007199254740993), (2, CAST(x'610000d8' AS TEXT), 0.1), (3, '', NULL)`;
const ROWS = "SELECT id, hex(name) AS name, quote(size) AS size FROM things ORDER BY id";

test.skipIf(!existsSync(LEAST[0]) && process.env.CI === undefined)(
  "each command does its work",
  { timeout: 120_000 },
  async () => {
    await using place = await Workplace.make("", LEAST);
    const succeeds = async (...args: string[]) => {
      const { exitCode, stdout, stderr } = await place.start(args);
      expect([args, exitCode, stderr]).toEqual([args, 0, expect.any(String)]);
      return stdout;
    };
    const isSame = () => expect(place.sql("copy.db", ROWS)).toEqual(place.sql("shop.db", ROWS));
    await writeFile(place.path("tidemark.config.ts"), CONFIG);
    for (const file of ["shop.db", "copy.db"]) place.sql(file, IN_UTF16);
    for (const [table, size, rows] of [
      ["items", "", "(1, 'good'), (2, 'bad')"],
      ["things", ", size", THINGS],
    ]) {
      place.sql("shop.db", `CREATE TABLE ${table} (id INTEGER PRIMARY KEY, name TEXT${size})`);
      place.sql("shop.db", `INSERT INTO ${table} VALUES ${rows}`);
    }
    expect(await succeeds("plan")).toMatch(/copies for the first time: things, items/);
    await succeeds("run", "--until-synced");
    isSame();
    expect(await succeeds("parked", "list")).toMatch(/cannot read it/);
    expect(await succeeds("status")).toMatch(/1 row is parked/);

    const run = new Running(place.start(["run", "--json"]));
    await run.until<{ status?: { syncs: { state: string }[] } }>(
      ({ status }) => status?.syncs.every(({ state }) => state === "running") ?? false,
    );
    place.sql("shop.db", "UPDATE things SET id = 10, name = 'moved' WHERE id = 1");
    place.sql("shop.db", "DELETE FROM things WHERE id = 3");
    await succeeds("wait", "--timeout", "30s");
    isSame();
    place.sql("copy.db", "UPDATE things SET name = 'edited' WHERE id = 10");
    await succeeds("resync", "things", "--yes");
    await succeeds("wait", "--timeout", "30s");
    isSame();
    expect(await succeeds("doctor")).toMatch(/0 errors/);
    expect((await run.end("SIGTERM")).exitCode).toBe(143);
    await succeeds("uninstall", "--yes");
  },
);
