// Tables that are captured and that no sync of the config carries any more: the relay never stops for them, and whoever
// carries one again, or has done so all along, misses nothing (G1, G8).
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Bench, type SqlSession } from "../../src/testing/database-bed.ts";
import { describeChange, Replica, sorted, takeChanges } from "../../src/testing/replica.ts";
import { sqliteBed } from "../conformance/sqlite-bed.ts";

let bench: Bench;
beforeEach(async () => {
  bench = new Bench(await sqliteBed());
});
afterEach(() => bench.close());

/** `t` was captured, and `kept` is all that the relay is asked for from now on. */
async function leave(ddl: string) {
  const sql = await bench.sql();
  await sql.run(`CREATE TABLE kept (id INTEGER PRIMARY KEY); ${ddl}`);
  const source = await bench.source();
  const first = await source.openChangeLog();
  const tables = [await bench.captureTable("kept"), await bench.captureTable("t")];
  const layouts = (await first?.capture(tables)) ?? [];
  await first?.close();
  const log = await bench.log(source);
  await log.capture([await bench.captureTable("kept")]);
  return { sql, source, log, layouts };
}

const diagnose = async (source: Awaited<ReturnType<typeof leave>>["source"]) =>
  (await source.diagnose([await bench.captureTable("kept")])).filter(({ message }) =>
    /\bt\b/.test(message),
  );

describe("a captured table that no sync carries any more", () => {
  it("stops nobody by a row that no target could have", async () => {
    const { sql, log } = await leave("CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT)");
    await sql.run("INSERT INTO t VALUES (NULL, 'x'); INSERT INTO kept VALUES (1)");
    const changes = await takeChanges(log.batches);
    expect(changes.map(describeChange)).toHaveLength(2);
    expect(changes[0]).toMatchObject({ row: null, keyBefore: null });
  });

  it("still tells which rows a REPLACE removes, by a key that came later", async () => {
    const { sql, log, layouts } = await leave("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)");
    const replica = new Replica(layouts);
    const isSame = async (session: SqlSession) => {
      replica.apply(await takeChanges(log.batches));
      expect(replica.rows("t")).toEqual(sorted(await session.rows("SELECT * FROM t")));
    };
    await sql.run("INSERT INTO t VALUES (1, 'x'), (2, 'y')");
    await isSame(sql);
    await sql.run("CREATE UNIQUE INDEX one ON t (a)");
    await log.batches.cut();
    await sql.run("REPLACE INTO t VALUES (3, 'x')");
    await isSame(sql);
  });

  it("can be rid of a column once its triggers are dropped, and is told as broken when it comes back", async () => {
    const { sql, source, log } = await leave("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)");
    await expect(sql.run("ALTER TABLE t DROP COLUMN a")).rejects.toThrow(/tidemark_t_/);
    expect(await diagnose(source)).toMatchObject([{ check: "capture-uncarried", severity: "ok" }]);
    for (const event of ["insert", "update", "update_key", "delete"]) {
      await sql.run(`DROP TRIGGER tidemark_t_${event}`);
    }
    await sql.run(
      "ALTER TABLE t DROP COLUMN a; INSERT INTO t VALUES (1); INSERT INTO kept VALUES (1)",
    );
    expect(await takeChanges(log.batches)).toHaveLength(1);
    expect(await diagnose(source)).toMatchObject([
      { check: "capture-intact", severity: "warning" },
    ]);
    const both = [await bench.captureTable("kept"), await bench.captureTable("t")];
    await expect(log.capture(both)).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
  });
});
