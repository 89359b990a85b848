// A PostgreSQL database of the benchmark, with one client for preparing and observing.
import pg from "pg";
import type { Server } from "../test/servers/index.ts";

export class Database {
  readonly name: string;
  readonly url: string;
  readonly #client: pg.Client;

  private constructor(name: string, url: string, client: pg.Client) {
    this.name = name;
    this.url = url;
    this.#client = client;
  }

  /** Creates it, as a copy of another one of the same server where asked. */
  static async create(server: Server, name: string, template?: string): Promise<Database> {
    await onServer(server.url, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    const copy = template === undefined ? "" : ` TEMPLATE ${template} STRATEGY file_copy`;
    await onServer(server.url, `CREATE DATABASE ${name}${copy}`);
    return Database.open(server, name);
  }

  static async open(server: Server, name: string): Promise<Database> {
    const url = new URL(server.url);
    url.pathname = `/${name}`;
    const client = new pg.Client({ connectionString: url.href });
    client.on("error", () => {}); // told by the next query
    await client.connect();
    return new Database(name, url.href, client);
  }

  /** Runs statements; gives the rows of the last. */
  async query<T extends pg.QueryResultRow = pg.QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
  ): Promise<T[]> {
    const result = await this.#client.query<T>(text, [...values]);
    return (Array.isArray(result) ? result.at(-1) : result).rows;
  }

  /** The one value of the one row; null when there is none. */
  async value(text: string, values: readonly unknown[] = []): Promise<unknown> {
    const [row] = await this.query(text, values);
    return row === undefined ? null : Object.values(row)[0];
  }

  async number(text: string, values: readonly unknown[] = []): Promise<number> {
    return Number(await this.value(text, values));
  }

  async listen(channel: string, take: (payload: string) => void): Promise<void> {
    this.#client.on("notification", ({ payload = "" }) => take(payload));
    await this.query(`LISTEN ${channel}`);
  }

  async close(): Promise<void> {
    await this.#client.end();
  }
}

/** In its own connection: a database cannot be dropped or copied by a session inside it. */
export async function onServer(url: string, sql: string): Promise<pg.QueryResultRow[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
