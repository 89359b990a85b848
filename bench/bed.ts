// What all scenarios share: two PostgreSQL servers with the same settings (fsync on), other servers
// as they are asked for, a folder, and an end that leaves nothing behind.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Server, startMariadb, startNats, startPostgres } from "../test/servers/index.ts";
import type { PostgresOptions } from "../test/servers/postgres.ts";
import { findProgram, systemPostgres } from "../test/servers/programs.ts";
import { postgresTree } from "./fetch/postgres-tree.ts";
import type { Options } from "./options.ts";

/**
 * On top of the settings of the test servers. No prepared transactions is PostgreSQL's own default,
 * and lets an idle relay sleep; commit times are what the lag is measured from; without the last, a
 * subscription that is enabled again may wait 5 s before it begins.
 */
export const POSTGRES_SETTINGS = {
  max_prepared_transactions: 0,
  track_commit_timestamp: "on",
  wal_retrieve_retry_interval: "50ms",
};

export class Bed implements AsyncDisposable {
  readonly options: Options;
  readonly folder = mkdtempSync(join(tmpdir(), "tidemark-bench-"));
  readonly #servers = new Map<string, Promise<Server>>();
  readonly #stops = new Set<() => Promise<void>>();
  #end: Promise<void> | undefined;

  constructor(options: Options) {
    this.options = options;
  }

  /** Whether one of the two that most scenarios share has been asked for. */
  get hasPostgres(): boolean {
    return this.#servers.has("postgres source");
  }

  source(): Promise<Server> {
    return this.postgres("source");
  }

  target(): Promise<Server> {
    return this.postgres("target");
  }

  /** A PostgreSQL server by its name; the options count when it is asked for first. */
  postgres(name: string, options: PostgresOptions = {}): Promise<Server> {
    return this.#server(`postgres ${name}`, async () => {
      const common = await this.#postgresOptions();
      const settings = { ...common.settings, ...options.settings };
      return startPostgres({ ...common, ...options, settings });
    });
  }

  mariadb(name = "source", settings: Readonly<Record<string, string>> = {}): Promise<Server> {
    return this.#server(`mariadb ${name}`, () => startMariadb({ settings }));
  }

  nats(): Promise<Server> {
    return this.#server("nats", startNats);
  }

  /** All servers of one run are of one version: where a rival needs another one, all take it. */
  async #postgresOptions(): Promise<PostgresOptions> {
    const { against } = this.options;
    const isNeeded = against.includes("pglogical") || against.includes("bucardo");
    // Why it is not there is told by the arms that need it.
    const tree = isNeeded ? await postgresTree().catch(() => undefined) : undefined;
    if (tree === undefined) return { settings: POSTGRES_SETTINGS };
    return { settings: { ...POSTGRES_SETTINGS, ...tree.settings }, programs: tree.bin };
  }

  /** A program of PostgreSQL: pgbench, psql, pg_dump. */
  postgresProgram(name: string): string {
    const folder = systemPostgres();
    const program = folder === undefined ? findProgram(name) : join(folder, name);
    if (program === undefined) throw new Error(`${name} is not installed (Debian: postgresql).`);
    return program;
  }

  /** Called at the end, also after an interrupt. */
  atEnd(stop: () => Promise<void>): void {
    this.#stops.add(stop);
  }

  /** Whoever calls it, also while it runs: each returns when all is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end ??= this.#dispose();
    await this.#end;
  }

  async #dispose(): Promise<void> {
    const servers = [...this.#servers.values()];
    const ends = [
      ...[...this.#stops].reverse(),
      ...servers.map((server) => async () => (await server)[Symbol.asyncDispose]()),
    ];
    const failures: unknown[] = [];
    for (const end of ends) await end().catch((error: unknown) => failures.push(error));
    rmSync(this.folder, { recursive: true, force: true });
    if (failures.length > 0) throw failures[0];
  }

  #server(name: string, start: () => Promise<Server>): Promise<Server> {
    const known = this.#servers.get(name);
    if (known !== undefined) return known;
    const server = start();
    this.#servers.set(name, server);
    return server;
  }
}
