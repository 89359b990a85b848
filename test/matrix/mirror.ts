// What stands in a database, in canonical text, read by its adapter's own source half: in a database
// of its own, so that no trigger of ours comes into the one that is looked at.
import { silentLogger } from "../../src/core/log.ts";
import type { TableSchema } from "../../src/core/table.ts";
import type { Row } from "../../src/core/value.ts";
import type { FreshDatabase } from "../servers/index.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { quote } from "../support/test-tables.ts";
import { adapterOf, Endpoint } from "./endpoint.ts";

export interface ReadTable {
  readonly columns: readonly string[];
  readonly rows: readonly Row[];
}

export async function describe(
  { kind, url }: FreshDatabase,
  tables: readonly string[],
): Promise<readonly TableSchema[]> {
  const adapter = adapterOf(kind);
  const catalog = await adapter.openCatalog({ name: "there", url, logger: silentLogger });
  try {
    return await catalog.describe(tables.map((name) => ({ schema: adapter.defaultSchema, name })));
  } finally {
    await catalog.close();
  }
}

export class Mirror implements AsyncDisposable {
  readonly #endpoint: Endpoint;
  readonly #database: FreshDatabase;
  /** Its session must understand the values. */
  readonly #sql: SqlClient;
  readonly #schemas = new Map<string, TableSchema>();

  /** `before`: statements that make the types of the tables to come. */
  static async of(
    database: FreshDatabase,
    sql: SqlClient,
    before: readonly string[],
  ): Promise<Mirror> {
    const endpoint = await Endpoint.make(database.kind);
    for (const statement of before) await endpoint.sql.run(statement);
    if (sql.dialect === "postgres") await endpoint.sql.run("SET synchronous_commit = off");
    if (sql.dialect === "sqlite") {
      await endpoint.sql.run("PRAGMA foreign_keys = OFF");
      await endpoint.sql.rows("PRAGMA journal_mode = WAL");
      await endpoint.sql.run("ATTACH DATABASE ? AS there", [database.url.replace(/^sqlite:/, "")]);
    }
    return new Mirror(endpoint, database, sql);
  }

  private constructor(endpoint: Endpoint, database: FreshDatabase, sql: SqlClient) {
    this.#endpoint = endpoint;
    this.#database = database;
    this.#sql = sql;
  }

  /** Nobody may write meanwhile. */
  async read(tables: readonly string[]): Promise<ReadonlyMap<string, ReadTable>> {
    await this.#add(tables.filter((name) => !this.#schemas.has(name)));
    const read = new Map<string, ReadTable>();
    for (const name of tables) {
      const schema = this.#schemas.get(name);
      if (schema === undefined) throw new ReferenceError(`${name} was not described`);
      await this.#fill(name, written(schema));
      const columns = schema.columns.map((column) => column.name);
      read.set(name, { columns, rows: await this.#endpoint.readTable(schema) });
    }
    return read;
  }

  async #add(tables: readonly string[]): Promise<void> {
    if (tables.length === 0) return;
    for (const schema of await describe(this.#database, tables)) {
      await this.#endpoint.sql.run(await this.#createSql(schema));
    }
    for (const schema of await this.#endpoint.describe(tables)) {
      this.#schemas.set(schema.name.name, schema);
    }
    await this.#endpoint.capture([...this.#schemas.values()]);
  }

  async #createSql(schema: TableSchema): Promise<string> {
    const { dialect } = this.#sql;
    const { name } = schema.name;
    const q = (column: string) => quote(dialect, column);
    if (dialect === "mariadb") return `CREATE TABLE ${q(name)} LIKE ${await this.#there(name)}`;
    if (dialect === "sqlite") {
      const find = "SELECT sql FROM there.sqlite_schema WHERE type = 'table' AND name = ?";
      const [found] = await this.#endpoint.sql.rows(find, [name]);
      return found?.sql ?? "";
    }
    const columns = schema.columns.flatMap((column) =>
      column.generated ? [] : [`${q(column.name)} ${column.nativeType}`],
    );
    const key = schema.key.length === 0 ? [] : [`PRIMARY KEY (${schema.key.map(q).join(", ")})`];
    return `CREATE TABLE ${q(name)} (${[...columns, ...key].join(", ")})`;
  }

  async #there(name: string): Promise<string> {
    if (this.#sql.dialect === "sqlite") return `there.${quote("sqlite", name)}`;
    return `\`${new URL(this.#database.url).pathname.slice(1)}\`.\`${name}\``;
  }

  async #fill(name: string, columns: readonly string[]): Promise<void> {
    const { sql } = this.#endpoint;
    const list = columns.map((column) => quote(sql.dialect, column)).join(", ");
    const table = quote(sql.dialect, name);
    await sql.run(`DELETE FROM ${table}`);
    if (sql.dialect !== "postgres") {
      await sql.run("SET sql_mode = ''").catch(() => {}); // only MariaDB has it
      await sql.run(
        `INSERT INTO ${table} (${list}) SELECT ${list} FROM ${await this.#there(name)}`,
      );
      return;
    }
    const rows = await this.#sql.rows(`SELECT r::text AS r FROM (SELECT ${list} FROM ${table}) r`);
    await sql.run(
      `INSERT INTO ${table} (${list})
       SELECT (each.r::${table}).* FROM json_array_elements_text(?::json) AS each (r)`,
      [JSON.stringify(rows.map(({ r }) => r))],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#endpoint[Symbol.asyncDispose]();
  }
}

function written(schema: TableSchema): readonly string[] {
  return schema.columns.flatMap(({ name, generated }) => (generated ? [] : [name]));
}
