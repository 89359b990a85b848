// Servers that worlds may kill: started when a world first needs them, and kept for those that follow.
import {
  type DatabaseKind,
  type Server,
  startMariadb,
  startMysql,
  startNats,
  startPostgres,
} from "../../servers/index.ts";
import type { TestPair } from "../../support/pairs.ts";
import { dialectOf } from "../../support/sql-client.ts";

/** Those of one world; null where a file takes the place of a server. */
export interface WorldServers {
  readonly source: Server | null;
  readonly target: Server | null;
  readonly broker: Server | null;
}

export class Fleet implements AsyncDisposable {
  readonly #servers = new Map<string, Server>();

  async serversOf({ source, target, queue }: TestPair): Promise<WorldServers> {
    return {
      source: await this.#database("source", source),
      target: await this.#database("target", target),
      broker: queue === "nats" ? await this.#get("nats", startNats) : null,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server[Symbol.asyncDispose]()));
  }

  async #database(role: string, kind: DatabaseKind): Promise<Server | null> {
    if (kind === "sqlite") return null;
    if (kind === "mysql") return await this.#get(`${role} mysql`, startMysql);
    const start = dialectOf(kind) === "postgres" ? startPostgres : startMariadb;
    return await this.#get(`${role} ${kind}`, start);
  }

  async #get(name: string, start: () => Promise<Server>): Promise<Server> {
    const server = this.#servers.get(name) ?? (await start());
    this.#servers.set(name, server);
    // An earlier world may have left it down.
    await server.start();
    return server;
  }
}
