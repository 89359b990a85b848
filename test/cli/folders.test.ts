// A folder may have any name: databases and the default queue lie in it, and nowhere else.
import { readdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { expect, test } from "vitest";
import { FOLDER_NAMES } from "../support/folder-names.ts";
import { Workplace } from "./tidemark.ts";

const DATABASES = '{ shop: "sqlite:./shop.db?mode=rw", copy: "sqlite:copy.db" }';

test.each(FOLDER_NAMES)("%s", async (name) => {
  await using place = await Workplace.make(name);
  place.sql("shop.db", "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)");
  place.sql("shop.db", "INSERT INTO customers VALUES (1, 'Ada')");
  const config = `{ databases: ${DATABASES}, syncs: [{ from: "shop", to: "copy", tables: ["*"] }] }`;
  await writeFile(place.path("tidemark.yaml"), config);
  const { envelope } = await place.json(["run", "--until-synced"]);
  expect(envelope).toMatchObject({ ok: true, error: null });
  expect(place.sql("copy.db", "SELECT * FROM customers")).toEqual([{ id: 1, name: "Ada" }]);
  expect(await readdir(place.path(".tidemark"))).toContain("queue.db");
  expect(await readdir(dirname(place.folder))).toEqual([name]);
});
