// What the tests of a SQLite source begin with.
import { copyFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, beforeEach } from "vitest";
import { Bench } from "../../src/testing/database-bed.ts";
import { sqliteBed } from "../conformance/sqlite-bed.ts";

/** Of the test that runs. */
export let bench: Bench;
beforeEach(async () => {
  bench = new Bench(await sqliteBed());
});
afterEach(() => bench.close());

/** Of its file. */
export const path = () => bench.bed.url.slice("sqlite:".length);

/** The table that the statement makes, captured. */
export async function capture(ddl: string, table = "t") {
  const sql = await bench.sql();
  await sql.run(ddl);
  const source = await bench.source();
  const log = await bench.log(source);
  const layouts = await log.capture([await bench.captureTable(table)]);
  return { sql, source, log, layouts };
}

/** Ends all use of the file and puts it back as its `.backup` is; the records beside it stay. */
export async function putBack(
  open: Pick<Awaited<ReturnType<typeof capture>>, "sql" | "source" | "log">,
): Promise<void> {
  for (const each of [open.log, open.source, open.sql]) await each.close();
  for (const tail of ["-wal", "-shm"]) rmSync(path() + tail, { force: true });
  copyFileSync(`${path()}.backup`, path());
}

/** A relay that does not see the lease of the first: another machine, another user. */
export async function unseen() {
  const folder = process.env.TMPDIR;
  process.env.TMPDIR = dirname(path());
  return bench.log().finally(() => {
    if (folder === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = folder;
  });
}

export const SIMPLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)";
