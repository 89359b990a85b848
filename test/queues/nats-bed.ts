// A queue of its own on a NATS server: names begin with a prefix that nobody else has.
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { sleep } from "../../src/core/async.ts";
import { silentLogger } from "../../src/core/log.ts";
import { nats } from "../../src/queues/nats/index.ts";
import type { QueueLossBed, QueueServerBed } from "../../src/testing/queue-bed.ts";
import type { Server } from "../servers/index.ts";

export function natsBed(
  url: string,
): QueueLossBed & { readonly prefix: string; readonly url: string } {
  const prefix = `t${randomBytes(6).toString("hex")}`;
  const own = `${url}?prefix=${prefix}`;
  return {
    prefix,
    url: own,
    open: (maxStreamBytes = 64 * 1024 * 1024) =>
      nats.open({ url: own, logger: silentLogger, maxStreamBytes }),
    loseStreams: () => deleteStreams(url, (name) => name.startsWith(`${prefix}_`)),
    loseDocuments: () => deleteStreams(url, (name) => name.startsWith(`KV_${prefix}_`)),
    dispose: () => deleteStreams(url, (name) => name.includes(`${prefix}_`)),
  };
}

/** On a server that nobody else uses, so that it can be killed. */
export function natsServerBed(server: Server): QueueServerBed {
  const bed = natsBed(server.url);
  return {
    open: bed.open,
    kill: () => server.kill(),
    start: () => server.start(),
    freeze: () => freeze(server.pid),
    thaw: () => process.kill(server.pid, "SIGCONT"),
    dispose: bed.dispose,
  };
}

/** The signal is on its way to each thread for a while, and a thread that runs may still answer. */
async function freeze(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  const tasks = `/proc/${pid}/task`;
  const isRunning = (task: string) =>
    /^State:\s+T/m.exec(readFileSync(join(tasks, task, "status"), "utf8")) === null;
  if (!existsSync(tasks)) return sleep(200);
  while (readdirSync(tasks).some(isRunning)) await sleep(1);
}

/** Looks at the server as an operator would, past the adapter. */
export async function withManager<T>(
  url: string,
  work: (manager: Awaited<ReturnType<typeof jetstreamManager>>) => Promise<T>,
): Promise<T> {
  const connection = await connect({ servers: new URL(url).host });
  try {
    return await work(await jetstreamManager(connection));
  } finally {
    await connection.close();
  }
}

async function deleteStreams(url: string, isOurs: (name: string) => boolean): Promise<void> {
  await withManager(url, async (manager) => {
    const names: string[] = [];
    for await (const name of manager.streams.names()) names.push(name);
    for (const name of names.filter(isOurs)) await manager.streams.delete(name);
  });
}
