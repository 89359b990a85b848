// The test's own connections to the databases of a world. Those to files end with the power of their disk, as the
// program would that has them open.
import type { FreshDatabase } from "../../servers/index.ts";
import { type Commits, openSql, type SqlClient } from "../../support/sql-client.ts";

export type Side = "source" | "target";

export class Clients {
  readonly #database: (side: Side) => FreshDatabase;
  readonly #open: Readonly<Record<Side, Set<SqlClient>>> = { source: new Set(), target: new Set() };
  readonly #dark = new Map<Side, PromiseWithResolvers<void>>();

  readonly #commits: Commits;

  /** `commits`: of those that ask for nothing else. */
  constructor(database: (side: Side) => FreshDatabase, commits: Commits) {
    this.#database = database;
    this.#commits = commits;
  }

  /** Waits while there is no power. */
  async open(side: Side, commits = this.#commits): Promise<SqlClient> {
    await this.#dark.get(side)?.promise;
    const database = this.#database(side);
    const client = await openSql(database, commits);
    // Connections to a server end with the server.
    if (client.dialect !== "sqlite") return client;
    const open = this.#open[side];
    open.add(client);
    const end = client[Symbol.asyncDispose].bind(client);
    return Object.assign(client, {
      [Symbol.asyncDispose]: async () => {
        open.delete(client);
        await end();
      },
    });
  }

  /** From now on what is open throws, as a lost connection does. */
  async darken(side: Side): Promise<void> {
    this.#dark.set(side, this.#dark.get(side) ?? Promise.withResolvers());
    for (const client of this.#open[side]) await client[Symbol.asyncDispose]();
  }

  light(side: Side): void {
    this.#dark.get(side)?.resolve();
    this.#dark.delete(side);
  }
}
