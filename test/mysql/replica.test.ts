// A replica as source: what it replicates as rows fires no triggers there, and no batch will ever hold it (G8).
import { describe, expect, it } from "vitest";
import { makePlan } from "../../src/pipeline/plan.ts";
import { canStart, startMariadb, startMysql } from "../servers/index.ts";
import { openSql, type SqlClient, withSql } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = { name: "items", columns: { id: "integer" }, key: ["id"] };
const POLLING = { timeout: PATIENCE_MS, interval: 20 };
const KINDS = {
  mariadb: {
    start: startMariadb,
    follow: "CHANGE MASTER TO MASTER_HOST = '127.0.0.1'",
    from: "MASTER",
    more: "",
    begin: "START SLAVE",
  },
  mysql: {
    start: startMysql,
    follow: "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1'",
    from: "SOURCE",
    more: ", GET_SOURCE_PUBLIC_KEY = 1",
    begin: "START REPLICA",
  },
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

  it.skipIf(!canStart(kind))("that may be one is told where the account may not ask", async () => {
    await using server = await KINDS[kind].start();
    const servers = { source: server.url };
    await using bed = await TestBed.make({ source: kind, target: "sqlite" }, { servers });
    const source = await bed.sql("source");
    await createTables(source, kind, [ITEMS]);
    const url = new URL(bed.database("source").url);
    await source.run("CREATE USER plain IDENTIFIED BY 'tidemark'");
    await source.run(`GRANT SELECT, INSERT, TRIGGER ON ${url.pathname.slice(1)}.* TO plain`);
    [url.username, url.password] = ["plain", "tidemark"];
    const { databases, ...definition } = bed.define([
      { from: "source", to: "target", tables: ["items"] },
    ]);
    const limited = databases.map((each) =>
      each.name === "source" ? { name: each.name, url: url.href } : each,
    );
    const noted = async () =>
      JSON.stringify(await makePlan({ ...definition, databases: limited }, bed.logger));
    const told = "This server is read-only, as replicas are";
    expect(await noted()).not.toContain(told);
    await source.run("SET GLOBAL read_only = ON");
    const note = await noted();
    expect(note).toContain(told);
    const [fix = ""] = /GRANT [^"]+(?=\.)/.exec(note) ?? [];
    await source.run(fix);
    expect(await noted()).not.toContain(told);
  });

  it.skipIf(!canStart(kind))(
    "is told by log and status of a relay that runs since before",
    async () => {
      await using server = await KINDS[kind].start();
      await using above = await KINDS[kind].start({ settings: { "server-id": "2" } });
      const servers = { source: server.url };
      await using bed = await TestBed.make({ source: kind, target: "sqlite" }, { servers });
      const { pathname } = new URL(bed.database("source").url);
      const url = new URL(pathname, above.url);
      await withSql({ kind, url: above.url }, (sql) =>
        sql.run(`CREATE DATABASE ${pathname.slice(1)}`),
      );
      const source = await bed.sql("source");
      await using primary = await openSql({ kind, url: url.href });
      for (const sql of [source, primary]) await createTables(sql, kind, [ITEMS]);
      const definition = bed.define([{ from: "source", to: "target", tables: ["items"] }]);
      const pipeline = await bed.start(definition);
      await source.run("INSERT INTO items VALUES (1)");
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const told = "This server replicates from another";
      expect(bed.logger.text()).not.toContain(told);
      // The failover: what is written from now on at the new primary arrives here, and fires no trigger.
      await source.run("SET GLOBAL read_only = ON");
      await follow(kind, source, { above: primary, url });
      await source.run(KINDS[kind].begin);
      await primary.run("INSERT INTO items VALUES (2)");
      await expect.poll(() => source.rows("SELECT id FROM items"), POLLING).toHaveLength(2);
      await expect.poll(() => bed.logger.text(), POLLING).toContain(told);
      const warned = async () => JSON.stringify(await pipeline.status());
      await expect.poll(warned, POLLING).toContain(told);
    },
  );
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
    await follow("mariadb", source, { above, url });
    const definition = bed.define([{ from: "source", to: "target", tables: ["items"] }]);
    const noted = async () => JSON.stringify(await makePlan(definition, bed.logger));
    expect(await noted()).toContain("not those of a table that has triggers there");
    await source.run("SET GLOBAL slave_run_triggers_for_rbr = ENFORCE");
    expect(await noted()).not.toContain("replicates from another");
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run(KINDS.mariadb.begin);
    await above.run("INSERT INTO items VALUES (1)");
    await expect.poll(() => source.rows("SELECT id FROM items"), POLLING).toHaveLength(1);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  },
);

/** Has the server replicate from another, from now on, once it begins. */
async function follow(
  kind: keyof typeof KINDS,
  sql: SqlClient,
  { above, url }: { readonly above: SqlClient; readonly url: URL },
): Promise<void> {
  const { follow, from, more } = KINDS[kind];
  // The newest MySQL knows the first only, and others the second.
  const [at] = await above
    .rows("SHOW BINARY LOG STATUS")
    .catch(() => above.rows("SHOW MASTER STATUS"));
  await sql.run(
    `${follow}, ${from}_PORT = ${url.port}, ${from}_USER = '${url.username}', ${from}_PASSWORD = '${url.password}',
       ${from}_LOG_FILE = '${at?.File}', ${from}_LOG_POS = ${at?.Position}${more}`,
  );
}
