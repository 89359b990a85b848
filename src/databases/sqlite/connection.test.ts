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

/** Outside WAL mode. */
async function openShop(): Promise<{ readonly path: string; readonly connection: Connection }> {
  const path = join(folder, "shop.db");
  const maker = new DatabaseSync(path);
  maker.exec("PRAGMA journal_mode = DELETE; CREATE TABLE t (id INTEGER PRIMARY KEY)");
  maker.close();
  const options = { name: "shop", url: `sqlite:${path}`, logger: silentLogger };
  return { path, connection: await Connection.open(options, { create: false }) };
}

it("leaves the write lock to a transaction that has read before", async () => {
  const { path, connection } = await openShop();
  const application = new DatabaseSync(path, { timeout: 5_000 });
  application.exec("BEGIN; SELECT * FROM t");
  const written = connection.write(() => connection.run("INSERT INTO t VALUES (1)"));
  await nextTurn();
  application.exec("INSERT INTO t VALUES (2); COMMIT");
  await written;
  expect(application.prepare("SELECT id FROM t ORDER BY id").all()).toMatchObject([
    { id: 1 },
    { id: 2 },
  ]);
  application.close();
  await connection.close();
});

it("writes all the same where somebody reads all the time", async () => {
  const { path, connection } = await openShop();
  const readers = [new DatabaseSync(path), new DatabaseSync(path)];
  readers[0]?.exec("BEGIN; SELECT * FROM t");
  let isWritten = false;
  const written = connection
    .write(() => connection.run("INSERT INTO t VALUES (1)"))
    .then(() => {
      isWritten = true;
    });
  for (let turn = 1; !isWritten; turn++) {
    const [next, last] = turn % 2 === 1 ? readers.toReversed() : readers;
    try {
      next?.exec("BEGIN; SELECT * FROM t");
    } catch {
      // Shut out, until the commit is done.
      if (next?.isTransaction) next.exec("ROLLBACK");
    }
    if (last?.isTransaction) last.exec("COMMIT");
    await nextTurn();
  }
  await written;
  for (const reader of readers) reader.close();
  await connection.close();
});

function isLetIn(reader: DatabaseSync): boolean {
  try {
    return reader.prepare("SELECT count(*) FROM t").get() !== undefined;
  } catch {
    return false;
  }
}

it("shuts nobody out for as long as one reader goes on", async () => {
  const { path, connection } = await openShop();
  const [long, other] = [new DatabaseSync(path), new DatabaseSync(path)];
  long.exec("BEGIN; SELECT * FROM t");
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  const written = connection.write(() => connection.run("INSERT INTO t VALUES (1)"));
  written.then(over, over);
  while (isLetIn(other)) await nextTurn();
  while (!isLetIn(other)) await nextTurn();
  expect(isOver).toBe(false);
  long.exec("COMMIT");
  await written;
  expect(other.prepare("SELECT id FROM t").all()).toMatchObject([{ id: 1 }]);
  for (const reader of [long, other]) reader.close();
  await connection.close();
});

it("gives an applier's commit up before the busy timeout of those that it shuts out has passed", async () => {
  const { path, connection } = await openShop();
  const [long, other] = [new DatabaseSync(path), new DatabaseSync(path)];
  long.exec("BEGIN; SELECT * FROM t");
  await connection.begin();
  connection.run("INSERT INTO t VALUES (1)");
  const refused = expect(connection.commit()).rejects.toMatchObject({ code: "TM-APPLY-RETRY" });
  while (isLetIn(other)) await nextTurn();
  const since = performance.now();
  while (!isLetIn(other)) await nextTurn();
  expect(performance.now() - since).toBeLessThan(5_000);
  await refused;
  expect(isLetIn(other)).toBe(true);
  long.exec("COMMIT");
  await connection.begin();
  connection.run("INSERT INTO t VALUES (1)");
  await connection.commit();
  for (const reader of [long, other]) reader.close();
  await connection.close();
});

it("tells of a program that keeps the file to itself", async () => {
  const { path, connection } = await openShop();
  const application = new DatabaseSync(path);
  application.exec("PRAGMA locking_mode = EXCLUSIVE; INSERT INTO t VALUES (1)");
  let caught: unknown;
  try {
    connection.value("SELECT count(*) FROM t");
  } catch (error) {
    caught = error;
  }
  expect(connection.classify(caught)).toMatchObject({
    code: "TM-APPLY-RETRY",
    fix: expect.stringContaining("locking_mode = EXCLUSIVE"),
  });
  application.close();
  await connection.close();
});
