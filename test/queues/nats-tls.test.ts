// What goes over TLS, and what is refused, with NATS servers that have it on: of a certificate that is not the server's nothing
// is sent, and tls:// never falls back to plain text (G8).
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import { nats } from "../../src/queues/nats/index.ts";
import {
  Authority,
  type Certificate,
  canStart,
  startNats,
  whyNoCertificates,
} from "../servers/index.ts";
import { CollectingLogger, PATIENCE_MS } from "../support/test-bed.ts";
import { ALL, ELSEWHERE, outcomeOf } from "../support/tls.ts";

/** "open", or why it is not, with what is to be done. */
function outcome(url: string): Promise<string> {
  return outcomeOf(async () => {
    const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 1 << 20 });
    await queue.close();
    return "open";
  });
}

test.skipIf(!canStart("nats"))(
  "a connection is encrypted, and to a server that is known, or there is none",
  async (context) => {
    const why = whyNoCertificates();
    if (why && process.env.CI === undefined) return context.skip(why);
    using authority = new Authority("nats");
    const right = authority.issue("right", { names: ALL });
    const own = authority.issue("own", { names: "DNS:own" });
    const stranger = authority.issue("stranger", { names: "DNS:own", selfSigned: true });
    const start = (served: Certificate | null, more = "", around = "") => {
      // The one without a login is whoever looks whether the server is up.
      const users =
        "authorization { users: [ { user: app, password: canary }, { user: who, password: asks } ] }\nno_auth_user: who";
      const tls =
        served === null
          ? ""
          : `tls { cert_file: "${served.cert}", key_file: "${served.key}", ca_file: "${authority.file}" ${more} }`;
      return startNats({ config: `${users}\n${tls}\n${around}\n` });
    };
    await using plain = await start(null);
    await using server = await start(right);
    await using both = await start(right, "", "allow_non_tls: true");
    await using demanding = await start(right, ", verify: true");
    await using byName = await start(authority.issue("name", { names: "DNS:localhost" }));
    await using byAddress = await start(
      authority.issue("address", { names: `IP:127.0.0.1,IP:${ELSEWHERE}` }),
    );
    await using expired = await start(authority.issue("old", { names: ALL, expired: true }));
    await using alone = await start(authority.issue("alone", { names: ALL, selfSigned: true }));
    const at = (to: { port: number }, host: string, words = "", scheme = "tls") =>
      `${scheme}://app:canary@${host}:${to.port}/${words}`;
    const known = `?ca=${authority.file}`;
    const files = (pair: Certificate) => `&cert=${pair.cert}&key=${pair.key}`;

    const open = /^open$/;
    const unknown = /^TM-CONNECT-FAILED: .*by TLS: .*\?ca=FILE/;
    const name = /^TM-CONNECT-FAILED: .*altnames.*Name the server in the URL/;
    const demanded = /^TM-CONNECT-FAILED: .*&cert=FILE&key=FILE/;
    const cases = [
      [at(plain, ELSEWHERE, "", "nats"), open],
      [at(plain, ELSEWHERE), /^TM-CONNECT-FAILED: .*does not support 'tls'.*nats:\/\//],
      [at(plain, ELSEWHERE, known, "nats"), /^TM-CONNECT-FAILED: .*does not support 'tls'/],
      [at(plain, ELSEWHERE, `?key=${own.key}`, "nats"), /^TM-URL-INVALID: .*not both/],
      [at(server, ELSEWHERE), unknown],
      [at(server, ELSEWHERE, "", "nats"), unknown],
      [at(server, ELSEWHERE, known), open],
      [at(server, ELSEWHERE, known, "nats"), open],
      [at(server, "localhost", `${known}.not`), /^TM-URL-INVALID: .*authority\.pem\.not/],
      [at(both, "localhost"), unknown],
      [at(both, "localhost", "", "nats"), unknown],
      [at(both, "localhost", known), open],
      [at(byName, "localhost", known), open],
      [at(byName, ELSEWHERE, known), name],
      [at(byAddress, ELSEWHERE, known), open],
      [at(byAddress, "localhost", known), name],
      [at(expired, "localhost", known), /^TM-CONNECT-FAILED: .*expired.*valid today/],
      [at(alone, "localhost", known), unknown],
      // A certificate of our own.
      [at(demanding, "localhost", `${known}${files(own)}`), open],
      [at(demanding, "localhost", known), demanded],
      [at(demanding, "localhost", `${known}${files(stranger)}`), demanded],
      [at(demanding, "localhost", `${known}&cert=${own.cert}`), /^TM-URL-INVALID: .*not both/],
      [
        at(demanding, "localhost", `${known}${files({ ...own, key: right.key })}`),
        /^TM-CONNECT-FAILED: .*the key must be that of the certificate/,
      ],
    ] as const;
    // At once: what a server does not answer takes its time to be given up.
    const outcomes = await Promise.all(cases.map(([url]) => outcome(url)));
    for (const [number, [url, expected]] of cases.entries()) {
      expect.soft(outcomes[number], url).toMatch(expected);
    }

    const told = async (url: string) => {
      const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 1 << 20 });
      try {
        const findings = queue.diagnose?.() ?? [];
        return findings.map(({ severity, message }) => `${severity}: ${message}`);
      } finally {
        await queue.close();
      }
    };
    const clear = ["warning: The connection goes to another machine in plain text."];
    const checked = ["ok: The connection is encrypted, and the server's certificate checked."];
    expect(await told(at(plain, "LocalHost", "", "nats"))).toEqual([]);
    expect(await told(at(plain, ELSEWHERE, "", "nats"))).toEqual(clear);
    // It may be any of them next.
    const several = `nats://app:canary@localhost:${plain.port},${ELSEWHERE}:${plain.port}`;
    expect(await told(several)).toEqual(clear);
    expect(await told(at(both, "localhost", known))).toEqual(checked);
    expect(await told(at(server, ELSEWHERE, known))).toEqual(checked);
    expect(await told(at(server, "localhost", known, "nats"))).toEqual(checked);
  },
);

test.skipIf(!canStart("nats"))(
  "a certificate that has expired meanwhile is told by the log, and a new one is found",
  async (context) => {
    const why = whyNoCertificates();
    if (why && process.env.CI === undefined) return context.skip(why);
    using authority = new Authority("nats");
    const config = ({ cert, key }: Certificate) =>
      `tls { cert_file: "${cert}", key_file: "${key}" }\n`;
    const right = authority.issue("right", { names: ALL });
    await using server = await startNats({ config: config(right) });
    const restart = async (served: Certificate) => {
      writeFileSync(join(server.folder, "nats.conf"), config(served), { flush: true });
      await server.restart();
    };
    const logger = new CollectingLogger();
    const url = `tls://localhost:${server.port}/?ca=${authority.file}`;
    const queue = await nats.open({ url, logger, maxStreamBytes: 1 << 20 });
    const told = (what: RegExp) =>
      expect.poll(() => logger.text(), { timeout: PATIENCE_MS }).toMatch(what);
    try {
      await restart(authority.issue("old", { names: ALL, expired: true }));
      await told(/warn NATS cannot be reached .*TM-CONNECT-FAILED.*expired/s);
      await restart(right);
      await told(/connected to NATS again/);
    } finally {
      await queue.close();
    }
  },
);
