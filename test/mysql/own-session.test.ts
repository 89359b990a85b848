// Triggers run in the application's own session: what that has set for itself neither hides rows from them, nor has them
// logged out of order, nor makes its writes fail (G1).
import { describe, expect, it } from "vitest";
import { take } from "../../src/testing/replica.ts";
import { available } from "../servers/index.ts";
import { type Bed, linesOf, openBed, openLog, SERVERS } from "./bed.ts";

describe.each(SERVERS)("an application's own session on %s", (kind) => {
  const test = it.skipIf(!available(kind));

  const TABLES = `CREATE TABLE a (id INT PRIMARY KEY, v INT, u INT UNIQUE);
     CREATE TABLE b (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE);
     CREATE TABLE c (id INT AUTO_INCREMENT PRIMARY KEY, v INT);
     INSERT INTO a VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3); INSERT INTO b VALUES (11, 1), (12, 2)`;

  const BY_TRANSACTIONS = `ADD since BIGINT UNSIGNED GENERATED ALWAYS AS ROW START INVISIBLE,
     ADD until BIGINT UNSIGNED GENERATED ALWAYS AS ROW END INVISIBLE,
     ADD PERIOD FOR SYSTEM_TIME (since, until), ADD SYSTEM VERSIONING`;

  /** Of transactions. */
  const withoutNumbers = (change: string) => change.replace(/,"(0|\d{3,})"/g, "");

  async function logged(bed: Bed, statements: string): Promise<readonly string[]> {
    await using open = await openLog(bed, await bed.capture("a", "b", "c"));
    await bed.admin.query(statements);
    const { changes } = await take(open.log.batches);
    return linesOf(open, changes);
  }

  test("that chooses the next id chooses it for no change of ours", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(TABLES);
    const changes = await logged(
      bed,
      // One that the log has, those below some that it has, and those that the application's table takes.
      `UPDATE a SET v = 10 WHERE id = 1; SET insert_id = 1; UPDATE a SET v = 11 WHERE id = 1;
       SET insert_id = 1000; UPDATE a SET v = 12 WHERE id = 1; UPDATE a SET v = 13 WHERE id = 1;
       SET insert_id = 500; UPDATE a SET v = 14; SET insert_id = 600; DELETE FROM a WHERE id = 1;
       SET insert_id = 700; INSERT INTO a VALUES (1, 15, 1); SET insert_id = 77; INSERT INTO c (v) VALUES (1), (2);
       UPDATE c SET v = 3 WHERE id = 77`,
    );
    expect(changes).toEqual([
      ...[10, 11, 12, 13, 14].map((v) => `a update ["1","${v}","1"]`),
      ...['a update ["2","14","2"]', 'a update ["3","14","3"]', 'b delete ["11"]'],
      ...['a delete ["1"]', 'a insert ["1","15","1"]'],
      ...['c insert ["77","1"]', 'c insert ["78","2"]', 'c update ["77","3"]'],
    ]);
  });

  test("that chooses a next id beyond all that we count by keeps it for its own rows", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(`${TABLES}; ALTER TABLE c MODIFY id BIGINT UNSIGNED AUTO_INCREMENT`);
    const changes = await logged(
      bed,
      `SET insert_id = 9007199254740993; UPDATE a SET v = 10 WHERE id = 1; UPDATE a SET u = 5 WHERE id = 1;
       DELETE FROM a WHERE id = 1; INSERT INTO c (v) VALUES (1); UPDATE a SET v = 11 WHERE id = 2;
       SET insert_id = 18446744073709551615; INSERT INTO a VALUES (1, 12, 1); DELETE FROM a WHERE id = 1;
       SET insert_id = 7; UPDATE a SET v = 13; INSERT INTO c (v) VALUES (2)`,
    );
    expect(changes).toEqual([
      ...['a update ["1","10","1"]', 'a update ["1","10","5"]', 'b delete ["11"]'],
      ...['a delete ["1"]', 'c insert ["9007199254740993","1"]', 'a update ["2","11","2"]'],
      ...['a insert ["1","12","1"]', 'a delete ["1"]'],
      ...['a update ["2","13","2"]', 'a update ["3","13","3"]', 'c insert ["7","2"]'],
    ]);
    const [[[highest]]] = (await bed.admin.query("SELECT MAX(id) FROM tidemark_change_log")) as [
      [[string]],
      unknown,
    ];
    expect(Number(highest)).toBeLessThan(50);
  });

  test("that chooses the next id chooses it for no row that triggers of its own write", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `${TABLES}; CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, c INT);
       INSERT INTO notes (c) VALUES (0), (0), (0);
       CREATE TRIGGER noted AFTER INSERT ON c FOR EACH ROW INSERT INTO notes (c) VALUES (NEW.id)`,
    );
    const changes = await logged(
      bed,
      "SET insert_id = 3; INSERT INTO c (v) VALUES (1), (2); SET insert_id = 7; INSERT INTO c VALUES (20, 3)",
    );
    expect(changes).toEqual(['c insert ["3","1"]', 'c insert ["4","2"]', 'c insert ["20","3"]']);
    // As without us: the third was not taken by the row itself.
    const [notes] = await bed.admin.query("SELECT id, c FROM notes WHERE c > 0 ORDER BY id");
    expect(notes).toEqual([
      [4, 3],
      [5, 4],
      [7, 20],
    ]);
  });

  test("that may read little has its writes carried out, and logged", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(TABLES);
    const changes = await logged(
      bed,
      `SET max_join_size = 1; UPDATE IGNORE a SET u = 3 WHERE id = 1;
       UPDATE IGNORE a SET u = 4 WHERE id = 2; DELETE FROM a WHERE id = 2`,
    );
    expect(changes).toEqual(['a update ["2","2","4"]', 'b delete ["12"]', 'a delete ["2"]']);
    expect((await bed.admin.query("SELECT @@sql_big_selects"))[0]).toEqual([["0"]]);
  });

  it.skipIf(kind !== "mariadb" || !available(kind))(
    "has logged what stands in versioned tables, whatever its time zone and the past it reads",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(`${TABLES}; INSERT INTO b VALUES (13, 3)`);
      await bed.admin.query("ALTER TABLE b ADD SYSTEM VERSIONING");
      // The server asks in the zone of whoever was the first which rows stand.
      const changes = await logged(
        bed,
        `SET time_zone = '+00:00'; DELETE FROM a WHERE id = 1; SET time_zone = '+05:30'; DELETE FROM a WHERE id = 2;
         SET system_versioning_asof = '2001-01-01'; DELETE FROM a WHERE id = 3`,
      );
      expect(changes).toEqual(
        [1, 2, 3].flatMap((id) => [`b delete ["${id + 10}"]`, `a delete ["${id}"]`]),
      );
    },
  );

  it.skipIf(kind !== "mariadb" || !available(kind)).each([
    ["row_start", "row_end", "ADD SYSTEM VERSIONING"],
    [
      "since",
      "until",
      `ADD since TIMESTAMP(6) GENERATED ALWAYS AS ROW START INVISIBLE,
       ADD until TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE,
       ADD PERIOD FOR SYSTEM_TIME (since, until), ADD SYSTEM VERSIONING`,
    ],
  ])(
    "has no row logged that had ended when it was inserted: %s, %s",
    async (since, until, alteration) => {
      await using bed = await openBed(kind);
      await bed.admin.query(`${TABLES}; ALTER TABLE b ${alteration}`);
      const ids = (changes: readonly string[]) => changes.map((line) => line.slice(0, 15));
      await using open = await openLog(bed, await bed.capture("b"));
      await bed.admin.query(
        `SET system_versioning_insert_history = 1, time_zone = '-08:00';
         INSERT INTO b (id, a, ${since}, ${until}) VALUES (11, 2, '2001-01-01', '2002-01-01'), (20, 2, '2001-01-01', '2035-01-01');
         INSERT INTO b (id, a, ${since}, ${until}) SELECT 21, 2, '2001-01-01', MAX(${until}) FROM b;
         SET time_zone = '+10:00'; INSERT INTO b (id, a) VALUES (22, 2)`,
      );
      const { changes } = await take(open.log.batches);
      expect(ids(linesOf(open, changes))).toEqual(['b insert ["21",', 'b insert ["22",']);
      const drop = since === "since" ? "DROP COLUMN since, DROP COLUMN until," : "";
      await bed.admin.query(
        `SET system_versioning_alter_history = KEEP; ALTER TABLE b ${drop} DROP SYSTEM VERSIONING; INSERT INTO b (id, a) VALUES (23, 2)`,
      );
    },
  );

  it.skipIf(kind !== "mariadb" || !available(kind)).each([
    ["times", "ADD SYSTEM VERSIONING"],
    ["transactions", BY_TRANSACTIONS],
  ])(
    "has no update logged that was passed over, in versioned tables (by %s)",
    async (_, alteration) => {
      await using bed = await openBed(kind);
      await bed.admin.query(`${TABLES}; ALTER TABLE a ${alteration}`);
      const changes = await logged(
        bed,
        `SET time_zone = '+00:00'; UPDATE IGNORE a SET u = 3 WHERE id = 1; UPDATE IGNORE a SET u = 4 WHERE id = 1;
       SET time_zone = '+05:30'; UPDATE IGNORE a SET u = 3 WHERE id = 2; UPDATE IGNORE a SET u = 5 WHERE id = 2;
       SET system_versioning_asof = '2001-01-01'; UPDATE IGNORE a SET u = 4 WHERE id = 3;
       BEGIN; UPDATE a SET u = 6 WHERE id = 3; UPDATE IGNORE a SET u = 4 WHERE id = 3; COMMIT`,
      );
      expect(changes.map(withoutNumbers)).toEqual([
        'a update ["1","1","4"]',
        'a update ["2","2","5"]',
        'a update ["3","3","6"]',
      ]);
    },
  );

  it.skipIf(kind !== "mariadb" || !available(kind)).each([
    ["got", "", "ADD SYSTEM VERSIONING"],
    ["lost", "ALTER TABLE a ADD SYSTEM VERSIONING", "DROP SYSTEM VERSIONING"],
  ])(
    "has no update logged that was passed over, where a table has %s its versions since its capture",
    async (_, before, alteration) => {
      await using bed = await openBed(kind);
      await bed.admin.query(`${TABLES}; ${before}`);
      await using open = await openLog(bed, await bed.capture("a", "b", "c"));
      await bed.admin.query(
        `SET time_zone = '+00:00'; UPDATE IGNORE a SET u = 3 WHERE id = 1; ALTER TABLE a ${alteration};
         UPDATE IGNORE a SET u = 3 WHERE id = 1; SET time_zone = '-05:30'; UPDATE IGNORE a SET u = 3 WHERE id = 2;
         SET system_versioning_asof = '2001-01-01'; UPDATE IGNORE a SET u = 1 WHERE id = 3; UPDATE IGNORE a SET u = 4 WHERE id = 3`,
      );
      const { changes } = await take(open.log.batches);
      expect(linesOf(open, changes)).toEqual(['a update ["3","3","4"]']);
    },
  );

  it.skipIf(kind !== "mariadb" || !available(kind))(
    "has written what it deletes in one transaction, in a table whose versions go by transactions",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(`${TABLES}; ALTER TABLE b ${BY_TRANSACTIONS}`);
      const changes = await logged(
        bed,
        `DELETE FROM a WHERE id = 1; BEGIN; INSERT INTO b (id, a) VALUES (13, 3); UPDATE b SET id = 14 WHERE id = 13;
         DELETE FROM a WHERE id = 3; COMMIT; SET system_versioning_asof = '2001-01-01'; DELETE FROM a WHERE id = 2`,
      );
      expect(changes.map(withoutNumbers)).toEqual([
        ...['b delete ["11"]', 'a delete ["1"]'],
        ...[
          'b insert ["13","3"]',
          'b update ["13"] ["14","3"]',
          'b delete ["14"]',
          'a delete ["3"]',
        ],
        ...['b delete ["12"]', 'a delete ["2"]'],
      ]);
    },
  );

  it.skipIf(kind !== "mariadb" || !available(kind))(
    "still writes where a versioned table is one no more, or goes by transactions, and the sync says that it lost sight",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(`${TABLES}; ALTER TABLE b ADD SYSTEM VERSIONING`);
      await using open = await openLog(bed, await bed.capture("a", "b", "c"));
      await bed.admin.query("ALTER TABLE b DROP SYSTEM VERSIONING; DELETE FROM a WHERE id = 1");
      await bed.admin.query(`ALTER TABLE b ${BY_TRANSACTIONS}; BEGIN; INSERT INTO b (id, a) VALUES (13, 3);
        DELETE FROM a WHERE id = 3; COMMIT`);
      const [rows] = await bed.admin.query(
        "SELECT op FROM tidemark_change_log WHERE layout > 0 ORDER BY id",
      );
      expect(rows).toEqual([["X"], ["D"], ["I"], ["X"], ["D"]]);
      await expect(take(open.log.batches)).rejects.toMatchObject({
        code: expect.stringMatching(/^TM-/),
      });
    },
  );
});
