// The ways from the processes to what they need, each through a proxy: relay and applier reach the queue on
// ways of their own.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { PipelineDefinition } from "../../../src/core/definition.ts";
import { writeConfig } from "../../support/pipeline-process.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import type { Configs } from "./crew.ts";
import type { WorldServers } from "./fleet.ts";

export type LinkName = "source" | "target" | "queue of the relay" | "queue of the applier";

export class Network implements AsyncDisposable {
  readonly links: ReadonlyMap<LinkName, TcpProxy>;

  static async start({ source, target, broker }: WorldServers): Promise<Network> {
    const links = new Map<LinkName, TcpProxy>();
    if (source !== null) links.set("source", await TcpProxy.start(source.url));
    if (target !== null) links.set("target", await TcpProxy.start(target.url));
    for (const name of ["queue of the relay", "queue of the applier"] as const) {
      if (broker !== null) links.set(name, await TcpProxy.start(broker.url));
    }
    return new Network(links);
  }

  private constructor(links: ReadonlyMap<LinkName, TcpProxy>) {
    this.links = links;
  }

  /** What the processes are told. `definition`: as nobody is in the way. */
  writeConfigs(folder: string, definition: PipelineDefinition): Configs {
    const write = (role: "relay" | "applier") => {
      const own = join(folder, role);
      mkdirSync(own, { recursive: true });
      const databases = definition.databases.map((database) => {
        if (!("url" in database)) return database;
        const link = this.links.get(database.name as LinkName);
        return link === undefined ? database : { ...database, url: link.through(database.url) };
      });
      const { url } = definition.queue;
      const way = this.links.get(`queue of the ${role}`);
      const queue = { ...definition.queue, url: way === undefined ? url : way.through(url) };
      return writeConfig(own, { ...definition, databases, queue });
    };
    return { relay: write("relay"), applier: write("applier") };
  }

  heal(): void {
    for (const link of this.links.values()) link.heal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.links.values()].map((link) => link[Symbol.asyncDispose]()));
  }
}
