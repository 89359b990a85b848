// Triggers run with the rights of the account that made them: where it loses one, writes of the application fail, and the
// relay, which only reads, goes on. It is told all the same (G8).
import { describe, expect, it } from "vitest";
import { canStart, type Server, startMariadb, startMysql } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

const POLLING = { timeout: PATIENCE_MS, interval: 50 };
const KINDS = { mariadb: startMariadb, mysql: startMysql };
const RIGHTS = "SELECT, CREATE, INSERT, UPDATE, DELETE, TRIGGER";

/** What a user of this name in this database is given beside, what is taken from it, and what is told of that. */
const TAKEN = [
  ["DO 1", "REVOKE TRIGGER ON %d.* FROM %u", /fail.* GRANT .*TRIGGER.* ON/],
  [
    "GRANT TRIGGER ON %d_2.* TO %u",
    "REVOKE TRIGGER ON %d.* FROM %u",
    /fail.* GRANT .*TRIGGER.* ON/,
  ],
  ["GRANT SUPER ON *.* TO %u", "REVOKE TRIGGER ON %d.* FROM %u", /fail.* GRANT .*TRIGGER.* ON/],
  [
    "GRANT TRIGGER ON %d.other TO %u",
    "REVOKE TRIGGER ON %d.* FROM %u",
    /fail.* GRANT .*TRIGGER.* ON/,
  ],
  ["DO 1", "REVOKE INSERT ON %d.* FROM %u", /fail.* GRANT INSERT ON/],
  ["DO 1", "REVOKE SELECT ON %d.* FROM %u", /fail.* GRANT SELECT ON/],
  ["DO 1", "REVOKE ALL PRIVILEGES ON %d.* FROM %u", /fail.* GRANT .*TRIGGER.* ON/],
  ["DO 1", "DROP USER %u", /fails \(error 1449\): make it again/],
] as const;

describe.each(["mariadb", "mysql"] as const)("%s", (kind) => {
  it.skipIf(!canStart(kind))(
    "tells while it works of rights that writes of the application fail for",
    async () => {
      await using server = await KINDS[kind]({
        settings: { "log-bin-trust-function-creators": "ON" },
      });
      await Promise.all(TAKEN.map((taken) => tellsOf(kind, server, taken)));
    },
  );
});

async function tellsOf(
  kind: keyof typeof KINDS,
  server: Server,
  [given, taken, told]: (typeof TAKEN)[number],
): Promise<void> {
  const servers = { source: server.url };
  await using bed = await TestBed.make({ source: kind, target: "sqlite" }, { servers });
  const admin = await bed.sql("source");
  const url = new URL(bed.database("source").url);
  const database = url.pathname.slice(1);
  const user = `w_${database}`.slice(0, 30);
  const named = (statement: string) => statement.replace("%d", database).replace("%u", user);
  await admin.run("CREATE TABLE t (id INT PRIMARY KEY)");
  await admin.run("CREATE TABLE other (id INT PRIMARY KEY)");
  await admin.run(`CREATE USER ${user} IDENTIFIED BY 'tidemark'`);
  await admin.run(`GRANT ${RIGHTS} ON ${database}.* TO ${user}`);
  await admin.run(named(given));
  [url.username, url.password] = [user, "tidemark"];
  const { databases, ...rest } = bed.define([
    { from: "source", to: "target", tables: ["t", "other"] },
  ]);
  const limited = databases.map((each) =>
    each.name === "source" ? { name: each.name, url: url.href } : each,
  );
  const pipeline = await bed.start({ ...rest, databases: limited });
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await admin.run(named(taken));
  await expect(admin.run("INSERT INTO t VALUES (1)")).rejects.toThrow();
  const warned = async () => (await pipeline.status()).sources[0]?.warnings.join(" ");
  await expect.poll(warned, POLLING).toMatch(told);
  expect(bed.logger.text()).toMatch(told);
}
