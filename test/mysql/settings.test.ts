// A server may give all its sessions settings that suit an application and would break ours, or keep rows
// from them: none of them reaches us (G1).
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { mysql } from "../../src/databases/mysql/index.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { canStart, startMariadb, startMysql } from "../servers/index.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";
import { asTarget, only, openBed } from "./bed.ts";

const COMMON = [
  "TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
  ...["autocommit = 0", "completion_type = 'CHAIN'"],
  ...["sql_select_limit = 5", "max_join_size = 10", "sql_big_selects = 0"],
  ...["sql_safe_updates = 1", "foreign_key_checks = 0", "unique_checks = 0"],
  ...["sql_quote_show_create = 0", "group_concat_max_len = 4", "innodb_lock_wait_timeout = 1"],
  ...["innodb_default_row_format = 'compact'", "default_storage_engine = 'MyISAM'"],
  ...["time_zone = '+05:30'", "character_set_server = 'latin1'", "wait_timeout = 1"],
  ...["character_set_client = 'latin1'", "character_set_results = 'latin1'"],
  "collation_connection = 'latin1_swedish_ci'",
  "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,PIPES_AS_CONCAT'",
];
/** Then the server's own character set holds, whatever one a connection asks for. */
const AT_START = { "character-set-client-handshake": "OFF" };
const KINDS = {
  mariadb: {
    start: startMariadb,
    settings: [
      ...["max_statement_time = 0.01", "sql_if_exists = 1", "innodb_force_primary_key = 1"],
      ...["enforce_storage_engine = 'InnoDB'", "system_versioning_asof = '2001-01-01'"],
    ],
  },
  mysql: {
    start: startMysql,
    settings: [
      ...["max_execution_time = 1", "sql_require_primary_key = 1"],
      "default_tmp_storage_engine = 'ARCHIVE'",
    ],
  },
} as const;

const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", "order by": "varchar", at: "timestamptz", doc: "json" },
  key: ["id"],
};
const PARTS: TestTable = {
  name: "parts",
  columns: { id: "integer", item: "integer" },
  key: ["id"],
};
const BAG: TestTable = { name: "bag", columns: { n: "integer", v: "varchar" }, key: [] };
const ALL = [ITEMS, PARTS, BAG];

describe.each(["mariadb", "mysql"] as const)("settings of %s", (kind) => {
  it.skipIf(!canStart(kind))("that are meant for the application do not reach us", async () => {
    await using server = await KINDS[kind].start({ settings: AT_START });
    const servers = { source: server.url, target: server.url };
    await using bed = await TestBed.make({ source: kind, target: kind }, { servers });
    // As they are before, so that they write what they say.
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    for (const client of [source, target]) await client.run("SET NAMES utf8mb4");
    await createTables(source, kind, ALL);
    if (kind === "mariadb") await source.run("ALTER TABLE parts ADD SYSTEM VERSIONING");
    await write(source, 1, 300);
    for (const setting of [...COMMON, ...KINDS[kind].settings]) {
      await source.run(`SET GLOBAL ${setting}`);
    }
    try {
      const tables = ALL.map(({ name }) => name);
      const definition = bed.define([{ from: "source", to: "target", tables }]);
      await expect(bed.start(definition)).rejects.toMatchObject({
        code: "TM-TABLE-NO-KEY",
        message: expect.stringContaining("Table bag."),
      });
      const { mappings } = await makePlan(definition, bed.logger);
      const doc = mappings.find(({ column }) => column === "doc");
      expect(doc?.sourceType).toBe("json");
      // What the message asks for.
      await target.run(
        "CREATE TABLE bag (own BIGINT AUTO_INCREMENT PRIMARY KEY, n INT, v VARCHAR(200)) CHARACTER SET utf8mb4",
      );
      await target.run("ALTER TABLE parts ADD FOREIGN KEY (item) REFERENCES items (id)");
      const pipeline = await bed.start(definition);
      const same = async () => {
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        for (const table of ALL) await bed.expectSame(table);
      };
      await same();
      await write(source, 301, 301);
      await write(source, 302, 500);
      await source.run("UPDATE items SET `order by` = 'new' WHERE id BETWEEN 100 AND 400");
      await source.run("UPDATE bag SET v = 'new' WHERE n = 2");
      await same();
      await source.run("DELETE FROM parts WHERE id > 200");
      await source.run("DELETE FROM items WHERE id > 200");
      await source.run("DELETE FROM bag WHERE n = 3 LIMIT 9");
      await same();
      // Only the target's foreign key forbids it.
      await source.run("UPDATE parts SET item = 999 WHERE id = 1");
      await expect(pipeline.finished).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
    } finally {
      await source.run("SET GLOBAL TRANSACTION READ WRITE");
    }
  });
});

/** Of a transaction that waits so long for its client the server ends the session. */
const IDLE = ["idle_transaction_timeout", "idle_write_transaction_timeout"];

it.skipIf(!canStart("mariadb")).each(IDLE)(
  "%s of MariaDB leaves our transactions open",
  async (name) => {
    await using server = await startMariadb();
    await using bed = await openBed("mariadb", server.url);
    await bed.admin.query(`CREATE TABLE t (id INT PRIMARY KEY); SET GLOBAL ${name} = 1`);
    const target = await mysql.openTarget(bed.options);
    const { tables } = await target.plan((await bed.capture("t")).map((each) => asTarget(each)));
    await target.prepare(await target.plan([]));
    const session = await target.openApplier("a->b", tables);
    const transaction = await session?.begin(await session.load());
    await transaction?.put(only(tables), [["1"]]);
    // The application's, begun behind ours.
    const other = await bed.connect();
    const ended = once(other, "error");
    await other.query("START TRANSACTION; INSERT INTO t VALUES (2)");
    await ended;
    const progress = { timeline: "t", position: { batch: 1, chunk: 0 }, hash: "h", tables: [] };
    await transaction?.commit(progress);
    expect((await bed.admin.query("SELECT * FROM t"))[0]).toEqual([[1]]);
    await session?.close();
    await target.close();
  },
);

async function write(sql: SqlClient, first: number, last: number): Promise<void> {
  const at = "2024-01-31 23:59:59.5";
  for (let id = first; id <= last; id++) {
    await insertRow(sql, ITEMS, { id, "order by": `'ä' \\ "${id}"`, at, doc: "[1]" });
    await insertRow(sql, PARTS, { id, item: id });
    await insertRow(sql, BAG, { n: id % 7, v: `v${id % 5}` });
  }
}
