// Rows that another session puts below a deletion while it is carried out go with it, and that is logged (G1).
import type { Connection } from "mysql2/promise";
import { describe, expect, it, vi } from "vitest";
import { Session } from "../../src/databases/mysql/connection.ts";
import { available } from "../servers/index.ts";
import {
  type Bed,
  type CutBatch,
  collect,
  cutOnce,
  linesOf,
  type OpenLog,
  openBed,
  openLog,
  SERVERS,
  untilItWaits,
} from "./bed.ts";

/** Three levels: z comes last when a deletion from a looks for the rows that will go. */
const TABLES = `
  CREATE TABLE a (id INT PRIMARY KEY);
  CREATE TABLE b (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE);
  CREATE TABLE z (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE);
  INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (11, 1), (12, 2); INSERT INTO z VALUES (91, 1);`;
const C = "CREATE TABLE c (id INT PRIMARY KEY, b INT, n INT,";

const D =
  "CREATE TABLE d (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE)";

const IDS = Array.from({ length: 3_000 }, (_, n) => n + 1_000);
/** So many that the server looks for those in question by the index, and locks no others. */
const MANY = `INSERT INTO b VALUES ${IDS.map((id) => `(${id}, 2)`).join(", ")};
  INSERT INTO c VALUES ${IDS.map((id) => `(${id}, ${id}, 0)`).join(", ")}; ANALYZE TABLE a, b, c;`;

describe.each(SERVERS)("latecomers on %s", (kind) => {
  const test = it.skipIf(!available(kind));

  test("a row below the second level that came after those that will go were read", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE);
      INSERT INTO c VALUES (101, 11, 0)`);
    await using open = await openLog(bed, await bed.capture("a", "b", "c", "z"));
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 0), (103, 12, 0)");
    expect((await cutChanges(open)).sort()).toEqual([
      'a delete ["1"]',
      'b delete ["11"]',
      'c delete ["101"]',
      'c delete ["102"]',
      'c insert ["102","11","0"]',
      'c insert ["103","12","0"]',
      'z delete ["91"]',
    ]);
  });

  test("a row of the first level that refers to another key than the primary one", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `CREATE TABLE a (id INT PRIMARY KEY, code VARCHAR(9) NOT NULL UNIQUE);
       CREATE TABLE c (id INT PRIMARY KEY, code VARCHAR(9), FOREIGN KEY (code) REFERENCES a (code) ON DELETE CASCADE);
       CREATE TABLE z (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE);
       INSERT INTO a VALUES (1, 'x'), (2, 'y'); INSERT INTO z VALUES (91, 1)`,
    );
    await using open = await openLog(bed, await bed.capture("c", "z"));
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (101, 'x'), (102, 'y')");
    expect((await cutChanges(open)).sort()).toEqual([
      'c delete ["101"]',
      'c insert ["101","x"]',
      'c insert ["102","y"]',
      'z delete ["91"]',
    ]);
  });

  test("a row that was cut long before, and would have been purged", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE)`);
    await using open = await openLog(bed, await bed.capture("c", "z"));
    const session = await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 0)", {
      staysOpen: true,
      // Both while the deletion is under way and while its transaction is open.
      meanwhile: async () => {
        expect(await cutChanges(open)).toEqual(['c insert ["102","11","0"]']);
        await open.log.batches.purge(1);
      },
    });
    await open.log.batches.purge(1);
    await session.query("COMMIT");
    expect((await cutChanges(open)).sort()).toEqual(['c delete ["102"]', 'z delete ["91"]']);
    await open.log.batches.purge(2);
    expect(await left(bed)).toEqual(["0", "0"]);
  });

  test("of one statement's rows, behind a trigger that reads, and what rolls back", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE);
      INSERT INTO a VALUES (0), (3); INSERT INTO b VALUES (10, 0), (13, 3); INSERT INTO c VALUES (100, 10, 0);
      CREATE TRIGGER reading BEFORE DELETE ON a FOR EACH ROW SET @rows = (SELECT COUNT(*) FROM c)`);
    await using open = await openLog(bed, await bed.capture("c", "z"));
    const session = await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 0)", {
      where: "id < 3 ORDER BY id",
      staysOpen: true,
    });
    await session.query("SAVEPOINT s; DELETE FROM a WHERE id = 3; ROLLBACK TO s; COMMIT");
    const deletes = (await cutChanges(open)).filter((each) => each.startsWith("c delete"));
    expect(deletes.sort()).toEqual(['c delete ["100"]', 'c delete ["102"]']);
    await open.log.batches.purge(1);
  });

  test("with a binary log that is not all rows, nobody waits for those who write", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE)`);
    await using open = await openLog(bed, await bed.capture("b", "c", "z"));
    const writing = await bed.connect();
    await writing.query("SET SESSION binlog_format = 'MIXED'; BEGIN");
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 0)", {
      session: "SET SESSION binlog_format = 'MIXED', innodb_lock_wait_timeout = 10",
      meanwhile: async () => {
        await writing.query("INSERT INTO c VALUES (103, 12, 0)");
      },
    });
    await writing.query("COMMIT");
    expect((await cutChanges(open)).sort()).toEqual([
      'b delete ["11"]',
      'c delete ["102"]',
      'c insert ["102","11","0"]',
      'c insert ["103","12","0"]',
      'z delete ["91"]',
    ]);
  });

  test("a row that loses its reference", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL)`);
    await using open = await openLog(bed, await bed.capture("c", "z"));
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 5), (103, 12, 6)");
    expect((await cutChanges(open)).sort()).toEqual([
      'c insert ["102","11","5"]',
      'c insert ["103","12","6"]',
      'c update ["102",null,"5"]',
      'z delete ["91"]',
    ]);
  });

  test("rows that lose their reference, longer together and alone than a statement may be", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} CREATE TABLE c (id INT PRIMARY KEY, b INT, text LONGTEXT,
      FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL)`);
    await using open = await openLog(bed, await bed.capture("c", "z"));
    const long = (id: number, bytes: number) =>
      `INSERT INTO c VALUES (${id}, 11, REPEAT('😀\\\\', ${bytes / 5}))`;
    await deleteMeanwhile(bed, `${long(102, 12e6)}; ${long(103, 5e5)}; ${long(104, 5e5)}`);
    const told = (await cutChanges(open)).filter((each) => each.startsWith("c update"));
    const row = (id: number, bytes: number) =>
      `c update ${JSON.stringify([`${id}`, null, "😀\\".repeat(bytes / 5)])}`;
    expect(told.map((each) => each.slice(0, 16))).toEqual(
      [102, 103, 104].map((id) => `c update ["${id}",`),
    );
    expect(told[0] === row(102, 12e6)).toBe(true);
    expect(told.slice(1)).toEqual([row(103, 5e5), row(104, 5e5)]);
  });

  test("a row that was changed once more, which tells what it is", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL);
      INSERT INTO c VALUES (101, 11, 0)`);
    await using open = await openLog(bed, await bed.capture("c", "z"));
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 0)", {
      after: "UPDATE c SET n = 1; UPDATE c SET id = 103 WHERE id = 102",
    });
    expect(await cutChanges(open)).toEqual([
      'c update ["101",null,"0"]',
      'c insert ["102","11","0"]',
      'z delete ["91"]',
      'c update ["101",null,"1"]',
      'c update ["102",null,"1"]',
      'c update ["102"] ["103",null,"1"]',
    ]);
  });

  test("rows that are committed while a cut is made do not make it begin anew", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE);
      INSERT INTO c VALUES (101, 12, 0)`);
    await using open = await openLog(bed, await bed.capture("a", "b", "c", "z"));
    const writing = await bed.connect();
    await writing.query("BEGIN");
    await deleteMeanwhile(bed, "DO 1", {
      meanwhile: async () => {
        await writing.query("INSERT INTO c VALUES (102, 12, 0), (103, 12, 0), (104, 12, 0)");
      },
    });
    const { looks, cut } = await cutMeanwhile(open, async () => {
      await writing.query("COMMIT");
      await bed.admin.query("UPDATE c SET n = 1 WHERE id = 103; DELETE FROM c WHERE id = 104");
    });
    expect(looks).toBe(1);
    expect(linesOf(open, cut?.changes ?? [])).toEqual([
      'b delete ["11"]',
      'z delete ["91"]',
      'a delete ["1"]',
    ]);
    expect(await cutChanges(open)).toHaveLength(5);
  });

  test("one that a snapshot misses is waited for", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE)`);
    await using open = await openLog(bed, await bed.capture("c", "z"));
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 0)");
    // As the server's views may: they show the deletion, and not what it waited for.
    const isLatecomer = ([, , , , , row]: readonly unknown[]) => row === '["102", "11", "0"]';
    const { looks, cut } = await cutMeanwhile(open, async () => {}, isLatecomer);
    expect(looks).toBe(2);
    expect(linesOf(open, cut?.changes ?? [])).toContain('c delete ["102"]');
  });

  test("a row of a tree", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `CREATE TABLE t (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES t (id) ON DELETE CASCADE);
       CREATE TABLE z (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES t (id) ON DELETE CASCADE);
       INSERT INTO t VALUES (1, NULL), (11, 1), (2, NULL); INSERT INTO z VALUES (91, 1)`,
    );
    await using open = await openLog(bed, await bed.capture("t", "z"));
    await deleteMeanwhile(bed, "INSERT INTO t VALUES (21, 11); INSERT INTO t VALUES (31, 21)", {
      from: "t",
    });
    expect((await cutChanges(open)).filter((each) => each.includes("delete")).sort()).toEqual(
      ["1", "11", "21", "31"].map((id) => `t delete ["${id}"]`).concat('z delete ["91"]'),
    );
  });

  test("keys of texts, of numbers and of times, some of which stand", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `${TABLES} CREATE TABLE c (s VARCHAR(20) COLLATE utf8mb4_general_ci, e ENUM('x', '1'), t TIMESTAMP, y VARBINARY(9), f DOUBLE,
         b INT, PRIMARY KEY (s, e, t, y, f), FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE)`,
    );
    await using open = await openLog(bed, await bed.capture("c", "z"));
    const row = (s: string, e: string, b: number) =>
      `('${s}', '${e}', '2001-02-03 04:05:06', X'00FF', 0.1, ${b})`;
    await deleteMeanwhile(
      bed,
      `INSERT INTO c VALUES ${row("é", "1", 11)}, ${row("ü", "x", 12)}, ${row("o", "x", 12)};
       DELETE FROM c WHERE s = 'o'`,
      // Another that is the same by its collation.
      { after: `INSERT INTO c VALUES ${row("E", "1", 12)}` },
    );
    const changes = (await cutChanges(open)).filter((each) => each.startsWith("c delete"));
    expect(changes.map((each) => each.slice(0, 16))).toEqual([
      'c delete ["o","x',
      'c delete ["é","1',
    ]);
  });

  test("a row that was moved there, and took along what stood below it, stops the sync", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE);
       ${D}; ${MANY}
       INSERT INTO b VALUES (14, 2); INSERT INTO c VALUES (102, 14, 0), (103, 14, 0); INSERT INTO d VALUES (1001, 102)`,
    );
    await using open = await openLog(bed, await bed.capture("c", "d", "z"));
    // Those that came with what is below them, and that went by themselves, are told by the log.
    const session = await deleteMeanwhile(
      bed,
      "INSERT INTO c VALUES (104, 11, 0); INSERT INTO d VALUES (1002, 104); UPDATE c SET n = 1 WHERE id IN (103, 104)",
      { staysOpen: true, meanwhile: async () => void (await cutChanges(open)) },
    );
    await bed.admin.query("DELETE FROM c WHERE id = 103");
    expect(await cutChanges(open)).toEqual(['c delete ["103"]']);
    await open.log.batches.purge(2);
    await session.query("COMMIT");
    expect((await cutChanges(open)).sort()).toEqual([
      'c delete ["104"]',
      'd delete ["1002"]',
      'z delete ["91"]',
    ]);
    await bed.admin.query(
      "INSERT INTO a VALUES (1); INSERT INTO b VALUES (11, 1); INSERT INTO z VALUES (91, 1)",
    );
    await deleteMeanwhile(bed, "UPDATE c SET b = 11 WHERE id = 102");
    const broken = { code: "TM-CAPTURE-BROKEN", fix: expect.stringContaining("resync c d,") };
    await expect(cutOnce(open.log)).rejects.toMatchObject(broken);
    const table = (name: string) => ({ schema: null, name });
    await open.log.forget([table("c")]);
    await expect(cutOnce(open.log)).rejects.toMatchObject(broken);
    await open.log.forget([table("d")]);
    expect(await cutChanges(open)).toContain('c delete ["102"]');
    await open.log.batches.purge(4);
    expect(await left(bed)).toEqual(["0", "0"]);
  });

  test("a row that was moved there, copied anew before the deletion was committed", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE); ${D};
      ${MANY} INSERT INTO c VALUES (102, 1000, 0); INSERT INTO d VALUES (1001, 102)`);
    await using open = await openLog(bed, await bed.capture("c", "d", "z"));
    const session = await deleteMeanwhile(bed, "UPDATE c SET b = 11 WHERE id = 102", {
      staysOpen: true,
      meanwhile: async () => {
        await open.log.forget(["c", "d"].map((name) => ({ schema: null, name })));
        await cutChanges(open);
      },
    });
    await session.query("COMMIT");
    await expect(cutOnce(open.log)).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
  });

  test("a row that was born in the time of one deletion and moved in that of another", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE); ${D};
      ${MANY} INSERT INTO a VALUES (3); INSERT INTO b VALUES (13, 3)`);
    await using open = await openLog(bed, await bed.capture("c", "d", "z"));
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (104, 1000, 0)");
    await bed.admin.query(
      `INSERT INTO d VALUES (1002, 104); INSERT INTO z VALUES (92, 3), (93, 2)`,
    );
    await bed.admin.query(`INSERT INTO z (id, a) SELECT id + 1000, 2 FROM b LIMIT 50`);
    await deleteMeanwhile(bed, "UPDATE c SET b = 13 WHERE id = 104", { row: 3 });
    await expect(cutOnce(open.log)).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
  });

  test("a row that lost its reference before its table got another layout", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL)`);
    const tables = await bed.capture("c", "z");
    {
      await using _open = await openLog(bed, tables);
      await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 5)");
    }
    await bed.admin.query("ALTER TABLE c ADD UNIQUE KEY (n)");
    await using open = await openLog(bed, tables);
    expect(await cutChanges(open)).toContain('c update ["102",null,"5"]');
  });

  test("a row for which the filter fails leaves the others as they are", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL)`);
    const [c, z] = await bed.capture("c", "z");
    if (c === undefined || z === undefined) throw new Error("no tables");
    // Of two rows no single value can be had.
    const filter = "IF(b IS NULL, (SELECT 1 UNION SELECT 2), 1) = 1";
    await using open = await openLog(bed, [{ ...c, filters: [filter] }, z]);
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 5), (103, 12, 6)");
    const told = (await cutOnce(open.log))?.changes.filter(({ op }) => op === "update");
    expect(told?.map(({ row, filters }) => [row, filters])).toEqual([[["102", null, "5"], [null]]]);
  });

  test("a row that was born there and got another key", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE);
       CREATE TABLE d (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE)`,
    );
    await using open = await openLog(bed, await bed.capture("c", "d", "z"));
    await deleteMeanwhile(
      bed,
      "INSERT INTO c VALUES (102, 11, 0); UPDATE c SET id = 103 WHERE id = 102",
    );
    const deletes = (await cutChanges(open)).filter((each) => each.startsWith("c delete"));
    expect(deletes).toEqual(['c delete ["103"]']);
  });

  test("a row that leaves a filter on a column that is not sent", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL)`);
    const [c, z] = await bed.capture("c", "z");
    if (c === undefined || z === undefined) throw new Error("no tables");
    const filtered = { ...c, columns: ["id", "n"], filters: ["b IS NOT NULL"] };
    await using open = await openLog(bed, [filtered, z]);
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 5)");
    const cut = await cutOnce(open.log);
    const told = cut?.changes.map(({ op, row, filters }) => [op, row, filters]) ?? [];
    expect(told).toContainEqual(["update", ["102", "5"], [false]]);
  });

  test("of tables that are not captured any more leave nothing that grows", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE);
      CREATE TABLE other (id INT PRIMARY KEY)`);
    {
      await using _open = await openLog(bed, await bed.capture("c"));
    }
    await using open = await openLog(bed, await bed.capture("other"));
    await bed.admin.query("DELETE FROM a");
    expect(await cutChanges(open)).toEqual([]);
    await open.log.batches.purge(1);
    expect(await left(bed)).toEqual(["0", "0"]);
  });

  test("are captured from now on where an earlier version had left them", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE)`);
    const tables = await bed.capture("c", "z");
    {
      await using _open = await openLog(bed, tables);
    }
    const [triggers] = await bed.admin.query(
      "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME LIKE '%cascade_deleted'",
    );
    for (const [name] of triggers as string[][]) await bed.admin.query(`DROP TRIGGER ${name}`);
    await bed.admin.query(
      `DROP TABLE tidemark_deletions;
       UPDATE tidemark_layouts SET definition = REGEXP_REPLACE(definition, ',[{]"table":"[a-z]","event":"DELETED","paths":"[0-9a-f]*"[}]', '')`,
    );
    await using open = await openLog(bed, tables);
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 0)");
    expect(await cutChanges(open)).toContain('c delete ["102"]');
  });

  test("of a table that had no key before", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} CREATE TABLE c (id INT NOT NULL, b INT, n INT)`);
    {
      await using open = await openLog(bed, await bed.capture("c", "z"));
      await open.log.forget([{ schema: null, name: "c" }]);
    }
    await bed.admin.query(
      "ALTER TABLE c ADD PRIMARY KEY (id), ADD FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL",
    );
    await using open = await openLog(bed, await bed.capture("c", "z"));
    await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 0)");
    expect(await cutChanges(open)).toContain('c update ["102",null,"0"]');
  });

  test("that nobody has asked about when their table is altered", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE)`);
    {
      await using _open = await openLog(bed, await bed.capture("c", "z"));
      await deleteMeanwhile(bed, "INSERT INTO c VALUES (102, 11, 0), (103, 12, 0)");
    }
    await bed.admin.query("ALTER TABLE c DROP COLUMN n, ADD m INT");
    await using open = await openLog(bed, await bed.capture("c", "z"));
    expect(await cutChanges(open)).toContain('c delete ["102"]');
  });

  test("among so many rows that they are cut without being read", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES} ${C} FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE)`);
    await using open = await openLog(bed, await bed.capture("c", "z"));
    const many = Array.from({ length: 900 }, (_, n) => `(${n + 200}, ${n % 2 === 0 ? 12 : 11}, 0)`);
    await deleteMeanwhile(bed, `INSERT INTO c VALUES ${many.join(", ")}`);
    const changes = await cutChanges(open);
    expect(changes.filter((each) => each.startsWith("c delete"))).toHaveLength(450);
    expect(changes.filter((each) => each.startsWith("c insert"))).toHaveLength(900);
  });
});

/**
 * Deletes the first row of a, or another table, and holds the deletion between the look at the rows that will go
 * and the action: another session has the last of them locked. Meanwhile the statements are carried out.
 */
async function deleteMeanwhile(
  bed: Bed,
  statements: string,
  options: {
    readonly from?: string;
    /** Which, with its own row of z. */
    readonly row?: number;
    readonly where?: string;
    readonly session?: string;
    readonly meanwhile?: () => Promise<void>;
    readonly after?: string;
    readonly staysOpen?: boolean;
  } = {},
): Promise<Connection> {
  const { from = "a", row = 1, session = "DO 1", after = "DO 1", staysOpen = false } = options;
  const { where = `id = ${row}`, meanwhile = async () => {} } = options;
  const [deleting, holding, other] = [
    await bed.connect(),
    await bed.connect(),
    await bed.connect(),
  ];
  await deleting.query(`SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; ${session}`);
  await holding.query("BEGIN");
  await holding.query(`SELECT * FROM z WHERE a = ${row} FOR UPDATE`);
  await deleting.query("BEGIN");
  const deleted = deleting.query(`DELETE FROM ${from} WHERE ${where}`);
  await untilItWaits(bed, deleting);
  await other.query(statements);
  await meanwhile();
  await holding.query("COMMIT");
  await deleted;
  if (!staysOpen) await deleting.query("COMMIT");
  await other.query(after);
  return deleting;
}

/**
 * A cut that is held up with its first snapshot open, and how many it took. `missed`: rows of the log that the first one does
 * not show.
 */
async function cutMeanwhile(
  open: OpenLog,
  meanwhile: () => Promise<void>,
  missed: (row: readonly unknown[]) => boolean = () => false,
): Promise<{ readonly looks: number; readonly cut: CutBatch | null }> {
  const { rows } = Session.prototype;
  let looks = 0;
  const read = vi.spyOn(Session.prototype, "rows").mockImplementation(async function (
    this: Session,
    ...query
  ) {
    const found = await rows.apply(this, query);
    if (!query[0].includes("CONSISTENT SNAPSHOT")) return found;
    looks++;
    if (looks > 1) return found;
    await meanwhile();
    // What opens it comes along, with an answer of its own.
    const [opened, seen] = found as unknown as [unknown, (readonly unknown[])[]];
    return [opened, seen.filter((row) => !missed(row))] as unknown as typeof found;
  });
  try {
    const cut = await cutOnce(open.log);
    return { looks, cut };
  } finally {
    read.mockRestore();
  }
}

/** Rows of the log, and deletions that the log is kept for. */
async function left({ admin }: Bed): Promise<unknown> {
  const [rows] = await admin.query(
    "SELECT (SELECT COUNT(*) FROM tidemark_change_log WHERE id > 0), (SELECT COUNT(*) FROM tidemark_deletions)",
  );
  return (rows as unknown[])[0];
}

/** What one cut gives, which is the same when its batch is read again. */
async function cutChanges(open: OpenLog): Promise<string[]> {
  const cut = await cutOnce(open.log);
  if (cut === null) return [];
  const again = await collect(open.log.batches.pages(cut.header.batch));
  expect(linesOf(open, again)).toEqual(linesOf(open, cut.changes));
  return linesOf(open, cut.changes);
}
