// A source and targets of any kind with one table, spoken to in the SQL that all kinds know.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type DatabaseKind, freshDatabase, type Server } from "../test/servers/index.ts";
import { openSql, type SqlClient } from "../test/support/sql-client.ts";
import type { Bed } from "./bed.ts";
import type { Endpoints } from "./endpoints.ts";
import { COLUMNS, createRows, ROWS } from "./loads/rows.ts";

export type AnyKind = "postgres" | "mariadb" | "sqlite";

/** Nothing here takes longer, unless it hangs. */
const PATIENCE_MS = 300_000;

export class AnyDatabase {
  readonly name: string;
  readonly kind: AnyKind;
  readonly url: string;
  readonly sql: SqlClient;
  #isClosed = false;

  private constructor(name: string, kind: AnyKind, url: string, sql: SqlClient) {
    this.name = name;
    this.kind = kind;
    this.url = url;
    this.sql = sql;
  }

  /** A new one; removed with its server, or at the end. */
  static async create(bed: Bed, name: string, kind: AnyKind, server: string): Promise<AnyDatabase> {
    const fresh = await freshDatabase(kind as DatabaseKind, { server });
    if (kind === "sqlite") bed.atEnd(async () => fresh[Symbol.asyncDispose]());
    return AnyDatabase.open(bed, name, kind, fresh.url);
  }

  static async open(bed: Bed, name: string, kind: AnyKind, url: string): Promise<AnyDatabase> {
    const sql = await openSql({ kind: kind as DatabaseKind, url });
    const database = new AnyDatabase(name, kind, url, sql);
    bed.atEnd(() => database.close());
    return database;
  }

  /** One more session, as a client of an application has it: durable. */
  async session(): Promise<SqlClient> {
    const sql = await openSql({ kind: this.kind as DatabaseKind, url: this.url });
    if (this.kind === "sqlite") await sql.rows("PRAGMA synchronous = FULL");
    return sql;
  }

  /** The greatest id; 0 when there is none. */
  async lastId(): Promise<number> {
    const [row] = await this.sql.rows(`SELECT coalesce(max(id), 0) AS id FROM ${ROWS}`);
    return Number(row?.id);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.sql[Symbol.asyncDispose]();
  }

  /** Of all rows, in the order of the key. */
  async contents(table: string): Promise<string> {
    const rows = await this.sql.rows(`SELECT ${COLUMNS.join(", ")} FROM ${table} ORDER BY id`);
    const hash = createHash("sha256");
    for (const row of rows) hash.update(`${COLUMNS.map((name) => row[name]).join("\t")}\n`);
    return `${rows.length} rows, ${hash.digest("hex").slice(0, 12)}`;
  }
}

export interface AnyPairOptions {
  /** How many targets of one kind. */
  readonly targets?: number;
}

export class AnyPair implements Endpoints {
  readonly source: AnyDatabase;
  readonly target: AnyDatabase;
  readonly targets: readonly AnyDatabase[];
  assertRunning: () => void = () => {};

  constructor(source: AnyDatabase, targets: readonly [AnyDatabase, ...AnyDatabase[]]) {
    this.source = source;
    this.targets = targets;
    this.target = targets[0];
  }

  /** The source has the table, empty; the targets have none. */
  static async create(
    bed: Bed,
    name: string,
    [from, to]: readonly [AnyKind, AnyKind],
    { targets = 1 }: AnyPairOptions = {},
  ): Promise<AnyPair> {
    const source = await AnyDatabase.create(bed, name, from, await serverUrl(bed, from, "source"));
    if (from === "sqlite") await source.sql.rows("PRAGMA journal_mode = WAL");
    await createRows(source.sql, ROWS);
    const made: AnyDatabase[] = [];
    for (let i = 1; i <= targets; i++) {
      const server = await serverUrl(bed, to, "target");
      made.push(await AnyDatabase.create(bed, `${name}_${i}`, to, server));
    }
    return new AnyPair(source, made as [AnyDatabase, ...AnyDatabase[]]);
  }

  /** Polls the targets until all have the row; gives the time (performance.now) it was seen. */
  async visible(id: number): Promise<number> {
    const deadline = performance.now() + PATIENCE_MS;
    for (const target of this.targets) {
      while ((await target.lastId()) < id) {
        this.assertRunning();
        if (performance.now() > deadline) throw new Error(`Row ${id} did not arrive.`);
        await sleep(2);
      }
    }
    return performance.now();
  }

  async differences(tables: readonly string[]): Promise<string[]> {
    const wrong: string[] = [];
    for (const table of tables) {
      const wanted = await this.source.contents(table);
      for (const target of this.targets) {
        const found = await target.contents(table);
        if (found !== wanted) wrong.push(`${table}: ${wanted}, and ${found} at ${target.name}`);
      }
    }
    return wrong;
  }

  async close(): Promise<void> {
    for (const database of [this.source, ...this.targets]) await database.close();
  }
}

async function serverUrl(bed: Bed, kind: AnyKind, part: "source" | "target"): Promise<string> {
  if (kind === "sqlite") return ""; // a file
  const server: Server = await (kind === "mariadb" ? bed.mariadb(part) : bed.postgres(part));
  return server.url;
}
