// A server may be set so that it refuses what we need: the error names the setting (G8).
import { describe, expect, it } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import type { TargetTable } from "../../src/core/target.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { canStart, freshDatabase, startMariadb, startMysql } from "../servers/index.ts";
import { openSql } from "../support/sql-client.ts";

const GTIDS = { "gtid-mode": "ON", "enforce-gtid-consistency": "ON" };
const START = { mariadb: () => startMariadb(), mysql: () => startMysql({ settings: GTIDS }) };

function table(name: string, key: string[]): TargetTable {
  const columns = ["a", "b"].map((column) => ({
    ...{ name: column, type: { kind: "integer", bits: 32 } as const, nativeType: "integer" },
    ...{ sourceKind: "postgres", nullable: !key.includes(column) },
  }));
  return { name: { schema: null, name }, key, columns };
}

const KEYED = table("keyed", ["a"]);
const BAG = table("bag", []);

describe.each(["mariadb", "mysql"] as const)("a setting of %s that", (kind) => {
  it.skipIf(!canStart(kind))("forbids what we need is named", async () => {
    await using server = await START[kind]();
    await using database = await freshDatabase(kind, { server: server.url });
    await using admin = await openSql(database);
    await admin.run("CREATE USER limited IDENTIFIED BY 'of-limited'");
    await admin.run("GRANT SELECT ON *.* TO limited");
    const ofLimited = new URL(database.url);
    ofLimited.username = "limited";
    ofLimited.password = "of-limited";
    const open = (url = database.url) =>
      mysql.openTarget({ name: "target", url, logger: silentLogger });

    await admin.run("SET GLOBAL init_connect = 'SELECT nothing'");
    await expect(open(ofLimited.href)).rejects.toMatchObject({
      code: "TM-CONNECT-FAILED",
      message: expect.stringContaining("init_connect"),
    });
    await admin.run("SET GLOBAL init_connect = ''");

    const target = await open();
    const prepared = async (...tables: TargetTable[]) => {
      const plan = await target.plan(tables);
      await target.prepare(plan);
      return plan.tables;
    };
    if (kind === "mariadb") {
      // Which right is missing stands in the server's message only.
      await admin.run("SET GLOBAL lc_messages = 'de_DE'");
      const limited = await open(ofLimited.href);
      await expect(limited.prepare(await limited.plan([KEYED]))).rejects.toMatchObject({
        code: "TM-GRANT-MISSING",
        fix: expect.stringMatching(/^GRANT CREATE ON /),
      });
      await limited.close();

      await admin.run("SET GLOBAL enforce_storage_engine = 'Aria'");
      const session = await open();
      const plan = await session.plan([KEYED]);
      await expect(session.prepare(plan)).rejects.toMatchObject({
        code: "TM-SERVER-UNSUPPORTED",
        message: expect.stringContaining("enforce_storage_engine"),
        fix: expect.stringContaining("enforce_storage_engine = NULL;"),
      });
      await session.close();
    } else {
      await admin.run("SET GLOBAL require_secure_transport = ON");
      await expect(open()).rejects.toMatchObject({
        code: "TM-CONNECT-FAILED",
        fix: expect.stringContaining("ssl-mode=REQUIRED"),
      });
      await admin.run("SET GLOBAL require_secure_transport = OFF");

      await admin.run("SET GLOBAL binlog_format = 'STATEMENT'");
      await expect(target.openApplier("a->b", await prepared(BAG))).rejects.toMatchObject({
        code: "TM-SERVER-UNSUPPORTED",
        fix: expect.stringContaining("binlog_format = 'ROW';"),
      });
      const diagnosed = await open();
      const findings = await diagnosed.diagnose([BAG]);
      await diagnosed.close();
      expect(findings.map(({ check }) => check)).toContain("staging");
      // Nothing is staged for a table whose only key is its own.
      const applier = await target.openApplier("a->b", await prepared(KEYED));
      await applier?.close();
      await admin.run("SET GLOBAL binlog_format = 'ROW'");
      await (await target.openApplier("a->b", await prepared(BAG)))?.close();
    }
    await target.close();
  });
});
