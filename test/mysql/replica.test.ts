// A replica as source: what it replicates as rows fires no triggers there, and no batch will ever hold it (G8).
import { describe, expect, it } from "vitest";
import { makePlan } from "../../src/pipeline/plan.ts";
import { canStart, startMariadb, startMysql } from "../servers/index.ts";
import { openSql, withSql } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = { name: "items", columns: { id: "integer" }, key: ["id"] };
const POLLING = { timeout: PATIENCE_MS, interval: 20 };
const KINDS = {
  mariadb: { start: startMariadb, follow: "CHANGE MASTER TO MASTER_HOST = '127.0.0.1'" },
  mysql: { start: startMysql, follow: "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1'" },
} as const;

describe.each(["mariadb", "mysql"] as const)("a replica of %s as source", (kind) => {
  it.skipIf(!canStart(kind))("is told by plan, and by the log at the start", async () => {
    await using server = await KINDS[kind].start();
    const servers = { source: server.url };
    await using bed = await TestBed.make({ source: kind, target: "sqlite" }, { servers });
    const source = await bed.sql("source");
    await createTables(source, kind, [ITEMS]);
    const definition = bed.define([{ from: "source", to: "target", tables: ["items"] }]);
    const noted = async () => JSON.stringify(await makePlan(definition, bed.logger));
    const told = "This server replicates from another";
    expect(await noted()).not.toContain(told);
    await source.run(KINDS[kind].follow);
    expect(await noted()).toContain(told);
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    expect(bed.logger.text()).toContain(told);
  });
});

it.skipIf(!canStart("mariadb"))(
  "a replica of MariaDB that runs triggers for what it replicates is told of unless it runs all of them",
  async () => {
    await using primary = await startMariadb();
    await using server = await startMariadb({
      settings: { "server-id": "2", "slave-run-triggers-for-rbr": "YES" },
    });
    const servers = { source: server.url };
    await using bed = await TestBed.make({ source: "mariadb", target: "sqlite" }, { servers });
    const { pathname } = new URL(bed.database("source").url);
    await withSql({ kind: "mariadb", url: primary.url }, (sql) =>
      sql.run(`CREATE DATABASE ${pathname.slice(1)}`),
    );
    const url = new URL(pathname, primary.url);
    await using above = await openSql({ kind: "mariadb", url: url.href });
    const source = await bed.sql("source");
    for (const sql of [above, source]) await createTables(sql, "mariadb", [ITEMS]);
    // Of the application: for rows that it was run for, the replica runs no trigger but by ENFORCE.
    await above.run("CREATE TRIGGER own AFTER INSERT ON items FOR EACH ROW SET @own = 1");
    const [log] = await above.rows("SHOW MASTER STATUS");
    await source.run(
      `CHANGE MASTER TO MASTER_HOST = '${url.hostname}', MASTER_PORT = ${url.port}, MASTER_USER = '${url.username}',
         MASTER_PASSWORD = '${url.password}', MASTER_LOG_FILE = '${log?.File}', MASTER_LOG_POS = ${log?.Position}`,
    );
    const definition = bed.define([{ from: "source", to: "target", tables: ["items"] }]);
    const noted = async () => JSON.stringify(await makePlan(definition, bed.logger));
    expect(await noted()).toContain("not those of a table that has triggers there");
    await source.run("SET GLOBAL slave_run_triggers_for_rbr = ENFORCE");
    expect(await noted()).not.toContain("replicates from another");
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run("START SLAVE");
    await above.run("INSERT INTO items VALUES (1)");
    await expect.poll(() => source.rows("SELECT id FROM items"), POLLING).toHaveLength(1);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  },
);
