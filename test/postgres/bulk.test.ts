// Many rows inserted at once pass from PostgreSQL as lines. With whatever stands before, between and behind them,
// into every kind of target, they are what was inserted (G1, G3, G6).
import { expect, test } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { freshDatabase, available as isAvailable } from "../servers/index.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, type TestTable } from "../support/test-tables.ts";
import { captureTables, changesOf, connect, optionsOf, SERVERS } from "./support.ts";

const WIDE: TestTable = {
  name: "wide",
  columns: { id: "integer", parent: "integer", at: "timestamptz", note: "text" },
  key: ["id"],
};
const PAIRS: readonly TestPair[] = [
  { source: "postgres", target: "postgres-newest", queue: "embedded" },
  { source: "postgres-newest", target: "postgres", queue: "nats" },
  { source: "postgres", target: "mariadb", queue: "embedded" },
  { source: "postgres", target: "mysql", queue: "embedded" },
  { source: "postgres", target: "sqlite", queue: "embedded" },
];

/** With all that a text of them may have to escape, NULLs and empty texts. */
const insert = (from: number, to: number, parent = "NULL") =>
  `INSERT INTO wide SELECT n, ${parent},
     CASE n % 3 WHEN 0 THEN NULL ELSE timestamptz '2026-01-01 00:00:00.5Z' + n * interval '1 second' END,
     CASE n % 7 WHEN 0 THEN '' WHEN 1 THEN 'a "quoted", (one)' WHEN 2 THEN E'tab\\tline\\nend\\\\' WHEN 3 THEN NULL ELSE 'row ' || n END
   FROM generate_series(${from}, ${to}) n`;

async function began(pair: TestPair): Promise<{ bed: TestBed; source: SqlClient }> {
  const { queue, ...databases } = pair;
  const bed = await TestBed.make(databases, { queue });
  const source = await bed.sql("source");
  await elsewhere(source);
  await createTables(source, pair.source, [WIDE]);
  return { bed, source };
}

/** What the trigger logs is printed in the time zone of the writer. */
const elsewhere = (source: SqlClient) => source.run("SET TimeZone TO 'Asia/Kolkata'");

/** When all has arrived, both sides hold the same. */
async function settled(bed: TestBed, pipeline: Pipeline, source: SqlClient): Promise<void> {
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await source.run("SET TimeZone TO 'UTC'");
  await bed.expectSame(WIDE);
  await elsewhere(source);
}

for (const kind of SERVERS) {
  test.skipIf(!isAvailable(kind))(`many rows of ${kind} come as lines, others do not`, async () => {
    await using database = await freshDatabase(kind);
    const sql = await connect(database.url);
    const opened = await postgres.openSource(optionsOf(database.url));
    try {
      await sql.query(
        "CREATE TABLE wide (id int PRIMARY KEY, parent int, at timestamptz, note text)",
      );
      await sql.query("SET TimeZone TO 'America/St_Johns'");
      const log = (await opened.openChangeLog()) as ChangeLog;
      await log.capture(await captureTables(database.url, ["wide"]));
      await sql.query(
        `BEGIN; ${insert(1, 5_000)}; UPDATE wide SET note = 'changed'; ${insert(5_001, 10_000)}; COMMIT`,
      );
      const { header, pages } = await log.batches.cut();
      let [asLines, others] = [0, 0];
      for await (const page of pages) {
        if ("bytes" in page) asLines += page.rows;
        else others += page.length;
      }
      expect(asLines + others).toBe(15_000);
      // Of a block in which an insert and an update meet, each change is looked at.
      expect(asLines).toBeGreaterThan(7_000);
      expect(asLines).toBeLessThanOrEqual(10_000);
      const changes = await changesOf({ pages: log.batches.pages(header?.batch ?? 0) });
      const { rows } = await sql.query(
        "SELECT DISTINCT xid::text AS xid FROM tidemark.change_log_0",
      );
      expect(new Set(changes.map(({ transaction }) => transaction))).toEqual(
        new Set(rows.map(({ xid }) => xid)),
      );
      expect(changes.find(({ row }) => row?.[0] === "7")?.row).toEqual([
        ...["7", null, "2026-01-01 00:00:07.5+00", ""],
      ]);
      await log.close();
    } finally {
      await opened.close();
      await sql.end();
    }
  });
}

for (const pair of PAIRS) {
  test.skipIf(!available(pair))(`many rows at once, ${title(pair)}`, async () => {
    const { bed, source } = await began(pair);
    await using _ = bed;
    await source.run(insert(1, 30_000));
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: ["wide"] }]),
    );
    // While the table is copied.
    await source.run(insert(30_001, 60_000));
    await settled(bed, pipeline, source);

    await source.begin();
    await source.run("INSERT INTO wide VALUES (100000, NULL, NULL, 'before')");
    await source.run(insert(100_001, 120_000));
    await source.run("UPDATE wide SET note = 'changed' WHERE id % 100 = 0");
    await source.run("DELETE FROM wide WHERE id BETWEEN 110000 AND 119000");
    await source.run(insert(110_000, 119_000, "7"));
    await source.run("UPDATE wide SET id = id + 1000000 WHERE id % 1000 = 1");
    await source.run(insert(120_001, 130_000));
    await source.commit();
    await settled(bed, pipeline, source);

    // Rows that somebody has written at the target.
    const target = await bed.sql("target");
    await target.run("INSERT INTO wide (id, note) VALUES (205000, 'of somebody'), (209999, NULL)");
    await source.run(insert(200_001, 210_000));
    await settled(bed, pipeline, source);
  });
}

const TO_POSTGRES = PAIRS[0] as TestPair;

test.skipIf(!available(TO_POSTGRES))(
  "many rows at once, under a foreign key of the target",
  async () => {
    const { bed, source } = await began(TO_POSTGRES);
    await using _ = bed;
    await source.run("INSERT INTO wide VALUES (0, NULL, NULL, 'root')");
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: ["wide"] }]),
    );
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(pipeline);
    const target = await bed.sql("target");
    await target.run("ALTER TABLE wide ADD FOREIGN KEY (parent) REFERENCES wide");
    const again = await bed.start(bed.define([{ from: "source", to: "target", tables: ["wide"] }]));
    await source.run(insert(1, 20_000, "n - 1"));
    // The source has no such key: in its transaction children come long before their parents.
    await source.begin();
    await source.run(insert(30_000, 50_000, "n + 30001"));
    await source.run(insert(60_001, 80_001));
    await source.commit();
    await settled(bed, again, source);
  },
);

test.skipIf(!available(TO_POSTGRES))(
  "many rows at once, while unique values change hands around them",
  async () => {
    const { bed, source } = await began(TO_POSTGRES);
    await using _ = bed;
    await source.run("ALTER TABLE wide ADD UNIQUE (parent) DEFERRABLE INITIALLY DEFERRED");
    await source.run("INSERT INTO wide (id, parent) VALUES (1, 1), (2, 2)");
    const define = () => bed.define([{ from: "source", to: "target", tables: ["wide"] }]);
    const first = await bed.start(define());
    await settled(bed, first, source);
    await bed.stop(first);
    await (await bed.sql("target")).run("ALTER TABLE wide ADD UNIQUE (parent)");
    const second = await bed.start(define());
    await source.begin();
    await source.run("UPDATE wide SET parent = 2 WHERE id = 1");
    await source.run(insert(10, 8_000));
    await source.run("UPDATE wide SET parent = 1 WHERE id = 2");
    await source.commit();
    await settled(bed, second, source);
  },
);

test.skipIf(!available(TO_POSTGRES))(
  "unique values of many rows change hands before another table is copied",
  async () => {
    const { bed, source } = await began(TO_POSTGRES);
    await using _ = bed;
    await source.run("ALTER TABLE wide ADD UNIQUE (parent) DEFERRABLE INITIALLY DEFERRED");
    await source.run(insert(1, 12_000));
    await source.run("UPDATE wide SET parent = id");
    const define = (...tables: string[]) => bed.define([{ from: "source", to: "target", tables }]);
    const first = await bed.start(define("wide"));
    await settled(bed, first, source);
    await bed.stop(first);
    await (await bed.sql("target")).run("ALTER TABLE wide ADD UNIQUE (parent)");
    await source.run("UPDATE wide SET parent = 12001 - id");
    await source.run("CREATE TABLE later (id int PRIMARY KEY)");
    const second = await bed.start(define("wide", "later"));
    await settled(bed, second, source);
  },
);

for (const rule of [
  { where: "id % 2 = 0" },
  { onError: "park" as const },
  { except: ["parent"] },
]) {
  test.skipIf(!available(TO_POSTGRES))(`many rows at once, ${JSON.stringify(rule)}`, async () => {
    const { bed, source } = await began(TO_POSTGRES);
    await using _ = bed;
    const tables = [{ table: "wide", ...rule }];
    const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables }]));
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run(insert(1, 20_000));
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const target = await bed.sql("target");
    const sum =
      "SELECT count(*) AS rows, sum(id) AS ids, md5(string_agg(note, '' ORDER BY id)) AS notes FROM wide";
    const where = rule.where === undefined ? "" : ` WHERE ${rule.where}`;
    expect(await target.rows(sum)).toEqual(await source.rows(`${sum}${where}`));
  });
}
