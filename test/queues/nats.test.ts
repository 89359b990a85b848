// What only the NATS queue promises (G5).
import { readdirSync, rmSync } from "node:fs";
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";
import { join } from "node:path";
import { connect, nanos } from "@nats-io/transport-node";
import { describe, expect, it, vi } from "vitest";
import { sleep } from "../../src/core/async.ts";
import { keys, type SourceStatus } from "../../src/core/documents.ts";
import { isTidemarkError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { START } from "../../src/core/position.ts";
import type { QueueMessage, QueueStream, StreamTail } from "../../src/core/queue.ts";
import { QueueConnection } from "../../src/queues/nats/connection.ts";
import { Delivery } from "../../src/queues/nats/delivery.ts";
import { nats } from "../../src/queues/nats/index.ts";
import { parseLocation } from "../../src/queues/nats/location.ts";
import { bucketName, streamName, streamSubject } from "../../src/queues/nats/names.ts";
import { available, canStart, natsUrl, startNats } from "../servers/index.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";
import { withConfiguredNats } from "./configured-nats.ts";
import { startCuttingProxy } from "./cutting-proxy.ts";
import { natsBed, withManager } from "./nats-bed.ts";

const open = (url: string) =>
  nats.open({ url, logger: silentLogger, maxStreamBytes: 64 * 1024 ** 2 });

describe.skipIf(!available("nats"))("an existing stream", () => {
  const unsafe = {
    "in memory": { storage: "memory" },
    "that ages": { max_age: nanos(60_000) },
    "that drops the oldest": { discard: "old", max_bytes: 1_000_000 },
    "for one reader": { retention: "workqueue" },
    "for who listens": { retention: "interest" },
    "that cannot be trimmed": { deny_purge: true },
  } as const;

  for (const [name, config] of Object.entries(unsafe)) {
    it(`${name} is refused`, async () => {
      const bed = natsBed(natsUrl());
      await withManager(natsUrl(), (manager) =>
        manager.streams.add({
          name: streamName(bed.prefix, "shop"),
          subjects: [streamSubject(bed.prefix, "shop")],
          ...config,
        }),
      );
      const queue = await bed.open();
      await expect(queue.openStream("shop")).rejects.toMatchObject({ code: "TM-QUEUE-UNSAFE" });
      await queue.close();
      await bed.dispose();
    });
  }

  it("follows a bound that was changed", async () => {
    const bed = natsBed(natsUrl());
    for (const bound of [1_000_000, 2_000_000]) {
      const queue = await bed.open(bound);
      await queue.openStream("shop");
      await queue.close();
      const info = await withManager(natsUrl(), (manager) =>
        manager.streams.info(streamName(bed.prefix, "shop")),
      );
      expect(info.config).toMatchObject({ max_bytes: bound, storage: "file", discard: "new" });
    }
    await bed.dispose();
  });

  it("holds documents as a bucket that NATS tools can read", async () => {
    const bed = natsBed(natsUrl());
    const queue = await bed.open();
    await queue.documents.put("progress/shop->reports", { batch: 7 });
    const stored = await withManager(natsUrl(), (manager) => {
      const bucket = bucketName(bed.prefix);
      return manager.streams.getMessage(`KV_${bucket}`, {
        last_by_subj: `$KV.${bucket}.progress/shop-=003ereports`,
      });
    });
    expect(stored?.json()).toEqual({ batch: 7 });
    await queue.close();
    await bed.dispose();
  });
});

describe.skipIf(!available("nats"))("appending", () => {
  it("gets what is large through a slow connection, and answers beside it", async () => {
    const bed = natsBed(natsUrl());
    await using proxy = await TcpProxy.start(natsUrl());
    const far = await open(proxy.through(`${natsUrl()}?prefix=${bed.prefix}`));
    const stream = await far.openStream("shop");
    proxy.narrow(1_000_000);
    const large = Array.from({ length: 8 }, (_, index) => message(index + 1, 1_000_000));
    const appended = stream.append(await stream.tail(), large);
    await far.documents.put("status", 1);
    expect(await appended).toMatchObject({ sequence: large.length });
    expect(proxy.accepted).toBe(1);
    await far.close();
    await bed.dispose();
  });
});

describe.skipIf(!available("nats"))("reading", () => {
  it("loses nothing of what was on its way when a connection broke", async () => {
    const bed = natsBed(natsUrl());
    const writer = await bed.open();
    const stream = await writer.openStream("shop");
    await using proxy = await startCuttingProxy(new URL(natsUrl()), 150_000);
    const reader = await open(`nats://${proxy.address}?prefix=${bed.prefix}`);
    const abort = new AbortController();
    const read = (async () => {
      const batches: number[] = [];
      const other = await reader.openStream("shop");
      for await (const { mark } of other.read(START, abort.signal)) {
        batches.push(mark.batch);
        if (mark.batch === 800) break;
      }
      return batches;
    })();
    let tail = await stream.tail();
    for (let first = 1; first <= 800; first += 50) {
      const messages = Array.from({ length: 50 }, (_, index) => message(first + index, 1_000));
      tail = await stream.append(tail, messages);
    }
    expect(await read).toEqual(Array.from({ length: 800 }, (_, index) => index + 1));
    expect(proxy.cuts).toBeGreaterThan(3);
    abort.abort();
    await reader.close();
    await writer.close();
    await bed.dispose();
  });

  it("goes on when the connection broke and the clock had been set back, without haste", async () => {
    const bed = natsBed(natsUrl());
    const { hostname, port } = new URL(natsUrl());
    const sockets = new Set<Socket>();
    let refusals = 0;
    let refuses = false;
    const way = createServer((client) => {
      if (refuses) refusals++;
      const server = refuses ? client : dial(Number(port), hostname);
      for (const socket of [client, server]) {
        sockets.add(socket.on("error", () => {})); // it is cut
        if (refuses) socket.destroy();
        else socket.pipe(socket === client ? server : client);
      }
    });
    const cut = () => sockets.forEach((socket) => void socket.destroy());
    await new Promise<void>((resolve) => way.listen(0, "127.0.0.1", resolve));
    const here = `127.0.0.1:${(way.address() as AddressInfo).port}`;
    const queue = await open(`nats://${here}?prefix=${bed.prefix}`);
    const now = Date.now() - 3_600_000;
    vi.useFakeTimers({ toFake: ["Date"], now, shouldAdvanceTime: true });
    try {
      refuses = true;
      cut();
      await sleep(2_000);
      // One at once, then three or four a second.
      expect(refusals).toBeLessThan(15);
      refuses = false;
      for (;;) {
        const error = await queue.documents.put("key", 1).catch((error: unknown) => error);
        if (error === undefined) break;
        expect(error).toMatchObject({ code: "TM-CONNECTION-LOST" });
        await sleep(20);
      }
    } finally {
      vi.useRealTimers();
    }
    await queue.close();
    cut();
    way.close();
    await bed.dispose();
  });

  it("lists all documents from afar while some are written over, and comes to an end", async () => {
    const bed = natsBed(natsUrl());
    const near = await bed.open();
    const keyOf = (n: number) => `layout/a/${n}`;
    const all = Array.from({ length: 600 }, (_, n) => n);
    await Promise.all(all.map((n) => near.documents.put(keyOf(n), n)));
    await using proxy = await TcpProxy.start(natsUrl());
    proxy.slow(50);
    const far = await open(proxy.through(`${natsUrl()}?prefix=${bed.prefix}`));
    for (let round = 0; round < 3; round++) {
      const listing = far.documents.list("layout/a/");
      // When some have come and others have not.
      await sleep(250);
      for (const n of all.slice(0, 40)) {
        await near.documents.put(keyOf((n * 37) % all.length), round);
        await sleep(5);
      }
      expect((await listing).size).toBe(all.length);
    }
    await Promise.all([far.close(), near.close()]);
    await bed.dispose();
  });

  it("lists and watches documents from afar in few ways to the server", async () => {
    const bed = natsBed(natsUrl());
    const near = await bed.open();
    await near.documents.put("one", 1);
    await using proxy = await TcpProxy.start(natsUrl());
    const far = await open(proxy.through(`${natsUrl()}?prefix=${bed.prefix}`));
    proxy.slow(10);
    const turnsOf = async (work: () => Promise<unknown>) => {
      const before = proxy.turns;
      await work();
      return proxy.turns - before;
    };
    const watchOne = async () => {
      for await (const _ of far.documents.watch("one", new AbortController().signal)) break;
    };
    // The reader's place is made; then it is asked what stands, and for it.
    expect(await turnsOf(watchOne)).toBe(2);
    expect(await turnsOf(() => far.documents.list(""))).toBeLessThanOrEqual(3);
    const all = Array.from({ length: 250 }, (_, n) => n);
    await Promise.all(all.map((n) => near.documents.put(`layout/${n}`, n)));
    // Of 32, 64 and 128 documents, and the rest.
    expect(await turnsOf(() => far.documents.list("layout/"))).toBeLessThanOrEqual(7);
    await Promise.all([far.close(), near.close()]);
    await bed.dispose();
  });

  it("asks for fewer documents at a time when a watch has broken off", async () => {
    const bed = natsBed(natsUrl());
    const near = await bed.open();
    const all = Array.from({ length: 250 }, (_, n) => n);
    await Promise.all(all.map((n) => near.documents.put(`layout/${n}`, n)));
    const listener = await connect({ servers: natsUrl() });
    const asked: number[] = [];
    const subject = `$JS.API.CONSUMER.MSG.NEXT.KV_${bucketName(bed.prefix)}.>`;
    listener.subscribe(subject, {
      callback: (_, msg) => void asked.push(msg.json<{ batch: number }>().batch),
    });
    await listener.flush();
    await using proxy = await TcpProxy.start(natsUrl());
    const far = await open(proxy.through(`${natsUrl()}?prefix=${bed.prefix}`));
    const abort = new AbortController();
    const told = far.documents.watch("layout/", abort.signal)[Symbol.asyncIterator]();
    for (const _ of all) await told.next();
    expect(Math.max(...asked)).toBeGreaterThan(32);
    proxy.cut();
    await near.documents.put("layout/more", 1);
    expect(await told.next()).toMatchObject({ value: { key: "layout/more" } });
    // So many it takes to ask for all of them by 32.
    const sinceMore = () => asked.length - 1 - asked.findLastIndex((batch) => batch > 32);
    await expect.poll(sinceMore).toBeGreaterThanOrEqual(8);
    abort.abort();
    await Promise.all([far.close(), near.close(), listener.close()]);
    await bed.dispose();
  });

  it("gets what is large through a slow connection, and answers beside it", async () => {
    const bed = natsBed(natsUrl());
    const near = await bed.open();
    const nearStream = await near.openStream("shop");
    // Several times what such a connection carries while an answer is waited for.
    const large = Array.from({ length: 10 }, (_, index) => message(index + 1, 1_000_000));
    await nearStream.append(await nearStream.tail(), large);
    await using proxy = await TcpProxy.start(natsUrl());
    const far = await open(proxy.through(`${natsUrl()}?prefix=${bed.prefix}`));
    const stream = await far.openStream("shop");
    proxy.narrow(1_000_000);
    const abort = new AbortController();
    const batches: number[] = [];
    for await (const { mark } of stream.read(START, abort.signal)) {
      batches.push(mark.batch);
      await far.documents.put("progress", mark.batch);
      if (mark.batch === large.length) break;
    }
    expect(batches).toEqual(large.map(({ mark }) => mark.batch));
    expect(proxy.accepted).toBe(1);
    abort.abort();
    await Promise.all([far.close(), near.close()]);
    await bed.dispose();
  });

  it("fetches a large message at the end of a stream once to tell that end", async () => {
    const bed = natsBed(natsUrl());
    const near = await bed.open();
    const writer = await near.openStream("shop");
    const first = await writer.append(await writer.tail(), [message(1, 500_000)]);
    await using proxy = await TcpProxy.start(natsUrl());
    const far = await open(proxy.through(`${natsUrl()}?prefix=${bed.prefix}`));
    const stream = await far.openStream("shop");
    for (let n = 0; n < 5; n++) expect(await stream.tail()).toEqual(first);
    expect(proxy.bytesOut).toBeLessThan(1_000_000);
    const second = await writer.append(first, [message(2, 500_000)]);
    expect(await stream.tail()).toEqual(second);
    await writer.reset();
    expect(await stream.tail()).toMatchObject({ mark: null });
    await Promise.all([far.close(), near.close()]);
    await bed.dispose();
  });

  it("begins only on the stream that its start was chosen by", async () => {
    const bed = natsBed(natsUrl());
    const queue = await bed.open();
    await append(await queue.openStream("shop"), 1, 5);
    const name = streamName(bed.prefix, "shop");
    const seen = await withManager(natsUrl(), (manager) => manager.streams.info(name));
    await bed.loseStreams();
    await append(await queue.openStream("shop"), 3, 5);
    const connection = await QueueConnection.open(parseLocation(bed.url), silentLogger);
    // Number 6 may never come in the new stream: waiting for it would be silence for ever.
    const start = { deliver_policy: "by_start_sequence", opt_start_seq: 6 } as const;
    await expect(Delivery.open(connection, seen, start)).rejects.toMatchObject({
      code: "TM-CONNECTION-LOST",
    });
    await connection.close();
    await queue.close();
    await bed.dispose();
  });
});

describe.skipIf(!canStart("nats"))("a server", () => {
  it("that is not there is named without the password", async () => {
    const failure = await open("nats://user:canary-pw@127.0.0.1:1/").catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: "TM-CONNECT-FAILED" });
    expect(String(failure)).toContain("127.0.0.1:1");
    expect(JSON.stringify([failure, String(failure)])).not.toContain("canary-pw");
  });

  it("that wants a login gets it from the URL, and a wrong one is named", async () => {
    const jetstream = 'jetstream: {store_dir: "$FOLDER"}';
    const users = 'authorization: {user: tm, password: "p@ss:word"}';
    await withConfiguredNats(`${jetstream}\n${users}`, async (address) => {
      await (await open(`nats://tm:p%40ss:word@${address}`)).close();
      for (const login of ["", "tm:wrong@", "token@"]) {
        await expect(open(`nats://${login}${address}`)).rejects.toMatchObject({
          code: "TM-AUTH-FAILED",
        });
      }
    });
    await withConfiguredNats(`${jetstream}\nauthorization: {token: s3cret}`, async (address) => {
      for (const url of [`nats://s3cret@${address}`, `nats://${address}/?token=s3cret`]) {
        await (await open(url)).close();
      }
    });
  });

  it("with small limits is asked for them", async () => {
    const config = 'max_payload: 131072\njetstream: {store_dir: "$FOLDER", max_file_store: 8MB}';
    await withConfiguredNats(config, async (address) => {
      const url = `nats://${address}`;
      const queue = await nats.open({ url, logger: silentLogger, maxStreamBytes: 64 * 1024 ** 2 });
      expect(queue.limits.maxMessageBytes).toBeLessThan(131_072);
      expect(queue.limits.maxMessageBytes).toBeGreaterThan(120_000);
      await expect(queue.openStream("shop")).rejects.toMatchObject({ code: "TM-QUEUE-LIMIT" });
      await queue.close();
    });
  });

  it("that is in no cluster is not asked for several copies again and again", async () => {
    const bed = natsBed(natsUrl());
    const url = `${natsUrl()}?prefix=${bed.prefix}&replicas=3`;
    const refused = { code: "TM-QUEUE-LIMIT", fix: expect.stringContaining("`replicas`") };
    await expect(open(url)).rejects.toMatchObject(refused);
    // Nor of what stands with one copy.
    await (await bed.open()).close();
    await expect(open(url)).rejects.toMatchObject(refused);
    await bed.dispose();
  });

  it("with no room at present for a stream that it has lost is waited for", async () => {
    const config = 'jetstream: {store_dir: "$FOLDER", max_file_store: 8MB}';
    await withConfiguredNats(config, async (address) => {
      const url = `nats://${address}`;
      await using bed = await TestBed.make(
        { source: "sqlite", target: "sqlite" },
        { queueUrl: url },
      );
      const source = await bed.sql("source");
      await createTables(source, "sqlite", [CUSTOMERS]);
      const definition = {
        ...bed.define([{ from: "source", to: "target", tables: ["customers"] }]),
        queue: { url, maxStreamBytes: 5_000_000 },
      };
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });

      const other = { name: "other", subjects: ["other"], max_bytes: 5_000_000 };
      await withManager(url, async (manager) => {
        const { streams } = manager;
        const own = streamName("tidemark", "source");
        const succeeds = (asked: Promise<unknown>) => asked.then(() => true).catch(() => false);
        // The pipeline makes its own anew at once: it may be quicker, or both may be given the same room.
        do await succeeds(streams.delete(own));
        while (!(await succeeds(streams.add(other))) || (await succeeds(streams.info(own))));
      });
      await insertRow(source, CUSTOMERS, { id: 1, name: "meanwhile", credit: 0 });
      // Whoever opens it only now has never had it.
      const late = await nats.open({ url, logger: silentLogger, maxStreamBytes: 5_000_000 });
      await expect(late.openStream("source")).rejects.toMatchObject({ code: "TM-QUEUE-LIMIT" });
      await late.close();
      const { signal } = new AbortController();
      for (const key of [keys.relay("source"), keys.applier("source->target")]) {
        for await (const { value } of pipeline.queue.documents.watch(key, signal)) {
          if ((value as SourceStatus).error?.code === "TM-QUEUE-FULL") break;
        }
      }
      await withManager(url, (manager) => manager.streams.delete(other.name));
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
      await bed.stop(pipeline);
    });
  });

  it("without JetStream is refused with what to do", async () => {
    await withConfiguredNats("", async (address) => {
      await expect(open(`nats://${address}`)).rejects.toMatchObject({
        code: "TM-SERVER-UNSUPPORTED",
      });
    });
  });

  it("whose JetStream stands still is told apart from one that is away", async () => {
    await withConfiguredNats("", async (address) => {
      const silent = await connect({ servers: address });
      silent.subscribe("$JS.API.>");
      await silent.flush();
      await expect(open(`nats://${address}`)).rejects.toMatchObject({
        code: "TM-CONNECT-FAILED",
        message: `NATS answers at ${address}, but its JetStream does not.`,
        fix: expect.stringContaining("restart nats-server"),
      });
      await silent.close();
    });
  });

  it("that lost the files of its streams under its hands gets new streams", async () => {
    const server = await startNats();
    try {
      const queue = await open(server.url);
      const stream = await queue.openStream("shop");
      await append(stream, 1, 5);
      const streams = join(server.folder, "data/jetstream/$G/streams");
      for (const name of readdirSync(streams))
        rmSync(join(streams, name, "msgs"), { recursive: true });
      // More than one of the server's files holds, so that it must make another.
      for (let batch = 6; batch <= 30; batch++) {
        await append(stream, batch, batch, 900_000);
        await queue.documents.put("long", "x".repeat(900_000));
      }
      expect((await queue.documents.get("long")) as string).toHaveLength(900_000);
      expect((await stream.tail()).mark?.batch).toBe(30);
      await queue.close();
    } finally {
      await server[Symbol.asyncDispose]();
    }
  });

  it("that lost its disk makes readers begin with what comes", async () => {
    const server = await startNats();
    try {
      const queue = await open(server.url);
      const stream = await queue.openStream("shop");
      const abort = new AbortController();
      const reader = stream.read(START, abort.signal)[Symbol.asyncIterator]();
      await append(stream, 1, 40);
      for (let batch = 1; batch <= 40; batch++) {
        expect((await reader.next()).value?.mark.batch).toBe(batch);
      }
      await server.kill();
      rmSync(join(server.folder, "data"), { recursive: true });
      await server.start();
      const tail = await append(stream, 35, 41);
      expect(tail.sequence).toBe(7);
      for (let batch = 35; batch <= 41; batch++) {
        expect((await reader.next()).value?.mark.batch).toBe(batch);
      }
      abort.abort();
      await queue.close();
    } finally {
      await server[Symbol.asyncDispose]();
    }
  });
});

async function append(
  stream: QueueStream,
  first: number,
  last: number,
  size = 0,
): Promise<StreamTail> {
  const count = last - first + 1;
  const messages = Array.from({ length: count }, (_, index) => message(first + index, size));
  for (;;) {
    try {
      return await stream.append(await stream.tail(), messages);
    } catch (error) {
      if (!isTidemarkError(error) || !error.retryable) throw error;
      await sleep(50);
    }
  }
}

function message(batch: number, size = 0): QueueMessage {
  const whole = { chunk: 0, piece: 0, fragment: 0, fragments: 1, last: true, checksum: 0 };
  return {
    mark: { timeline: "t1", batch, ...whole },
    body: Buffer.from(`batch ${batch}`.padEnd(size)),
  };
}
