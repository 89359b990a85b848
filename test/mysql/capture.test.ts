// What capture refuses, notices, installs and removes (G1, G8).
import { describe, expect, it } from "vitest";
import type { Layout } from "../../src/core/change.ts";
import type { CaptureTable } from "../../src/core/source.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { take, takeChunk } from "../../src/testing/replica.ts";
import { available } from "../servers/index.ts";
import {
  asTarget,
  type Bed,
  cutOnce,
  linesOf,
  type OpenLog,
  openBed,
  openLog,
  SERVERS,
} from "./bed.ts";

async function plan(bed: Bed, tables: readonly CaptureTable[]) {
  const source = await mysql.openSource(bed.options);
  try {
    return await source.planCapture(tables);
  } finally {
    await source.close();
  }
}

async function checks(bed: Bed, tables: readonly CaptureTable[]): Promise<string[]> {
  const source = await mysql.openSource(bed.options);
  try {
    const findings = await source.diagnose(tables);
    for (const { severity, fix } of findings) if (severity !== "ok") expect(fix).toBeTruthy();
    return findings.filter(({ severity }) => severity === "error").map(({ check }) => check);
  } finally {
    await source.close();
  }
}

/** The drift check runs at most once a second. */
function later<T>(work: () => Promise<T>): Promise<T> {
  return new Promise((resolve) => setTimeout(resolve, 1_100)).then(work);
}

describe.each(SERVERS)("capture on %s", (kind) => {
  it.skipIf(!available(kind))(
    "stops where a table is given an engine without transactions, until it is copied anew",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
      const tables = await bed.capture("t");
      const broken = { code: "TM-CAPTURE-BROKEN", message: expect.stringContaining("engine") };
      {
        await using open = await openLog(bed, tables);
        await bed.admin.query("ALTER TABLE t ENGINE = MyISAM");
        await bed.admin.query("START TRANSACTION; INSERT INTO t VALUES (3); ROLLBACK");
        await expect(open.log.batches.look?.()).rejects.toMatchObject(broken);
      }
      await expect(openLog(bed, tables)).rejects.toMatchObject({ code: "TM-TABLE-UNSUPPORTED" });
      await bed.admin.query("ALTER TABLE t ENGINE = InnoDB");
      await expect(openLog(bed, tables)).rejects.toMatchObject(broken);
    },
  );

  it.skipIf(!available(kind))("takes a view in place of a table for no engine", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    const tables = await bed.capture("t");
    {
      await using open = await openLog(bed, tables);
      await bed.admin.query("RENAME TABLE t TO other; CREATE VIEW t AS SELECT * FROM other");
      const message = expect.not.stringContaining("engine");
      await expect(open.log.batches.look?.()).rejects.toMatchObject({ message });
    }
    await bed.admin.query("DROP VIEW t; RENAME TABLE other TO t");
    await using open = await openLog(bed, tables);
    expect(await open.log.batches.look?.()).toBe(true);
  });

  it.skipIf(!available(kind))("replaces what another version has made, once", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY, w INT)");
    const tables = (await bed.capture("t")).map((table) => ({ ...table, filters: ["w > 1"] }));
    const planned = async () => (await plan(bed, tables)).statements;
    const captured = async () => {
      await using open = await openLog(bed, tables);
      return linesOf(open, (await take(open.log.batches)).changes);
    };
    await captured();
    expect(await planned()).toEqual([]);
    await bed.admin.query(
      `UPDATE tidemark_layouts SET definition = REGEXP_REPLACE(definition, '"work":"[0-9a-f]+"', '"work":"another"')`,
    );
    expect((await planned()).length).toBeGreaterThan(0);
    await captured();
    expect(await planned()).toEqual([]);
    await bed.admin.query("INSERT INTO t VALUES (1, 2)");
    expect(await captured()).toEqual(['t insert ["1","2"]']);
  });

  it.skipIf(!available(kind))("takes a filter with any character in its comments", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      "CREATE TABLE `täble` (id INT PRIMARY KEY, `naïve``é``` VARCHAR(20) CHARACTER SET utf8mb4)",
    );
    const filters = [
      "`naïve``é``` <> '/* 😀' /* it's 😀 */ AND # \"😀\n`naïve``é``` <> 'it\\'s -- 😀' -- 😀",
      "`naïve``é``` IN (/*! '# 😀', */ \"-- 😀\")",
    ];
    const tables = (await bed.capture("täble")).map((table) => ({ ...table, filters }));
    await using open = await openLog(bed, tables);
    await bed.admin.query(
      "INSERT INTO `täble` VALUES (1, '/* 😀'), (2, 'it\\'s -- 😀'), (3, 'it\\'s -- ?'), (4, '# 😀'), (5, '-- 😀')",
    );
    const [rows] = await bed.admin.query("SELECT filters FROM tidemark_change_log WHERE id > 0");
    expect(rows).toEqual([["ff"], ["ff"], ["tf"], ["tt"], ["tt"]]);
    expect((await cutOnce(open.log))?.changes.length).toBe(5);
  });

  it.skipIf(!available(kind))("goes on where its set-up was cut off", async () => {
    for (let done = 0; ; done++) {
      await using bed = await openBed(kind);
      await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
      const tables = await bed.capture("t");
      const { statements } = await plan(bed, tables);
      const ours = statements.filter((statement) => !statement.includes("TRIGGER"));
      for (const statement of ours.slice(0, done)) await bed.admin.query(statement);
      await using open = await openLog(bed, tables);
      await bed.admin.query("INSERT INTO t VALUES (1)");
      expect((await cutOnce(open.log))?.changes.length, `${done} statements done`).toBe(1);
      if (done === ours.length) break;
    }
  });

  it.skipIf(!available(kind))("refuses by name what it could not see", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `CREATE TABLE p (id INT PRIMARY KEY);
       CREATE TABLE c (id INT PRIMARY KEY, p INT, CONSTRAINT c_p FOREIGN KEY (p) REFERENCES p (id) ON UPDATE SET NULL);
       CREATE TABLE d (id INT PRIMARY KEY, p INT, CONSTRAINT d_p FOREIGN KEY (p) REFERENCES p (id) ON UPDATE SET NULL);
       CREATE TABLE keyless (id INT NULL UNIQUE);
       CREATE TABLE heap (id INT PRIMARY KEY) ENGINE = MEMORY;
       CREATE VIEW seen AS SELECT * FROM p`,
    );
    const [p, c, keyless] = await bed.capture("p", "c", "keyless");
    if (p === undefined || c === undefined || keyless === undefined)
      throw new Error("three tables");
    await expect(plan(bed, [c])).rejects.toMatchObject({
      code: "TM-TABLE-UNSUPPORTED",
      message: expect.stringMatching(/c_p.*ON UPDATE SET NULL/),
    });
    await expect(plan(bed, [keyless])).rejects.toMatchObject({ code: "TM-TABLE-NO-KEY" });
    // With many such tables a start each would be needed to know all.
    const all = [c, ...(await bed.capture("d")), keyless];
    await expect(plan(bed, all)).rejects.toMatchObject({
      message: expect.stringMatching(/c_p.*d_p.*keyless/),
      details: { tables: ["c", "d", "keyless"] },
    });
    await expect(bed.capture("heap")).rejects.toMatchObject({ code: "TM-TABLE-UNSUPPORTED" });
    await expect(bed.capture("seen")).rejects.toMatchObject({ code: "TM-TABLE-UNSUPPORTED" });
    await expect(bed.capture("keylesss")).rejects.toMatchObject({
      code: "TM-TABLE-MISSING",
      fix: "Did you mean keyless?",
    });
    await expect(plan(bed, [{ ...p, filters: ["nothing > 1"] }])).rejects.toMatchObject({
      code: "TM-CONFIG-INVALID",
    });
    expect(await checks(bed, [c])).toContain("table-unfit");
  });

  it.skipIf(!available(kind))(
    "logs no row that UPDATE IGNORE left, whatever its times",
    async () => {
      await using bed = await openBed(kind);
      const times = ["TIMESTAMP", "TIMESTAMP(3)", "TIMESTAMP(6)", "DATETIME(6)"].map((type) => {
        const now = `CURRENT_TIMESTAMP${/\(\d\)/.exec(type)?.[0] ?? ""}`;
        return `${type} DEFAULT ${now} ON UPDATE ${now}`;
      });
      const names = times.map((_, i) => `t${i}`);
      for (const [i, time] of times.entries()) {
        await bed.admin.query(
          `CREATE TABLE t${i} (id INT PRIMARY KEY, n INT UNIQUE, at ${time});
         SET timestamp = 1600000000.123456;
         INSERT INTO t${i} (id, n) VALUES (1, 1), (2, 2);
         SET timestamp = DEFAULT`,
        );
      }
      await using open = await openLog(bed, await bed.capture(...names));
      for (const name of names) {
        await bed.admin.query(
          `UPDATE IGNORE ${name} SET n = 1 WHERE id = 2; UPDATE ${name} SET n = n; UPDATE ${name} SET n = 3 WHERE id = 1`,
        );
      }
      const { changes } = await take(open.log.batches);
      const ofTheSecond = changes.filter(({ row }) => row?.[0] === "2");
      expect(ofTheSecond.filter(({ row }) => row?.[1] !== "2")).toEqual([]);
      expect(ofTheSecond.filter(({ row }) => !/^2020-09-13/.test(String(row?.[2])))).toEqual([]);
      expect(changes.filter(({ row }) => row?.[1] === "3")).toHaveLength(names.length);
    },
  );

  it.skipIf(!available(kind))(
    "tells of no update as carried out that a key may have refused which came after capture",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        `CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT); INSERT INTO a VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4);
         CREATE TABLE keyless (id INT NOT NULL, v INT); INSERT INTO keyless VALUES (1, 1), (2, 2)`,
      );
      const known = new Map<number, Layout>();
      const cutLines = async ({ log, layouts }: OpenLog) => {
        for (const [id, layout] of layouts) known.set(id, layout);
        return linesOf({ layouts: known }, (await cutOnce(log))?.changes ?? []);
      };
      {
        await using open = await openLog(bed, await bed.capture("a", "keyless"));
        await bed.admin.query("UPDATE a SET v = 7 WHERE id = 4");
        expect(await cutLines(open)).toEqual(['a update ["4","7","4"]']);
        await bed.admin.query("ALTER TABLE a ADD UNIQUE (v); ALTER TABLE keyless ADD UNIQUE (id)");
        await bed.admin.query(
          `UPDATE IGNORE a SET v = 2 WHERE id = 1; UPDATE a SET id = 5 WHERE id = 4; DELETE FROM a WHERE id = 3;
           INSERT INTO a VALUES (6, 6, 6); UPDATE IGNORE keyless SET id = 2 WHERE id = 1; UPDATE keyless SET v = 3`,
        );
        await expect(cutOnce(open.log)).rejects.toMatchObject({ code: "TM-SCHEMA-DRIFT" });
      }
      await using open = await openLog(bed, await bed.capture("a", "keyless"));
      const carriedOut = [
        ...['a update ["4"] ["5","7","4"]', 'a delete ["3"]', 'a insert ["6","6","6"]'],
        ...['keyless update ["1","1"] ["1","3"]', 'keyless update ["2","2"] ["2","3"]'],
      ];
      const lines = await cutLines(open);
      expect(lines.filter((line) => line.includes("["))).toEqual(carriedOut);
      // Nothing is known of these: the table is copied anew.
      const unread = kind === "mariadb" ? ["a update", "keyless update"] : [];
      expect(lines.filter((line) => !line.includes("["))).toEqual(unread);
      await bed.admin.query(
        "UPDATE IGNORE a SET v = 2 WHERE id = 1; UPDATE a SET w = 3 WHERE id = 1",
      );
      expect(await cutLines(open)).toEqual(['a update ["1","1","3"]']);
    },
  );

  it.skipIf(!available(kind)).each([
    ["source", "tidemark_layouts"],
    ["target", "tidemark_progress_tables"],
  ])("neither reads nor writes what another version has made: at the %s", async (end, table) => {
    await using bed = await openBed(kind);
    await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    const tables = await bed.capture("t");
    await (await openLog(bed, tables))[Symbol.asyncDispose]();
    const target = await mysql.openTarget(bed.options);
    const wanted = tables.map((each) => asTarget(each));
    await target.prepare(await target.plan(wanted));
    await bed.admin.query(`ALTER TABLE ${table} ADD other INT`);
    const version = { code: "TM-LOG-VERSION", message: expect.stringContaining(table) };
    if (end === "source") {
      await expect(openLog(bed, tables)).rejects.toMatchObject(version);
      await expect(plan(bed, tables)).rejects.toMatchObject(version);
      expect(await checks(bed, tables)).toEqual(["log-version"]);
    } else {
      await expect(target.copiesOf("s")).rejects.toMatchObject(version);
      await expect(target.plan(wanted)).rejects.toMatchObject(version);
    }
    await target.close();
  });

  const EXCHANGE = "RENAME TABLE t TO x, u TO t, x TO u";
  const RENAMES = [
    ["none", "RENAME TABLE t TO away", "away", "RENAME TABLE away TO t"],
    // It has rows of the same keys, which are none of this table. MySQL is not asked (docs/reference/changes.md).
    ...(kind === "mariadb" ? [["another", EXCHANGE, "u", EXCHANGE] as const] : []),
  ] as const;
  it.skipIf(!available(kind)).each(RENAMES)(
    "lets writes go on, and logs them, where a table was renamed and %s has its name",
    async (_, rename, now, back) => {
      await using bed = await openBed(kind);
      const columns =
        "(id INT PRIMARY KEY, a INT UNIQUE, seen DATETIME DEFAULT '2020-01-01' ON UPDATE CURRENT_TIMESTAMP)";
      await bed.admin.query(
        `CREATE TABLE t ${columns}; CREATE TABLE u ${columns};
       CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON UPDATE CASCADE);
       INSERT INTO t (id, a) VALUES (1, 1), (2, 2), (3, 3); INSERT INTO u (id, a) VALUES (1, 1), (2, 2), (3, 3);
       INSERT INTO c VALUES (7, 3)`,
      );
      const tables = await bed.capture("t", "c");
      await using open = await openLog(bed, tables);
      await bed.admin.query(
        `${rename}; SET timestamp = UNIX_TIMESTAMP('2021-02-03 04:05:06');
       UPDATE ${now} SET id = 9 WHERE id = 1;
       INSERT INTO ${now} (id, a) VALUES (2, 5) ON DUPLICATE KEY UPDATE a = 5;
       ${now === "u" ? "" : `UPDATE ${now} SET id = 8 WHERE id = 3;`}
       ${back}`,
      );
      const { changes } = await take(open.log.batches);
      const cascaded = ['t update ["3"] ["8","3","2021-02-03 04:05:06"]', 'c update ["7","8"]'];
      expect(linesOf(open, changes)).toEqual([
        't update ["1"] ["9","1","2021-02-03 04:05:06"]',
        't update ["2","5","2021-02-03 04:05:06"]',
        ...(now === "u" ? [] : cascaded),
      ]);
    },
  );

  it.skipIf(!available(kind))("logs no time that a row never got", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      `CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9), b INT DEFAULT 0,
         seen DATETIME DEFAULT '2020-01-01' ON UPDATE CURRENT_TIMESTAMP);
       INSERT INTO t (id, a) VALUES (1, 'x'), (2, 'y'), (3, 'z'), (4, 'w');
       CREATE TABLE keyless (a INT, seen DATETIME ON UPDATE CURRENT_TIMESTAMP)`,
    );
    const [t, keyless] = await bed.capture("t", "keyless");
    if (t === undefined || keyless === undefined) throw new Error("two tables");
    await expect(plan(bed, [keyless])).rejects.toMatchObject({
      code: "TM-TABLE-NO-KEY",
      message: expect.stringMatching(/ON UPDATE CURRENT_TIMESTAMP \(seen\)/),
    });
    // Without b, as a list of columns may have it.
    await using open = await openLog(bed, [{ ...t, columns: ["id", "a", "seen"] }]);
    await bed.admin.query(
      `UPDATE t SET a = a;
       UPDATE t SET a = 'x' WHERE id = 1;
       INSERT INTO t (id, a) VALUES (2, 'y') ON DUPLICATE KEY UPDATE a = VALUES(a);
       SET timestamp = UNIX_TIMESTAMP('2021-02-03 04:05:06');
       UPDATE t SET a = 'X' WHERE id = 1;
       UPDATE t SET b = 1 WHERE id = 2;
       UPDATE t SET seen = '2022-01-01 00:00:00' WHERE id = 3;
       UPDATE t SET b = 0 WHERE id = 4`,
    );
    const { changes } = await take(open.log.batches);
    const last = new Map(changes.map(({ row }) => [row?.[0], row]));
    expect([...last.values()].filter((row) => row?.[0] !== "4").sort()).toEqual([
      ["1", "X", "2021-02-03 04:05:06"],
      ["2", "y", "2021-02-03 04:05:06"],
      ["3", "z", "2022-01-01 00:00:00"],
    ]);
    expect(last.get("4")?.[2] ?? "2020-01-01 00:00:00").toBe("2020-01-01 00:00:00");
  });

  it.skipIf(!available(kind))(
    "waits for who wrote before, installs once, and stands first",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        `CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, t INT);
       CREATE TRIGGER t_audit AFTER INSERT ON t FOR EACH ROW INSERT INTO audit (t) VALUES (NEW.id)`,
      );
      const tables = await bed.capture("t", "audit");
      const before = await bed.connect();
      await before.query("START TRANSACTION; INSERT INTO t VALUES (1, 1)");
      let ready = false;
      const opening = openLog(bed, tables).then((opened) => {
        ready = true;
        return opened;
      });
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      expect(ready).toBe(false);
      await before.query("COMMIT");
      await using opened = await opening;
      const { log, layouts } = opened;
      const other = await mysql.openSource(bed.options);
      expect(await other.openChangeLog()).toBeNull();
      expect((await other.planCapture(tables)).statements).toEqual([]);
      await other.close();
      await bed.admin.query("INSERT INTO t VALUES (2, 2)");
      const names = (await cutOnce(log))?.changes.map(
        ({ layout }) => layouts.get(layout)?.table.name,
      );
      expect(names).toEqual(["t", "audit"]);
      expect(await checks(bed, tables)).toEqual([]);
    },
  );

  it.skipIf(!available(kind))(
    "takes no filter that reads otherwise in each writer's time zone",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL, `made``at` TIMESTAMP NULL, day DATETIME, name VARCHAR(20))",
      );
      const tables = await bed.capture("t");
      const filtered = (filter: string) => tables.map((table) => ({ ...table, filters: [filter] }));
      const refused = [
        "at >= '2024-01-01 00:00:00'",
        "YEAR(t.`at`) = 2024",
        "id > 1 AND `made``at` < '2024-01-01'",
        "UNIX_TIMESTAMP(at) > 1 AND HOUR(at) < 12",
      ];
      for (const filter of refused) {
        await expect(plan(bed, filtered(filter))).rejects.toMatchObject({
          code: "TM-CONFIG-INVALID",
          message: expect.stringContaining("TIMESTAMP (at, made`at)"),
          fix: expect.stringContaining("UNIX_TIMESTAMP(`at`)"),
        });
      }
      const taken = [
        "at IS NOT NULL AND `made``at` is null",
        "name <> 'at >= 1' AND day >= '2024-01-01' -- at",
      ];
      for (const filter of taken) await plan(bed, filtered(filter));
      const since2024 = filtered("unix_timestamp( t.at ) >= 1704067200");
      await using opened = await openLog(bed, since2024);
      await bed.admin.query(
        "SET time_zone = '+05:00'; INSERT INTO t (id, at) VALUES (1, '2024-01-01 04:00:00'), (2, '2024-01-01 06:00:00')",
      );
      const batch = await cutOnce(opened.log);
      expect(batch?.changes.map(({ filters }) => filters)).toEqual([[false], [true]]);
      const table = { schema: null, name: "t" };
      const request = { table, after: null, maxRows: 10, maxBytes: 1_000 };
      const { chunk } = await takeChunk(opened.log.batches, request);
      expect(chunk.filters).toEqual([[false], [true]]);
    },
  );

  it.skipIf(!available(kind))("takes no filter that a setting of each writer decides", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      "CREATE TABLE t (id INT PRIMARY KEY, day DATE, week INT, name VARCHAR(20))",
    );
    const tables = await bed.capture("t");
    const planned = (filter: string) =>
      plan(
        bed,
        tables.map((table) => ({ ...table, filters: [filter] })),
      );
    const refused = [
      ["dayname(day) = 'Monday'", "lc_time_names"],
      ["MONTHNAME (day) <> 'May'", "lc_time_names"],
      ["Date_Format(day, '%b %Y') = 'May 2024'", "lc_time_names"],
      ["id > 1 AND WEEK(day) = 1", "default_week_format"],
      ["week( COALESCE(day, DATE('2024-01-01')) ) = 1", "default_week_format"],
    ] as const;
    for (const [filter, setting] of refused) {
      await expect(planned(filter)).rejects.toMatchObject({
        code: "TM-CONFIG-INVALID",
        message: expect.stringContaining(setting),
      });
    }
    const taken = [
      "DATE_FORMAT(day, '%Y-%m') = '2024-05' AND DAYOFWEEK(day) = 2",
      "WEEK(COALESCE(day, '2024-01-01'), 3) = 1 AND week IN (1, 2) AND WEEKDAY(day) = 1",
    ];
    for (const filter of taken) await planned(filter);
  });

  it.skipIf(!available(kind))(
    "logs filters, key changes and only the columns asked for",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        "CREATE TABLE t (k VARCHAR(10) COLLATE utf8mb4_general_ci PRIMARY KEY, status VARCHAR(10), card VARCHAR(20))",
      );
      const tables = (await bed.capture("t")).map((table) => ({
        ...table,
        columns: ["k", "status"],
        filters: ["status <> 'draft'", "t.k LIKE 'a%' -- by key"],
      }));
      await using opened = await openLog(bed, tables);
      await bed.admin.query(
        `INSERT INTO t VALUES ('a', 'draft', '1234'), ('b', NULL, '1234'); UPDATE t SET k = 'A', status = 'x' WHERE k = 'a';
       DELETE FROM t WHERE k = 'b'`,
      );
      const batch = await cutOnce(opened.log);
      expect(
        batch?.changes.map(({ op, keyBefore, row, filters }) => ({ op, keyBefore, row, filters })),
      ).toEqual([
        { op: "insert", keyBefore: null, row: ["a", "draft"], filters: [false, true] },
        { op: "insert", keyBefore: null, row: ["b", null], filters: [false, false] },
        { op: "update", keyBefore: ["a"], row: ["A", "x"], filters: [true, true] },
        { op: "delete", keyBefore: ["b"], row: null, filters: [] },
      ]);
      const [stored] = await bed.admin.query(
        "SELECT COUNT(*) FROM tidemark_change_log WHERE row_after LIKE '%1234%'",
      );
      expect(stored).toEqual([["0"]]);
    },
  );

  it.skipIf(!available(kind))(
    "notices drift and a dropped trigger, and does not mend in silence",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY, v INT)");
      const tables = await bed.capture("t");
      {
        await using opened = await openLog(bed, tables);
        await bed.admin.query("INSERT INTO t VALUES (1, 1)");
        expect(await cutOnce(opened.log)).not.toBeNull();
        await bed.admin.query("ALTER TABLE t ADD COLUMN w INT; INSERT INTO t VALUES (3, 3, 3)");
        const drift = { code: "TM-SCHEMA-DRIFT", message: expect.stringContaining("column w") };
        await expect(later(() => cutOnce(opened.log))).rejects.toMatchObject(drift);
        // Nor does it capture what a relay that has lost its session knows from before.
        await expect(opened.log.capture(tables)).rejects.toMatchObject(drift);
      }
      const widened = await bed.capture("t");
      await using opened = await openLog(bed, widened);
      await bed.admin.query("INSERT INTO t VALUES (2, 2, 2)");
      const batch = await cutOnce(opened.log);
      expect(batch?.changes.map(({ layout, row }) => [layout, row])).toEqual([
        [1, ["3", "3"]],
        [2, ["2", "2", "2"]],
      ]);
      expect(await checks(bed, widened)).toEqual([]);
      const [triggers] = await bed.admin.query(
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
      );
      const [[name = ""] = []] = triggers as unknown as string[][];
      await bed.admin.query(
        `DROP TRIGGER ${name}; UPDATE t SET v = 9; INSERT INTO t VALUES (8, 8, 8); DELETE FROM t WHERE id = 8`,
      );
      const broken = { code: "TM-CAPTURE-BROKEN" };
      await expect(later(() => cutOnce(opened.log))).rejects.toMatchObject(broken);
      expect(await checks(bed, widened)).toEqual(["trigger-broken"]);
      await expect(opened.log.capture(widened)).rejects.toMatchObject(broken);
    },
  );

  it.skipIf(!available(kind))("sees a FLOAT change behind the digits that it prints", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query(
      "CREATE TABLE f (id INT, f FLOAT, PRIMARY KEY (id, f)); CREATE TABLE g (id INT PRIMARY KEY, f FLOAT UNIQUE)",
    );
    await using open = await openLog(bed, await bed.capture("f", "g"));
    const [from, to] = ["3.4028220466166163e38", "3.4028226550889045e38"];
    for (const table of ["f", "g"]) {
      await bed.admin.query(
        `INSERT INTO ${table} VALUES (1, ${from}); UPDATE ${table} SET f = ${to}`,
      );
    }
    const cut = await cutOnce(open.log);
    expect(linesOf(open, cut?.changes ?? [])).toEqual([
      'f insert ["1","3.402822e+38"]',
      'f update ["1","3.402822e+38"] ["1","3.4028227e+38"]',
      'g insert ["1","3.402822e+38"]',
      'g update ["1","3.4028227e+38"]',
    ]);
  });

  it.skipIf(!available(kind))("notices that its log was emptied", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY, v INT)");
    await using opened = await openLog(bed, await bed.capture("t"));
    await bed.admin.query("INSERT INTO t VALUES (1, 1), (2, 2)");
    expect(await cutOnce(opened.log)).not.toBeNull();
    // The counter passes by the ids of old again: noticed all the same.
    await bed.admin.query("TRUNCATE tidemark_change_log");
    for (let v = 0; v < 9; v++) await bed.admin.query("UPDATE t SET v = ?", [v]);
    await expect(later(() => cutOnce(opened.log))).rejects.toMatchObject({
      code: "TM-SOURCE-REWOUND",
    });
  });

  it.skipIf(!available(kind))(
    "is removed without a trace, and a copy is told from the original",
    async () => {
      await using bed = await openBed(kind);
      await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY, v INT)");
      const tables = await bed.capture("t");
      {
        await using opened = await openLog(bed, tables);
        expect(opened.log.timeline).toMatch(/^[0-9a-f-]{36}$/);
      }
      await bed.admin.query("UPDATE tidemark_source SET identity = 'elsewhere'");
      await expect(openLog(bed, tables)).rejects.toMatchObject({ code: "TM-SOURCE-CLONED" });
      const catalog = await mysql.openCatalog(bed.options);
      expect((await catalog.planUninstall()).length).toBe(9);
      await catalog.uninstall();
      expect(await catalog.planUninstall()).toEqual([]);
      expect(await catalog.listTables()).toEqual([{ schema: null, name: "t" }]);
      await catalog.close();
      await bed.admin.query("INSERT INTO t VALUES (1, 1)");
    },
  );
});

it.skipIf(!available("mariadb"))("refuses a geometry in the key of a table", async () => {
  await using bed = await openBed("mariadb");
  await bed.admin.query(
    `CREATE TABLE places (id INT, at POINT NOT NULL, PRIMARY KEY (id, at));
     CREATE TABLE named (id INT PRIMARY KEY, at POINT NOT NULL)`,
  );
  await expect(bed.capture("places")).rejects.toMatchObject({
    code: "TM-TABLE-UNSUPPORTED",
    message: expect.stringContaining("at, a point"),
  });
  await bed.capture("named");
});

it.skipIf(!available("mariadb"))("takes periods of the application, but not in a key", async () => {
  await using bed = await openBed("mariadb");
  const period = "a VARCHAR(10), s DATE, e DATE, PERIOD FOR `the ``p` (s, e)";
  await bed.admin.query(
    `CREATE TABLE by_period (id INT, ${period}, PRIMARY KEY (id, s));
     CREATE TABLE alone (id INT, ${period}, PRIMARY KEY (id, \`the \`\`p\` WITHOUT OVERLAPS));
     CREATE TABLE beside (id INT AUTO_INCREMENT PRIMARY KEY, ${period}, UNIQUE (a, s))`,
  );
  for (const table of ["by_period", "alone"]) {
    await expect(openLog(bed, await bed.capture(table))).rejects.toMatchObject({
      code: "TM-TABLE-UNSUPPORTED",
      message: expect.stringContaining("of its period the `p"),
    });
  }
  await using opened = await openLog(bed, await bed.capture("beside"));
  const standing = new Map<string, string>();
  await bed.admin.query(
    `INSERT INTO beside VALUES (1, 'a', '2020-01-01', '2021-01-01'), (2, 'b', '2020-01-01', '2021-01-01');
     UPDATE beside FOR PORTION OF \`the \`\`p\` FROM '2020-03-01' TO '2020-04-01' SET a = 'x' WHERE id = 1;
     DELETE FROM beside FOR PORTION OF \`the \`\`p\` FROM '2020-03-10' TO '2020-11-01'`,
  );
  for (const { keyBefore, row } of (await cutOnce(opened.log))?.changes ?? []) {
    if (keyBefore !== null) standing.delete(String(keyBefore[0]));
    if (row !== null) standing.set(String(row[0]), row.join());
  }
  const [rows] = await bed.admin.query("SELECT * FROM beside ORDER BY id");
  expect([...standing.values()].sort()).toEqual(
    (rows as object[]).map((row) => Object.values(row).join()).sort(),
  );
});
