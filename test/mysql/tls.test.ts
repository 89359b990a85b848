// What goes over TLS, and what is refused, with a MariaDB and a MySQL that have it on: of a certificate that is not the server's
// nothing is sent, and nothing falls back to plain text (G8).
import mysql from "mysql2/promise";
import { describe, expect, it } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { silentLogger } from "../../src/core/log.ts";
import { Session } from "../../src/databases/mysql/connection.ts";
import { mysql as adapter } from "../../src/databases/mysql/index.ts";
import {
  Authority,
  canStart,
  startMariadb,
  startMysql,
  whyNoCertificates,
} from "../servers/index.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";
import { ALL, ELSEWHERE, outcomeOf } from "../support/tls.ts";

const KINDS = {
  mariadb: { start: startMariadb, reload: "FLUSH SSL" },
  mysql: { start: startMysql, reload: "ALTER INSTANCE RELOAD TLS" },
} as const;

/** "plain", "encrypted", or why there is no session, with what is to be done. */
function outcome(url: string): Promise<string> {
  return outcomeOf(async () => {
    const options = { name: "shop", url, logger: silentLogger };
    const session = await Session.open(options, { isolation: "READ COMMITTED" });
    const [[, cipher = ""] = []] = await session.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'");
    await session.close();
    return cipher === "" ? "plain" : "encrypted";
  });
}

describe.each(["mariadb", "mysql"] as const)("TLS of %s", (kind) => {
  it.skipIf(!canStart(kind))(
    "a session is encrypted, and of a server that is known, or there is none; lost, it is made again",
    async (context) => {
      const why = whyNoCertificates();
      if (why && process.env.CI === undefined) return context.skip(why);
      using authority = new Authority("mysql");
      const served = authority.issue("served", { names: ALL });
      const right = authority.issue("right", { names: ALL });
      const own = authority.issue("own", { names: "DNS:own" });
      const stranger = authority.issue("stranger", { names: "DNS:own", selfSigned: true });
      await using server = await KINDS[kind].start({
        settings: { "ssl-cert": served.cert, "ssl-key": served.key, "ssl-ca": authority.file },
      });
      const servers = { source: server.url, target: server.url };
      await using bed = await TestBed.make({ source: kind, target: kind }, { servers });
      const [source, target] = [await bed.sql("source"), await bed.sql("target")];
      await createTables(source, kind, [CUSTOMERS]);
      await createTables(target, kind, [CUSTOMERS]);
      const admin = await mysql.createConnection({ uri: server.url });
      for (const [account, demand] of [
        ["app", ""],
        ["certified", "REQUIRE X509"],
      ]) {
        await admin.query(`CREATE USER ${account} IDENTIFIED BY 'canary' ${demand}`);
        await admin.query(`GRANT ALL PRIVILEGES ON *.* TO ${account}`);
      }
      const database = (end: string) => new URL(bed.database(end).url).pathname;
      const at = (host: string, words = "", user = "app") =>
        `mysql://${user}:canary@${host}:${server.port}${database("source")}${words}`;
      const known = `?ssl-ca=${authority.file}`;
      const files = (pair: { cert: string; key: string }) =>
        `&ssl-cert=${pair.cert}&ssl-key=${pair.key}`;
      expect(await outcome(at("127.0.0.1"))).toBe("plain");
      // What doctor says of it.
      const found = async (url: string) => {
        const options = { name: "shop", url, logger: silentLogger };
        const target = await adapter.openTarget(options);
        const findings = await target.diagnose([]);
        await target.close();
        return findings.flatMap(({ check, severity }) => (check === "encryption" ? severity : []));
      };
      expect(await found(at("127.0.0.1"))).toEqual([]);
      expect(await found(at(ELSEWHERE, "?ssl-mode=DISABLED"))).toEqual(["warning"]);
      expect(await found(at(ELSEWHERE, "?ssl-mode=REQUIRED"))).toEqual(["warning"]);
      expect(await found(at(ELSEWHERE, `${known}&ssl-mode=VERIFY_CA`))).toEqual(["ok"]);
      expect(await found(at(ELSEWHERE, known))).toEqual(["ok"]);
      await admin.query("SET GLOBAL require_secure_transport = ON");

      // What the URL says, and what it does not.
      const encrypted = /^encrypted$/;
      const unknown = /^TM-CONNECT-FAILED: .*self-signed.*\?ssl-ca=FILE.*ssl-mode=REQUIRED/;
      const demanded = /^TM-(AUTH|CONNECT)-FAILED: .*require_secure_transport.*ssl-mode=/;
      for (const [url, expected] of [
        [at("127.0.0.1"), demanded],
        [at(ELSEWHERE, "?ssl-mode=DISABLED"), demanded],
        [at(ELSEWHERE), unknown],
        [at(ELSEWHERE, known), encrypted],
        [at(ELSEWHERE, "?ssl-mode=REQUIRED"), encrypted],
        [at("localhost", "?ssl-mode=VERIFY_CA"), unknown],
        [at("localhost", "?ssl-mode=VERIFY_IDENTITY"), unknown],
        [at("localhost", `${known}&ssl-mode=VERIFY_CA`), encrypted],
        [at("localhost", `${known}&ssl-mode=VERIFY_IDENTITY`), encrypted],
        [at("localhost", "?ssl-mode=PREFERRED"), /^TM-URL-INVALID: .*ssl-mode/],
        [at("localhost", `${known}.not`), /^TM-URL-INVALID: .*ssl-ca.*authority\.pem\.not/],
        [at("localhost", `${known}&ssl-cert=${own.cert}`), /^TM-URL-INVALID: .*not both/],
        // A certificate of our own.
        [at("localhost", known, "certified"), /^TM-AUTH-FAILED: .*&ssl-cert=FILE&ssl-key=FILE/],
        [at("localhost", `${known}${files(own)}`, "certified"), encrypted],
        [at("localhost", `${known}${files(stranger)}`), /^TM-CONNECT-FAILED: .*not take our cert/],
        [
          at("localhost", `${known}${files({ ...own, key: right.key })}`),
          /^TM-CONNECT-FAILED: .*the key must be that of the certificate/,
        ],
      ] as const) {
        expect.soft(await outcome(url), url).toMatch(expected);
      }

      // What the server shows.
      const name = /^TM-CONNECT-FAILED: .*altnames.*Name the server in the URL.*VERIFY_CA/;
      const shown = async (
        names: string,
        how: { expired?: boolean; selfSigned?: boolean } = {},
      ) => {
        authority.replace(served, authority.issue("shown", { names, ...how }));
        await admin.query(KINDS[kind].reload);
      };
      const becomes = async (url: string, expected: RegExp) =>
        expect.soft(await outcome(url), url).toMatch(expected);
      await shown("DNS:localhost");
      await becomes(at("127.0.0.1", known), name);
      await becomes(at(ELSEWHERE, known), name);
      await becomes(at("localhost", known), encrypted);
      await shown(`IP:127.0.0.1,IP:${ELSEWHERE}`);
      await becomes(at("127.0.0.1", known), encrypted);
      await becomes(at(ELSEWHERE, known), encrypted);
      await becomes(at("localhost", known), name);
      await becomes(at("localhost", `${known}&ssl-mode=VERIFY_CA`), encrypted);
      await shown(ALL, { expired: true });
      await becomes(at("localhost", known), /^TM-CONNECT-FAILED: .*expired.*valid today/);
      await shown(ALL, { selfSigned: true });
      await becomes(at("localhost", known), unknown);
      await shown(ALL);

      const base = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const definition: PipelineDefinition = {
        ...base,
        databases: base.databases.map(({ name }) => ({
          name,
          url: `mysql://certified:canary@${ELSEWHERE}:${server.port}${database(name)}${known}${files(own)}`,
        })),
      };
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const [sessions] = await admin.query(
        "SELECT id FROM information_schema.processlist WHERE user = 'certified'",
      );
      const ids = (sessions as readonly { readonly [name: string]: number }[]).map(
        (row) => Object.values(row)[0],
      );
      expect(ids).not.toEqual([]);
      for (const id of ids) await admin.query(`KILL ${id}`).catch(() => {});
      await insertRow(source, CUSTOMERS, { id: 7, name: "again", credit: 0 });
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
      await bed.stop(pipeline);
      expect(bed.logger.text()).not.toMatch(/canary|PRIVATE/);
      await admin.query("SET GLOBAL require_secure_transport = OFF");
      await admin.end();
    },
  );
});
