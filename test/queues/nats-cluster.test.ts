// NATS servers in a cluster, three copies of each stream: any one of them may go, stand still, or come back empty (G5).

import { rmSync } from "node:fs";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { expect, it } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import { nats } from "../../src/queues/nats/index.ts";
import { canStart, type Server, startNats } from "../servers/index.ts";
import { choosePort } from "../servers/ports.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";
import { withManager } from "./nats-bed.ts";

const SERVERS = 3;
/** A few seconds each time until the others agree on a leader; on a busy machine more. */
const TIMEOUT_MS = 400_000;

async function startCluster(): Promise<readonly Server[]> {
  const ports = await Promise.all(Array.from({ length: SERVERS }, choosePort));
  const routes = ports.map((port) => `nats-route://127.0.0.1:${port}`);
  return Promise.all(
    ports.map((port, index) =>
      startNats({
        config: `server_name: server${index}
cluster { name: tidemark, listen: "127.0.0.1:${port}", routes: ${JSON.stringify(routes)} }`,
      }),
    ),
  );
}

/** While the servers are still looking for each other they refuse all. */
async function begin(url: string): Promise<void> {
  const open = () => nats.open({ url, logger: silentLogger, maxStreamBytes: 64 * 1024 ** 2 });
  await expect
    .poll(() => open().then((queue) => queue.close()), { timeout: PATIENCE_MS })
    .toBe(undefined);
}

it.skipIf(!canStart("nats"))(
  "a cluster goes on whichever of its servers is killed, stands still, or loses its disk",
  async () => {
    const servers = await startCluster();
    try {
      const hosts = servers.map(({ port }) => `127.0.0.1:${port}`).join(",");
      await begin(`nats://${hosts}`);
      const tooMany = `nats://${hosts}/?replicas=${SERVERS + 1}`;
      await expect(
        nats.open({ url: tooMany, logger: silentLogger, maxStreamBytes: 64 * 1024 ** 2 }),
      ).rejects.toMatchObject({ fix: expect.stringContaining("fewer servers than `replicas`") });
      await using bed = await TestBed.make(
        { source: "sqlite", target: "sqlite" },
        { queueUrl: `nats://${hosts}/?replicas=3` },
      );
      const source = await bed.sql("source");
      await createTables(source, "sqlite", [CUSTOMERS]);
      const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const pipeline = await bed.start(definition);
      let id = 0;
      const write = async () => {
        for (const end = id + 20; id < end; id++)
          await insertRow(source, CUSTOMERS, { id, name: `n${id}`, credit: 0 });
      };
      const faults = {
        killed: {
          begin: (server: Server) => server.kill(),
          end: (server: Server) => server.start(),
        },
        frozen: {
          begin: async (server: Server) => server.freeze(),
          end: async (server: Server) => server.thaw(),
        },
        wiped: {
          begin: (server: Server) => server.kill(),
          end: (server: Server) => {
            rmSync(join(server.folder, "data"), { recursive: true });
            return server.start();
          },
        },
      };
      for (const [index, { begin, end }] of Object.values(faults).entries()) {
        const server = servers[index] as Server;
        await write();
        await begin(server);
        await write();
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        await end(server);
        await write();
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      }
      await bed.expectSame(CUSTOMERS);
      const copies = await withManager(servers[0]?.url ?? "", async ({ streams }) => {
        const numbers: number[] = [];
        for await (const { config } of streams.list()) numbers.push(config.num_replicas);
        return numbers;
      });
      // Also of what stood with one before.
      expect(copies).toEqual([SERVERS, SERVERS]);
      await bed.stop(pipeline);
    } finally {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    }
  },
  TIMEOUT_MS,
);

it.skipIf(!canStart("nats"))(
  "a consumer that a cluster was asked for twice, since the way there is long, is not left behind",
  async () => {
    const servers = await startCluster();
    try {
      const [{ url }] = servers as [Server];
      await begin(`${url}?replicas=3`);
      await using proxy = await TcpProxy.start(url);
      const watcher = await connect({ servers: new URL(url).host });
      let made = 0;
      let left = 0;
      const advisory = "$JS.EVENT.ADVISORY.CONSUMER";
      const count = (subject: string, on: () => void) =>
        watcher.subscribe(`${advisory}.${subject}.>`, { callback: on });
      count("CREATED", () => {
        made++;
        left++;
      });
      count("DELETED", () => left--);
      await watcher.flush();
      proxy.slow(700);
      const queue = await nats.open({
        url: `${proxy.through(url)}?replicas=3`,
        logger: silentLogger,
        maxStreamBytes: 64 * 1024 ** 2,
      });
      await queue.documents.put("x/y", 1);
      const stop = new AbortController();
      for await (const { key } of queue.documents.watch("x", stop.signal)) {
        expect(key).toBe("x/y");
        expect(made).toBeGreaterThan(1);
        await expect.poll(() => left, { timeout: 30_000 }).toBe(1);
        stop.abort();
      }
      await queue.close();
      await watcher.close();
    } finally {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    }
  },
  TIMEOUT_MS,
);
