// Rows that one deletion or one change of a key meets by several foreign keys of theirs are logged as they then are (G1).
import { describe, expect, it } from "vitest";
import { Replica, sorted, take, takeChunk } from "../../src/testing/replica.ts";
import { available } from "../servers/index.ts";
import { Random, testSeed } from "../support/random.ts";
import { type Bed, linesOf, logged, openBed, openLog, SERVERS, takenLines } from "./bed.ts";

const NULLED = "ON DELETE SET NULL ON UPDATE CASCADE";
const GONE = "ON DELETE CASCADE ON UPDATE CASCADE";
/** As an ORM makes them: `b` refers to `a` several times, and to `m`, which goes with its row of `a`. */
const TABLES = `
  CREATE TABLE a (id INT PRIMARY KEY, note INT);
  CREATE TABLE m (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id) ${GONE});
  CREATE TABLE b (id INT PRIMARY KEY, creator INT, updater INT UNIQUE, m INT, owner INT, n INT,
    FOREIGN KEY (creator) REFERENCES a (id) ${NULLED}, FOREIGN KEY (updater) REFERENCES a (id) ${NULLED},
    FOREIGN KEY (m) REFERENCES m (id) ${NULLED}, FOREIGN KEY (owner) REFERENCES m (id) ${GONE});
  CREATE TABLE c (id INT PRIMARY KEY, b INT, up INT, next INT, FOREIGN KEY (b) REFERENCES b (id) ${NULLED},
    FOREIGN KEY (up) REFERENCES c (id) ON DELETE SET NULL, FOREIGN KEY (next) REFERENCES c (id) ON DELETE SET NULL);
  CREATE TABLE t (x INT, id INT, PRIMARY KEY (x, id), FOREIGN KEY (x) REFERENCES a (id) ${GONE}, FOREIGN KEY (id) REFERENCES a (id) ${GONE});`;
const ALL = ["a", "b", "c", "m", "t"];

describe.each(SERVERS)("rows met by several foreign keys on %s", (kind) => {
  const test = it.skipIf(!available(kind));

  test("by each key of the same parent, and through another table", async () => {
    await using bed = await openBed(kind);
    const changes = await logged(
      bed,
      `CREATE TABLE a (id INT PRIMARY KEY);
       CREATE TABLE m (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE);
       CREATE TABLE b (id INT PRIMARY KEY, creator INT, updater INT, m INT,
         CONSTRAINT b1 FOREIGN KEY (creator) REFERENCES a (id) ON DELETE SET NULL,
         CONSTRAINT b2 FOREIGN KEY (updater) REFERENCES a (id) ON DELETE SET NULL,
         CONSTRAINT b3 FOREIGN KEY (m) REFERENCES m (id) ON DELETE SET NULL);
       INSERT INTO a VALUES (1), (2), (3); INSERT INTO m VALUES (11, 1), (12, 2), (13, 3);
       INSERT INTO b VALUES (21, 1, 1, 11), (22, 1, 2, 12), (23, 2, 1, 13), (24, NULL, NULL, 11), (25, 3, NULL, 13);`,
      ["b"],
      `DELETE FROM a WHERE id < 3 ORDER BY id;
       ALTER TABLE b ADD KEY more (m, id); ALTER TABLE m ADD KEY more (a, id); DELETE FROM a`,
    );
    expect(changes).toEqual([
      ...['b update ["21",null,null,null]', 'b update ["22",null,"2","12"]'],
      ...['b update ["23","2",null,"13"]', 'b update ["24",null,null,null]'],
      ...['b update ["23",null,null,"13"]', 'b update ["22",null,null,null]'],
      ...['b update ["25",null,null,null]', 'b update ["23",null,null,null]'],
    ]);
  });

  test("no deletion waits for a row that it does not meet, which its rows refer to", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `CREATE TABLE a (id INT PRIMARY KEY);
       CREATE TABLE m (id INT PRIMARY KEY, a INT, n INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE);
       CREATE TABLE b (id INT PRIMARY KEY, creator INT, m INT,
         CONSTRAINT b1 FOREIGN KEY (creator) REFERENCES a (id) ON DELETE SET NULL,
         CONSTRAINT b2 FOREIGN KEY (m) REFERENCES m (id) ON DELETE SET NULL);
       INSERT INTO a VALUES (1), (2); INSERT INTO m VALUES (11, 1, 0), (12, 2, 0);
       INSERT INTO m SELECT id + 10, 2, 0 FROM m; INSERT INTO m SELECT id + 20, 2, 0 FROM m;
       INSERT INTO m SELECT id + 40, 2, 0 FROM m; INSERT INTO m SELECT id + 80, 2, 0 FROM m;
       INSERT INTO b VALUES (21, 1, 11), (22, 1, 12); INSERT INTO b SELECT id + 100, 2, id FROM m; ANALYZE TABLE a, b, m`,
    );
    await using open = await openLog(bed, await bed.capture("b"));
    const other = await bed.connect();
    await other.query("START TRANSACTION; UPDATE m SET n = 1 WHERE id = 12");
    await bed.admin.query("SET innodb_lock_wait_timeout = 1; DELETE FROM a WHERE id = 1");
    await other.query("ROLLBACK");
    const changes = await takenLines(open);
    expect(changes.sort()).toEqual([
      ...['b update ["111","2",null]', 'b update ["21",null,null]', 'b update ["22",null,"12"]'],
    ]);
  });

  test("keys of several columns", async () => {
    await using bed = await openBed(kind);
    const changes = await logged(
      bed,
      `CREATE TABLE a (x INT, y VARCHAR(9), PRIMARY KEY (x, y));
       CREATE TABLE b (id INT PRIMARY KEY, x1 INT, y1 VARCHAR(9), x2 INT, y2 VARCHAR(9),
         CONSTRAINT b1 FOREIGN KEY (x1, y1) REFERENCES a (x, y) ON DELETE SET NULL,
         CONSTRAINT b2 FOREIGN KEY (x2, y2) REFERENCES a (x, y) ON DELETE SET NULL);
       INSERT INTO a VALUES (1, 'a'), (1, 'b');
       INSERT INTO b VALUES (11, 1, 'a', 1, 'A'), (12, 1, 'a', 1, 'b'), (13, 1, 'b', 1, 'a'), (14, 1, 'a', 1, NULL);`,
      ["b"],
      "DELETE FROM a WHERE y = 'a'",
    );
    expect(changes).toEqual([
      ...['b update ["11",null,null,null,null]', 'b update ["12",null,null,"1","b"]'],
      ...['b update ["14",null,null,"1",null]', 'b update ["13","1","b",null,null]'],
    ]);
  });

  test("a row that loses one reference, and goes by another of any level, is logged as gone at last", async () => {
    await using bed = await openBed(kind);
    const changes = await logged(
      bed,
      `CREATE TABLE a (id INT PRIMARY KEY);
       CREATE TABLE m (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE);
       CREATE TABLE b (id INT PRIMARY KEY, a INT, m INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE,
         FOREIGN KEY (m) REFERENCES m (id) ON DELETE SET NULL);
       INSERT INTO a VALUES (1), (2); INSERT INTO m VALUES (11, 1), (12, 2);
       INSERT INTO b VALUES (21, 1, 11), (22, 2, 11), (23, 1, 12)`,
      ["b"],
      "DELETE FROM a WHERE id = 1",
    );
    expect(changes).toEqual([
      ...['b update ["21","1",null]', 'b update ["22","2",null]'],
      ...['b delete ["21"]', 'b delete ["23"]'],
    ]);
  });

  test("below a tree that goes, and in it", async () => {
    await using bed = await openBed(kind);
    const changes = await logged(
      bed,
      `CREATE TABLE t (id INT PRIMARY KEY, up INT, quoted INT, FOREIGN KEY (up) REFERENCES t (id) ON DELETE CASCADE,
         FOREIGN KEY (quoted) REFERENCES t (id) ON DELETE SET NULL);
       CREATE TABLE u (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE SET NULL);
       INSERT INTO t VALUES (1, NULL, NULL), (2, 1, 1), (3, 2, 2), (4, NULL, 3), (5, NULL, 4);
       INSERT INTO u VALUES (11, 1), (12, 2), (13, 3), (14, 4);`,
      ["t", "u"],
      "DELETE FROM t WHERE id = 1",
    );
    expect(changes.slice(0, -3).sort()).toEqual([
      ...['t update ["2","1",null]', 't update ["3","2",null]', 't update ["4",null,null]'],
      ...['u update ["11",null]', 'u update ["12",null]', 'u update ["13",null]'],
    ]);
    expect(changes.slice(-3)).toEqual(["2", "3", "1"].map((id) => `t delete ["${id}"]`));
  });

  test("nothing is logged of what does not happen", async () => {
    await using bed = await openBed(kind);
    const changes = await logged(
      bed,
      `CREATE TABLE a (id INT PRIMARY KEY);
       CREATE TABLE b (id INT PRIMARY KEY, x INT, y INT, FOREIGN KEY (x) REFERENCES a (id) ON DELETE SET NULL,
         FOREIGN KEY (y) REFERENCES a (id) ON DELETE SET NULL);
       CREATE TABLE r (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id));
       INSERT INTO a VALUES (1), (2), (3); INSERT INTO b VALUES (11, 1, 1), (12, 2, 1), (13, 3, 3); INSERT INTO r VALUES (1, 1);`,
      ["b"],
      `DELETE IGNORE FROM a WHERE id < 3;
       SET foreign_key_checks = 0; DELETE FROM a WHERE id = 3; SET foreign_key_checks = 1`,
    );
    expect(changes).toEqual(['b update ["12",null,"1"]']);
  });

  test("a row whose reference must stay, since another refers to it by that, keeps what is above it", async () => {
    await using bed = await openBed(kind);
    const changes = await logged(
      bed,
      `CREATE TABLE a (id INT PRIMARY KEY);
       CREATE TABLE b (id INT PRIMARY KEY, a INT UNIQUE, FOREIGN KEY (a) REFERENCES a (id) ON DELETE SET NULL);
       CREATE TABLE r (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES b (a));
       INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (11, 1), (12, 2); INSERT INTO r VALUES (21, 1)`,
      ["b"],
      "DELETE IGNORE FROM a",
    );
    expect(changes).toEqual(['b update ["12",null]']);
  });

  test.each([
    ["INT", "PRIMARY KEY (x, y)"],
    ["VARBINARY(4)", "UNIQUE (y, x), KEY (x)"],
    ["VARCHAR(9)", "z INT NOT NULL, PRIMARY KEY (y, z, x), KEY (x)"],
  ])("a row between two of one table, whose key follows both (%s, %s)", async (type, keys) => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `SET sql_mode = ''; CREATE TABLE a (id ${type} PRIMARY KEY);
       CREATE TABLE t (x ${type} NOT NULL, y ${type} NOT NULL, n INT, ${keys},
         FOREIGN KEY (x) REFERENCES a (id) ${GONE}, FOREIGN KEY (y) REFERENCES a (id) ${GONE});
       INSERT INTO a VALUES ('1'), ('2'), ('3');
       INSERT INTO t (x, y) VALUES ('1', '2'), ('3', '1'), ('2', '3'), ('3', '3')`,
    );
    await using open = await openLog(bed, await bed.capture("t"));
    const table = { schema: null, name: "t" };
    const copied = async () =>
      await takeChunk(open.log.batches, { table, after: null, maxRows: 10, maxBytes: 10_000 });
    const replica = new Replica([...open.layouts.values()]);
    replica.copy((await copied()).chunk);
    await bed.admin.query(
      `UPDATE a SET id = '9' WHERE id = '1'; ALTER TABLE t ADD KEY more (n);
       UPDATE a SET id = '1' WHERE id = '2'`,
    );
    // Of what refers to it by both the server itself refuses that, as it does without us.
    const twice = bed.admin.query("UPDATE a SET id = '2' WHERE id = '3'");
    await expect(twice).rejects.toMatchObject({ errno: 1452 });
    await bed.admin.query("DELETE FROM t WHERE x = y; UPDATE a SET id = '2' WHERE id = '3'");
    const { changes, chunk } = await copied();
    expect(changes).toHaveLength(7);
    expect(changes.every(({ keyBefore }) => keyBefore !== null)).toBe(true);
    replica.apply(changes);
    expect(replica.rows("t")).toEqual(sorted([...chunk.rows]));
  });

  test("what the other reference is left with, whatever type it is of", async () => {
    await using bed = await openBed(kind);
    const types: readonly (readonly [type: string, one: string, other: string])[] = [
      ["BIGINT UNSIGNED", "18446744073709551612", "18446744073709551613"],
      ["DECIMAL(30,10)", "0.0000000001", "99999999999999999999.0000000001"],
      ["BIT(40)", "b'1'", `b'${"1".repeat(40)}'`],
      ["BINARY(4)", "X'00000000'", "X'FF000041'"],
      ["VARBINARY(4)", "''", "X'FF00'"],
      ["VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci", "'ß'", "'é '"],
      ["VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "'A'", "'😀'"],
      ["ENUM('a', 'ß')", "'a'", "'ß'"],
      ["SET('a', 'b')", "'a'", "'a,b'"],
      ["DATETIME(6)", "'2024-10-27 02:30:00.000001'", "'2024-10-27 02:30:00.000002'"],
      ["TIMESTAMP(6)", "'2024-06-27 02:30:00.000001'", "'2024-06-27 02:30:00.000002'"],
      ["TIME(3)", "'00:00:00.001'", "'-838:59:58.999'"],
      ["DATE", "'2024-02-29'", "'9999-12-31'"],
      ["YEAR", "1999", "2155"],
    ];
    for (const [i, [type, one, other]] of types.entries()) {
      await bed.admin.query(
        `CREATE TABLE a${i} (k ${type} NOT NULL PRIMARY KEY); INSERT INTO a${i} VALUES (${one}), (${other});
         CREATE TABLE b${i} (id INT PRIMARY KEY, x ${type} NULL, y ${type} NULL,
           CONSTRAINT x${i} FOREIGN KEY (x) REFERENCES a${i} (k) ON DELETE SET NULL,
           CONSTRAINT y${i} FOREIGN KEY (y) REFERENCES a${i} (k) ON DELETE SET NULL);
         INSERT INTO b${i} VALUES (1, ${one}, ${other}), (2, ${other}, ${one}), (3, ${one}, ${one})`,
      );
    }
    const names = types.map((_, i) => `b${i}`);
    await using open = await openLog(bed, await bed.capture(...names));
    await bed.admin.query(
      `SET time_zone = '+05:30'; ${types.map((_, i) => `DELETE FROM a${i} ORDER BY k LIMIT 1`).join("; ")}`,
    );
    const { changes } = await take(open.log.batches);
    const rows = changes.map(({ layout, row }) => [open.layouts.get(layout)?.table.name, row]);
    for (const name of names) {
      const table = { schema: null, name };
      const request = { table, after: null, maxRows: 10, maxBytes: 10_000 };
      const { chunk } = await takeChunk(open.log.batches, request);
      const told = rows.filter(([of]) => of === name).map(([, row]) => row);
      expect(told, name).toHaveLength(chunk.rows.filter((row) => row.includes(null)).length);
      expect(told, name).toEqual(
        expect.arrayContaining(chunk.rows.filter((row) => row.includes(null))),
      );
    }
  });

  test("random changes and deletions, one by one: each batch tells what then stands", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(TABLES);
    await using open = await openLog(bed, await bed.capture(...ALL));
    const replica = new Replica([...open.layouts.values()]);
    const random = new Random(testSeed());
    for (let turn = 0; turn < 150; turn++) {
      const statement = random.chance(0.4) ? deletion(random) : write(random);
      await bed.admin.query(statement).catch(refused);
      const { changes } = await take(open.log.batches);
      replica.apply(changes);
      const lines = linesOf(open, changes);
      const states = lines.filter((line) => line.includes(" update "));
      if (statement.startsWith("DELETE")) expect(states).toEqual([...new Set(states)]);
      for (const table of ALL)
        expect(replica.rows(table), statement).toEqual(await rowsOf(bed, table));
    }
  });

  test.each(["READ COMMITTED", "REPEATABLE READ"])(
    "random changes side by side under %s",
    async (level) => {
      await using bed = await openBed(kind);
      await bed.admin.query(TABLES);
      await using open = await openLog(bed, await bed.capture(...ALL));
      const replica = new Replica([...open.layouts.values()]);
      const random = new Random(testSeed());
      for (let round = 0; round < 3; round++) {
        const writers = [1, 2, 3].map(async (who) => {
          const own = random.fork();
          const session = await bed.connect();
          await session.query(`SET SESSION TRANSACTION ISOLATION LEVEL ${level}`);
          for (let turn = 0; turn < 60; turn++) {
            const statement = who === 1 ? deletion(own) : write(own);
            await session.query(statement).catch(refused);
          }
        });
        let isDone = false;
        const written = Promise.all(writers).finally(() => {
          isDone = true;
        });
        while (!isDone) replica.apply((await take(open.log.batches)).changes);
        await written;
        replica.apply((await take(open.log.batches)).changes);
        for (const table of ALL) expect(replica.rows(table)).toEqual(await rowsOf(bed, table));
      }
    },
  );
});

const id = (random: Random) => random.between(1, 8);
const maybe = (random: Random) => (random.chance(0.3) ? "NULL" : String(id(random)));

function write(random: Random): string {
  switch (random.between(1, 8)) {
    case 1:
      return `INSERT IGNORE INTO a VALUES (${id(random)}, 0), (${id(random)}, 0), (${id(random)}, 0)`;
    case 2:
      return `INSERT INTO m VALUES (${id(random)}, ${maybe(random)})`;
    case 3:
      return `INSERT IGNORE INTO b VALUES (${id(random)}, ${maybe(random)}, ${maybe(random)}, ${maybe(random)}, ${maybe(random)}, 0)`;
    case 4:
      return `INSERT IGNORE INTO c VALUES (${id(random)}, ${maybe(random)}, ${maybe(random)}, ${maybe(random)})`;
    case 5:
      return `UPDATE b SET n = n + 1, creator = ${maybe(random)} WHERE id = ${id(random)}`;
    case 6:
      return `UPDATE ${random.pick(["a", "m"])} SET id = ${id(random)} WHERE id = ${id(random)}`;
    case 7:
      return `INSERT IGNORE INTO t VALUES (${id(random)}, ${id(random)}), (${id(random)}, ${id(random)})`;
    default:
      return `UPDATE c SET next = ${maybe(random)}, up = ${maybe(random)} WHERE id = ${id(random)}`;
  }
}

function deletion(random: Random): string {
  const from = random.pick(["a", "a", "m", "b", "c"]);
  const ignore = random.chance(0.3) ? "IGNORE" : "";
  const low = id(random);
  return `DELETE ${ignore} FROM ${from} WHERE id BETWEEN ${low} AND ${low + random.between(0, 2)} ORDER BY id ${random.pick(["ASC", "DESC"])}`;
}

/** A key that stands, there or below, a reference to nothing, and of two that wait for each other one. */
function refused(error: unknown): void {
  if (![1062, 1213, 1452, 1761].includes((error as { readonly errno?: number }).errno ?? 0))
    throw error;
}

async function rowsOf({ admin }: Bed, table: string): Promise<unknown> {
  const [rows] = await admin.query(`SELECT * FROM ${table} ORDER BY CAST(id AS CHAR)`);
  const texts = (rows as unknown[][]).map((row) =>
    row.map((cell) => (cell === null ? null : String(cell))),
  );
  return texts.sort((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));
}
