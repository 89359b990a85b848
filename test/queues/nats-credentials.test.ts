// Users of NATS that come with a file of credentials, which are renewed in it (G8).
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { nats } from "../../src/queues/nats/index.ts";
import { canStart } from "../servers/index.ts";
import { CollectingLogger, PATIENCE_MS } from "../support/test-bed.ts";
import { withConfiguredNats } from "./configured-nats.ts";

interface KeyPair {
  getPublicKey(): string;
  getSeed(): Uint8Array;
  sign(input: Uint8Array): Uint8Array;
}

/** What the driver signs with; it comes with it, and is no package of ours. */
const ofDriver = createRequire(import.meta.resolve("@nats-io/transport-node"));
const { createAccount, createOperator, createUser } = createRequire(
  ofDriver.resolve("@nats-io/nats-core"),
)("@nats-io/nkeys") as Record<"createAccount" | "createOperator" | "createUser", () => KeyPair>;

const UNBOUNDED = { subs: -1, data: -1, payload: -1 };

/** `claims` of `subject`, signed by `issuer`. */
function token(issuer: KeyPair, subject: KeyPair, claims: object): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const sub = subject.getPublicKey();
  const about = { jti: randomUUID(), iat: Math.floor(Date.now() / 1000), name: "test" };
  const nats = { version: 2, ...claims };
  const body = { ...about, iss: issuer.getPublicKey(), sub, nats };
  const text = `${encode({ typ: "JWT", alg: "ed25519-nkey" })}.${encode(body)}`;
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString("base64url")}`;
}

function credentials(account: KeyPair): string {
  const user = createUser();
  const jwt = token(account, user, { type: "user", ...UNBOUNDED });
  const seed = Buffer.from(user.getSeed()).toString();
  const block = (what: string, text: string) =>
    `-----BEGIN ${what}-----\n${text}\n------END ${what}------\n`;
  return `${block("NATS USER JWT", jwt)}\n${block("USER NKEY SEED", seed)}`;
}

/** Of a server that knows one account. */
function configOf(operator: KeyPair, system: KeyPair, account: KeyPair): string {
  const most = { ...UNBOUNDED, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
  const stored = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const accountJwt = (key: KeyPair, limits: object) =>
    `${key.getPublicKey()}: "${token(operator, key, { type: "account", limits })}"`;
  const claims = { type: "operator", system_account: system.getPublicKey() };
  return `jetstream: { store_dir: "$FOLDER" }
operator: "${token(operator, operator, claims)}"
system_account: ${system.getPublicKey()}
resolver: MEMORY
resolver_preload: { ${accountJwt(system, most)}, ${accountJwt(account, { ...most, ...stored })} }
`;
}

test.skipIf(!canStart("nats"))("credentials that are renewed in their file are taken", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tidemark-creds-"));
  const file = join(folder, "app.creds");
  const [operator, system] = [createOperator(), createAccount()];
  const [account, next] = [createAccount(), createAccount()];
  const configFor = (known: KeyPair) => configOf(operator, system, known);
  const work = async (address: string, restart: (config: string) => Promise<void>) => {
    const url = `nats://${address}/?creds=${file}`;
    const logger = new CollectingLogger();
    const open = () => nats.open({ url, logger, maxStreamBytes: 1 << 20 });
    writeFileSync(file, credentials(account));
    const queue = await open();
    await queue.documents.put("before", 1);
    // From here on the old ones are refused, as those are that have expired.
    await restart(configFor(next));
    const told = () => logger.text();
    await expect.poll(told, { timeout: PATIENCE_MS }).toMatch(/NATS cannot be reached .*AUTH-F/);
    writeFileSync(file, credentials(next));
    const put = () => queue.documents.put("after", 1).then(() => "", String);
    await expect.poll(put, { timeout: PATIENCE_MS }).toBe("");
    await queue.close();
    const unusable = { code: "TM-AUTH-FAILED", message: expect.stringContaining(file) };
    writeFileSync(file, "half a file");
    await expect(open()).rejects.toMatchObject(unusable);
    rmSync(file);
    await expect(open()).rejects.toMatchObject(unusable);
  };
  try {
    await withConfiguredNats(configFor(account), work);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
