// What goes over TLS, and what is refused, with a PostgreSQL that has it on: of a certificate that is not the server's nothing
// is sent, and nothing falls back to plain text (G8).
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { Connection } from "../../src/databases/postgres/connection.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import {
  Authority,
  type Certificate,
  canStart,
  type Server,
  startPgbouncer,
  startPostgres,
  whyNoCertificates,
  whyNoPgbouncer,
} from "../servers/index.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";
import { ALL, ELSEWHERE, outcomeOf } from "../support/tls.ts";
import { optionsOf } from "./support.ts";

const RULES = [
  "host all postgres all scram-sha-256",
  "hostssl all certified all scram-sha-256 clientcert=verify-full",
  "hostssl all all all scram-sha-256",
];

/** A server that shows this certificate, and takes others of the same authority for those of roles. */
function startServed(authority: Authority, served: Certificate): Promise<Server> {
  const rules = join(authority.folder, "rules");
  writeFileSync(rules, `${RULES.join("\n")}\n`);
  chmodSync(rules, 0o644);
  return startPostgres({
    settings: {
      ...{ ssl: "on", ssl_cert_file: served.cert, ssl_key_file: served.key },
      ...{ ssl_ca_file: authority.file, hba_file: rules },
    },
  });
}

/** "plain", "encrypted", or why there is no session, with what is to be done. */
function outcome(url: string): Promise<string> {
  return outcomeOf(async () => {
    const session = await Connection.open(optionsOf(url), "test");
    const [[isEncrypted] = []] = await session.rows(
      "SELECT ssl::text FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()",
    );
    await session.close();
    return isEncrypted === "true" ? "encrypted" : "plain";
  });
}

test.skipIf(!canStart("postgres"))(
  "a session is encrypted, and of a server that is known, or there is none",
  async (context) => {
    const why = whyNoCertificates();
    if (why && process.env.CI === undefined) return context.skip(why);
    using authority = new Authority("postgres");
    const served = authority.issue("served", { names: ALL });
    const right = authority.issue("right", { names: ALL });
    const own = authority.issue("own", { names: "DNS:own", commonName: "certified" });
    const stranger = authority.issue("stranger", { names: "DNS:own", selfSigned: true });
    await using server = await startServed(authority, served);
    const admin = new pg.Client({ connectionString: server.url });
    await admin.connect();
    for (const role of ["app", "certified"]) {
      await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'canary'`);
    }
    const at = (host: string, words = "", role = "app") =>
      `postgres://${role}:canary@${host}:${server.port}/postgres${words}`;
    const known = `?sslrootcert=${authority.file}`;
    const files = (pair: { cert: string; key: string }) =>
      `&sslcert=${pair.cert}&sslkey=${pair.key}`;

    // What doctor says of it.
    const found = async (url: string) => {
      const target = await postgres.openTarget(optionsOf(url));
      const findings = await target.diagnose([]);
      await target.close();
      return findings.flatMap(({ check, severity }) => (check === "encryption" ? severity : []));
    };
    const plain = new URL(server.url);
    plain.hostname = ELSEWHERE;
    expect(await found(server.url)).toEqual([]);
    expect(await found(`${plain.href}?sslmode=disable`)).toEqual(["warning"]);
    expect(await found(at(ELSEWHERE, "?sslmode=no-verify"))).toEqual(["warning"]);
    expect(await found(at(ELSEWHERE, known))).toEqual(["ok"]);

    // What the URL says, and what it does not.
    const encrypted = /^encrypted$/;
    const unknown = /^TM-CONNECT-FAILED: .*self-signed.*&sslrootcert=FILE.*sslmode=no-verify/;
    const unencrypted = /^TM-AUTH-FAILED: .*no encryption.*sslmode=verify-full/;
    for (const [url, expected] of [
      [at("127.0.0.1"), unencrypted],
      [at(ELSEWHERE, "?sslmode=disable"), unencrypted],
      [server.url, /^plain$/],
      [at("127.0.0.1", known), encrypted],
      [at(ELSEWHERE), unknown],
      [at(ELSEWHERE, known), encrypted],
      [at(ELSEWHERE, "?sslmode=no-verify"), encrypted],
      ...["prefer", "allow", "require", "verify-ca", "verify-full"].flatMap(
        (mode) =>
          [
            [at("localhost", `?sslmode=${mode}`), unknown],
            [at("localhost", `${known}&sslmode=${mode}`), encrypted],
          ] as const,
      ),
      [at("localhost", "?ssl=true"), unknown],
      [at("localhost", "?ssl=false"), /^TM-URL-INVALID: .*sslmode=disable/],
      [at("localhost", "?host=localhost&host=db.example"), /^TM-URL-INVALID: .*host twice/],
      [at("localhost", `${known}.not`), /^TM-URL-INVALID: .*sslrootcert.*authority\.pem\.not/],
      [at("localhost", `${known}&sslcert=${own.cert}`), /^TM-URL-INVALID: .*not both/],
      [at("localhost", `${known}&sslnegotiation=direct`), /^TM-CONNECT-FAILED: .*17 or later/],
      // A certificate of our own.
      [at("localhost", known, "certified"), /^TM-AUTH-FAILED: .*&sslcert=FILE&sslkey=FILE/],
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
    const name = /^TM-CONNECT-FAILED: .*altnames.*Name the server in the URL as its certificate/;
    const shown = async (names: string, how: { expired?: boolean; selfSigned?: boolean } = {}) => {
      authority.replace(served, authority.issue("shown", { names, ...how }));
      await admin.query("SELECT pg_reload_conf()");
    };
    const becomes = (url: string, expected: RegExp) =>
      expect.poll(() => outcome(url), { timeout: PATIENCE_MS, interval: 20 }).toMatch(expected);
    await shown("DNS:localhost");
    await becomes(at("127.0.0.1", known), name);
    expect(await outcome(at("localhost", known))).toBe("encrypted");
    await shown("DNS:db.example");
    await becomes(at("localhost", known), name);
    await shown("IP:127.0.0.1");
    await becomes(at("127.0.0.1", known), encrypted);
    expect(await outcome(at("localhost", known))).toMatch(name);
    await shown(ALL, { expired: true });
    await becomes(at("localhost", known), /^TM-CONNECT-FAILED: .*expired.*valid today/);
    await shown(ALL, { selfSigned: true });
    await becomes(at("localhost", known), unknown);
    await admin.end();
  },
);

test.skipIf(!canStart("postgres"))(
  "a sync goes on over TLS when its sessions are lost, and through a pooler that has it on",
  async (context) => {
    const why = whyNoCertificates() ?? whyNoPgbouncer();
    if (why && process.env.CI === undefined) return context.skip(why);
    using authority = new Authority("postgres");
    const served = authority.issue("served", { names: ALL });
    const own = authority.issue("own", { names: "DNS:own", commonName: "certified" });
    await using server = await startServed(authority, served);
    const servers = { source: server.url, target: server.url };
    await using bed = await TestBed.make({ source: "postgres", target: "postgres" }, { servers });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run("CREATE ROLE certified LOGIN SUPERUSER PASSWORD 'canary'");
    await createTables(source, "postgres", [CUSTOMERS]);
    await createTables(target, "postgres", [CUSTOMERS]);
    await using pooler = await startPgbouncer({
      url: bed.database("target").url,
      settings: {
        ...{ pool_mode: "session", default_pool_size: 10, client_tls_sslmode: "allow" },
        ...{ client_tls_cert_file: served.cert, client_tls_key_file: served.key },
      },
    });
    const known = `sslrootcert=${authority.file}`;
    const urls: Readonly<Record<string, string>> = {
      source: `postgres://certified:canary@${ELSEWHERE}:${server.port}${new URL(bed.database("source").url).pathname}?${known}&sslcert=${own.cert}&sslkey=${own.key}`,
      target: `${pooler.url}?sslmode=verify-full&${known}`,
    };
    const base = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
    const definition: PipelineDefinition = {
      ...base,
      databases: base.databases.map((each) => ({ name: each.name, url: urls[each.name] ?? "" })),
    };
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const [{ plain } = {}] = await source.rows(
      "SELECT count(*) FILTER (WHERE NOT ssl) || ' of ' || (count(*) > 0) AS plain FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'certified'",
    );
    expect(plain).toBe("0 of true");
    await source.rows(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'certified'",
    );
    await pooler.kill();
    await pooler.start();
    await insertRow(source, CUSTOMERS, { id: 7, name: "again", credit: 0 });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS);
    await bed.stop(pipeline);
    expect(bed.logger.text()).not.toMatch(/canary|PRIVATE/);
  },
);
