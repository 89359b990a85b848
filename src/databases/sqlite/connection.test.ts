import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { silentLogger } from "../../core/log.ts";
import { Connection } from "./connection.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tidemark-connection-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

it("is opened when a commit is done that shuts readers out", async () => {
  const path = join(folder, "shop.db");
  const writer = new DatabaseSync(path);
  writer.exec("PRAGMA journal_mode = DELETE; CREATE TABLE t (id INTEGER PRIMARY KEY)");
  writer.exec("BEGIN EXCLUSIVE; INSERT INTO t VALUES (1)");
  const options = { name: "shop", url: `sqlite:${path}`, logger: silentLogger };
  const opening = Connection.open(options, { create: false });
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  opening.then(over, over);
  await nextTurn();
  expect(isOver).toBe(false);
  writer.exec("COMMIT");
  const connection = await opening;
  expect(await connection.read(() => connection.value("SELECT id FROM t"))).toBe(1n);
  await connection.close();
  writer.close();
});
