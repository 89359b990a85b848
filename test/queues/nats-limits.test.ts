// What an account or a server of NATS has no room for is told as that, with what mends it, and not as a server that does not
// answer (G8).
import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import type { QueueMessage, QueueStream, StreamTail } from "../../src/core/queue.ts";
import { nats } from "../../src/queues/nats/index.ts";
import { canStart } from "../servers/index.ts";
import { findProgram } from "../servers/programs.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { transaction } from "../support/sql-client.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";
import { withConfiguredNats } from "./configured-nats.ts";
import { withManager } from "./nats-bed.ts";

const JETSTREAM = 'jetstream: { store_dir: "$FOLDER" }';

/** Sets how many files a process may open. */
const PRLIMIT = findProgram("prlimit");

function message(batch: number): QueueMessage {
  const whole = { piece: 0, fragment: 0, fragments: 1, last: true, checksum: 0 };
  return { mark: { timeline: "t", batch, chunk: 0, ...whole }, body: new Uint8Array(900_000) };
}

async function openStream(url: string): Promise<QueueStream> {
  const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 64 * 1024 ** 2 });
  try {
    return await queue.openStream("shop");
  } finally {
    await queue.close();
  }
}

describe.skipIf(!canStart("nats"))("a NATS server", () => {
  it.each([
    ["max_streams: 1", "max_streams"],
    ["max_bytes_required: true, max_file: 200MB", "nats stream add"],
    ["disk_max_stream_bytes: 1MB", "queue.maxSize"],
  ])("whose account has %s tells of it", async (limits, fix) => {
    const account = `A: { jetstream: { ${limits} }, users: [ { user: app, password: canary } ] }`;
    await withConfiguredNats(`${JETSTREAM}\naccounts { ${account} }`, async (address) => {
      await expect(openStream(`nats://app:canary@${address}`)).rejects.toMatchObject({
        code: "TM-QUEUE-LIMIT",
        fix: expect.stringContaining(fix),
      });
    });
  });

  it("whose room is reserved for others tells of it", async () => {
    const config = 'jetstream: { store_dir: "$FOLDER", max_file_store: 1MB }';
    await withConfiguredNats(config, async (address) => {
      const url = `nats://${address}`;
      await withManager(url, ({ streams }) =>
        streams.add({ name: "OTHER", subjects: ["other"], max_bytes: 1 << 20 }),
      );
      await expect(openStream(url)).rejects.toMatchObject({
        code: "TM-QUEUE-LIMIT",
        message: "NATS has no room for the stream KV_tidemark_documents.",
      });
    });
  });

  it("whose account has no storage left tells of it", async () => {
    const account =
      "A: { jetstream: { max_file: 2MB }, users: [ { user: app, password: canary } ] }";
    await withConfiguredNats(`${JETSTREAM}\naccounts { ${account} }`, async (address) => {
      const url = `nats://app:canary@${address}`;
      const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 1 << 20 });
      const fill = async () => {
        for (const key of ["a", "b", "c"]) await queue.documents.put(key, "x".repeat(900_000));
      };
      await expect(fill()).rejects.toMatchObject({
        code: "TM-QUEUE-FULL",
        fix: expect.stringContaining("max_file"),
      });
      await queue.close();
    });
  });

  it("whose account has no storage left is waited for, also where a batch fills most of a bound that was set", async () => {
    const account =
      "A: { jetstream: { max_file: 20MB }, users: [ { user: app, password: canary } ] }";
    const config = `${JETSTREAM}\naccounts { ${account} }\nno_auth_user: app`;
    await withConfiguredNats(config, async (address) => {
      const queueUrl = `nats://${address}`;
      await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" }, { queueUrl });
      const source = await bed.sql("source");
      await createTables(source, "sqlite", [CUSTOMERS]);
      await createTables(await bed.sql("target"), "sqlite", [CUSTOMERS]);
      const defined = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const queue = { url: queueUrl, maxStreamBytes: 8 << 20 };
      const pipeline = await bed.start({ ...defined, queue });
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      // Takes what is left but for five megabytes, of which a batch of six has more than half its stream's bound.
      await withManager(queueUrl, async (manager) => {
        await manager.streams.add({ name: "OTHER", subjects: ["other"] });
        const other = manager.jetstream();
        for (let i = 0; i < 15; i++) await other.publish("other", new Uint8Array(1_000_000));
      });
      await transaction(source, async () => {
        for (let id = 1; id <= 12; id++)
          await insertRow(source, CUSTOMERS, { id, name: "x".repeat(500_000), credit: 0 });
      });
      const told = () => bed.logger.text();
      await expect.poll(told, { timeout: PATIENCE_MS }).toMatch(/relay interrupted.*TM-QUEUE-/s);
      await withManager(queueUrl, ({ streams }) => streams.delete("OTHER"));
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
      await bed.stop(pipeline);
    });
  });

  it.skipIf(PRLIMIT === undefined)(
    "that may open no more files keeps the streams that it cannot write, and goes on with them",
    async () => {
      await withConfiguredNats(JETSTREAM, async (address, _, pid) => {
        const limit = (files: number) =>
          execFileSync(PRLIMIT ?? "", ["--pid", `${pid}`, `--nofile=${files}:`]);
        const url = `nats://${address}`;
        const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 64 << 20 });
        const stream = await queue.openStream("shop");
        await queue.documents.put("kept", 1);
        let tail = await stream.append(await stream.tail(), [message(1)]);
        limit(8);
        const refused = {
          code: "TM-QUEUE-FULL",
          fix: expect.stringContaining("too many open files"),
        };
        const fill = async () => {
          for (let batch = 2; batch < 40; batch++)
            tail = await stream.append(tail, [message(batch)]);
        };
        await expect(fill()).rejects.toMatchObject(refused);
        const fillDocuments = async () => {
          for (let i = 0; i < 40; i++) await queue.documents.put("long", "x".repeat(900_000));
        };
        await expect(fillDocuments()).rejects.toMatchObject(refused);
        limit(1024);
        await stream.append(tail, [message(40)]);
        await queue.documents.put("long", 2);
        expect(await queue.documents.get("kept")).toBe(1);
        await queue.close();
      });
    },
  );

  it("of which another stream takes our messages tells of it", async () => {
    await withConfiguredNats(JETSTREAM, async (address) => {
      const url = `nats://${address}`;
      for (const subject of ["tidemark.>", "$KV.>"]) {
        await withManager(url, async ({ streams }) => {
          await streams.delete("KV_tidemark_documents").catch(() => {});
          await streams.add({ name: "ALL", subjects: [subject] });
        });
        await expect(openStream(url)).rejects.toMatchObject({
          code: "TM-QUEUE-UNSAFE",
          fix: expect.stringContaining("other subjects"),
        });
        await withManager(url, ({ streams }) => streams.delete("ALL"));
      }
    });
  });

  it("that takes small messages only is refused, and what it cannot take is told", async () => {
    await withConfiguredNats(`${JETSTREAM}\nmax_payload: 2000`, async (address, restart) => {
      const refused = {
        code: "TM-QUEUE-LIMIT",
        fix: expect.stringContaining("max_payload"),
      };
      await expect(openStream(`nats://${address}`)).rejects.toMatchObject(refused);
      await restart(`${JETSTREAM}\nmax_payload: 16384`);
      const url = `nats://${address}`;
      const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 1 << 20 });
      const long = queue.documents.put("key", "x".repeat(16_384));
      await expect(long).rejects.toMatchObject(refused);
      await queue.close();
    });
  });

  it("that takes smaller messages than before gets smaller ones", async () => {
    await withConfiguredNats(JETSTREAM, async (address, restart) => {
      const queueUrl = `nats://${address}`;
      await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" }, { queueUrl });
      const source = await bed.sql("source");
      await createTables(source, "sqlite", [CUSTOMERS]);
      await createTables(await bed.sql("target"), "sqlite", [CUSTOMERS]);
      const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const pipeline = await bed.start(definition);
      await insertRow(source, CUSTOMERS, { id: 1, name: "x".repeat(500_000), credit: 0 });
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await restart(`${JETSTREAM}\nmax_payload: 65536`);
      await insertRow(source, CUSTOMERS, { id: 2, name: "y".repeat(500_000), credit: 0 });
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
      await bed.stop(pipeline);
    });
  });

  it("that takes small messages only gets small ones, too, that are cut while it is away", async () => {
    await withConfiguredNats(`${JETSTREAM}\nmax_payload: 65536`, async (address) => {
      await using way = await TcpProxy.start(`nats://${address}`);
      const url = `nats://127.0.0.1:${way.port}`;
      const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 1 << 20 });
      way.stall();
      way.cut();
      // Tried again, and not answered.
      await expect.poll(() => way.accepted, { timeout: PATIENCE_MS }).toBe(2);
      const { maxMessageBytes } = queue.limits;
      expect(maxMessageBytes).toBeLessThan(65_536);
      way.heal();
      await queue.close();
    });
  });

  it("that has come to take hardly anything refuses what is sent, and that is told", async () => {
    await withConfiguredNats(JETSTREAM, async (address, restart) => {
      const url = `nats://${address}`;
      const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 1 << 20 });
      const stream = await queue.openStream("shop");
      await restart(`${JETSTREAM}\nmax_payload: 2000`);
      const { promise: tail, resolve } = Promise.withResolvers<StreamTail>();
      const look = () =>
        stream
          .tail()
          .then(resolve)
          .then(() => "", String);
      await expect.poll(look, { timeout: PATIENCE_MS }).toBe("");
      const body = new Uint8Array(queue.limits.maxMessageBytes);
      await expect(stream.append(await tail, [{ ...message(1), body }])).rejects.toMatchObject({
        code: "TM-QUEUE-LIMIT",
        fix: expect.stringContaining("max_payload"),
      });
      await queue.close();
    });
  });

  it("that takes no more connections is told apart", async () => {
    await withConfiguredNats(`${JETSTREAM}\nmax_connections: 1`, async (address) => {
      const url = `nats://${address}`;
      const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 1 << 20 });
      await expect(openStream(url)).rejects.toMatchObject({
        code: "TM-CONNECT-FAILED",
        fix: expect.stringContaining("max_connections"),
      });
      await queue.close();
    });
  });
});

describe.skipIf(!canStart("nats"))("a stream that was edited to take other messages", () => {
  it.each(["the stream", "the documents"])("is named: %s", async (which) => {
    await withConfiguredNats(JETSTREAM, async (address) => {
      const url = `nats://${address}`;
      const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 1 << 20 });
      const stream = await queue.openStream("shop");
      await queue.documents.put("key", 1);
      await withManager(url, async ({ streams }) => {
        const names: string[] = [];
        for await (const name of streams.names()) names.push(name);
        const isBucket = which === "the documents";
        const name = names.find((each) => each.startsWith("KV_") === isBucket) ?? "";
        await streams.update(name, { subjects: ["elsewhere"] });
      });
      const use = which === "the stream" ? stream.tail() : queue.documents.put("key", 2);
      await expect(use).rejects.toMatchObject({
        code: "TM-QUEUE-UNSAFE",
        message: expect.stringContaining("subject"),
      });
      await queue.close();
    });
  });
});
