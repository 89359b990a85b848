// A user of NATS that loses a right and gets it back while the pipeline runs: it is told as that, and nothing need be
// restarted (G8).
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { canStart, startNats } from "../servers/index.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

const configOf = (publish: string) =>
  `authorization { users: [ { user: app, password: canary, permissions: { publish: ${publish}, subscribe: "_INBOX.>" } }, { user: who, password: asks } ] }\nno_auth_user: who\n`;
/** What docs/reference/grants.md names, and no more. */
const ALL = '["$JS.API.>", "$KV.tidemark_documents.>", "tidemark.>"]';

test.skipIf(!canStart("nats")).each([
  ["to send", '{ deny: ["tidemark.>"] }', "relay"],
  ["to ask", '{ deny: ["$JS.API.>"] }', "relay"],
  ["to read", '{ deny: ["$JS.API.CONSUMER.MSG.NEXT.>"] }', "applier"],
])("a user that has the right %s again works on by itself", async (_, fewer, who) => {
  await using server = await startNats({ config: configOf(ALL) });
  const reload = (publish: string) => {
    // A server that reads its configuration again forgets what its command line said of JetStream.
    const jetstream = `jetstream { store_dir: "${join(server.folder, "data")}" }\n`;
    writeFileSync(join(server.folder, "nats.conf"), jetstream + configOf(publish), { flush: true });
    process.kill(server.pid, "SIGHUP");
  };
  const queueUrl = `nats://app:canary@127.0.0.1:${server.port}`;
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" }, { queueUrl });
  const source = await bed.sql("source");
  await createTables(source, "sqlite", [CUSTOMERS]);
  await createTables(await bed.sql("target"), "sqlite", [CUSTOMERS]);
  const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
  const pipeline = await bed.start(definition, { slowRetryMs: 100 });
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  reload(fewer);
  // The server reads it a moment later: until then what is written is sent.
  let id = 7;
  const afterAnother = async () => {
    await insertRow(source, CUSTOMERS, { id: id++, name: "again", credit: 0 });
    return bed.logger.text();
  };
  await expect
    .poll(afterAnother, { timeout: PATIENCE_MS, interval: 50 })
    .toMatch(new RegExp(`${who} interrupted.*TM-GRANT-MISSING.*Permissions Violation`, "s"));
  reload(ALL);
  // Who waits before it has read that is told.
  const waited = () => pipeline.waitFor({ timeoutMs: PATIENCE_MS }).then(() => "", String);
  await expect.poll(waited, { timeout: PATIENCE_MS }).toBe("");
  await bed.expectSame(CUSTOMERS);
  await bed.stop(pipeline);
});
