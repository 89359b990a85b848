// Tables that are captured and that no sync of the config carries any more: the relay never stops for them, and whoever
// carries one again is told what was missed (G1, G8).
import { describe, expect, it } from "vitest";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available } from "../servers/index.ts";
import { type Bed, cutOnce, linesOf, type OpenLog, openBed, openLog, SERVERS } from "./bed.ts";

/** `t` was captured, and `kept` is all that the relay is asked for from now on. */
async function leave(bed: Bed): Promise<OpenLog> {
  await bed.admin.query(
    `CREATE TABLE kept (id INT PRIMARY KEY); CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), b INT);
     INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)`,
  );
  const both = await openLog(bed, await bed.capture("kept", "t"));
  await both[Symbol.asyncDispose]();
  return openLog(bed, await bed.capture("kept"));
}

const linesIn = async (open: OpenLog) => linesOf(open, (await cutOnce(open.log))?.changes ?? []);

describe.each(SERVERS)("a captured table that no sync carries any more, on %s", (kind) => {
  it.skipIf(!available(kind))("stops nobody when rows go whose key is not known", async () => {
    await using bed = await openBed(kind);
    const log = await leave(bed);
    await bed.admin.query(
      "ALTER TABLE t CHANGE id code INT; DELETE FROM t WHERE code = 1; INSERT INTO kept VALUES (1)",
    );
    expect(await linesIn(log)).toEqual(["t update", 'kept insert ["1"]']);
    await log[Symbol.asyncDispose]();

    const source = await mysql.openSource(bed.options);
    const findings = await source.diagnose(await bed.capture("kept"));
    await source.close();
    expect(findings).toContainEqual(
      expect.objectContaining({ check: "trigger-broken", severity: "warning" }),
    );
    const again = await openLog(bed, await bed.capture("kept"));
    await again[Symbol.asyncDispose]();
    await bed.admin.query("ALTER TABLE t CHANGE code id INT");
    const tables = await bed.capture("kept", "t");
    await expect(openLog(bed, tables)).rejects.toMatchObject({
      code: "TM-CAPTURE-BROKEN",
      message: expect.stringContaining("no sync"),
    });
    const forgetful = await openLog(bed, await bed.capture("kept"));
    await forgetful.log.forget([{ schema: null, name: "t" }]);
    await forgetful[Symbol.asyncDispose]();
    await using back = await openLog(bed, tables);
    await bed.admin.query("INSERT INTO t VALUES (4, 'd', 4)");
    expect((await linesIn(back)).at(-1)).toBe('t insert ["4","d","4"]');
  });

  it.skipIf(!available(kind))(
    "is unread once it has other types, and read again when it is back",
    async () => {
      await using bed = await openBed(kind);
      const log = await leave(bed);
      await bed.admin.query("INSERT INTO t VALUES (4, 'd', 4)");
      expect(await linesIn(log)).toEqual(['t insert ["4","d","4"]']);
      await bed.admin.query(
        "ALTER TABLE t MODIFY b VARCHAR(9); INSERT INTO t VALUES (5, 'e', 'V'); DELETE FROM t WHERE id = 1",
      );
      expect(await linesIn(log)).toEqual(["t insert", 't delete ["1"]']);
      // Nor what is written when it is as it was: that is told by a layout of its own.
      await bed.admin.query(
        "UPDATE t SET b = 5 WHERE id = 5; ALTER TABLE t MODIFY b INT; INSERT INTO t VALUES (6, 'f', 6)",
      );
      expect(await linesIn(log)).toEqual(["t update", "t insert"]);
      await log[Symbol.asyncDispose]();
      await using back = await openLog(bed, await bed.capture("kept", "t"));
      await bed.admin.query("INSERT INTO t VALUES (7, 'g', 7)");
      expect(await linesIn(back)).toEqual(['t insert ["7","g","7"]']);
    },
  );
});
