// A database of a type test, as source and as target, by the adapter's own ways.
import { sleep } from "../../src/core/async.ts";
import type { Change, Layout } from "../../src/core/change.ts";
import type { DatabaseAdapter, DatabaseOptions } from "../../src/core/database.ts";
import { silentLogger } from "../../src/core/log.ts";
import { encodePieces, PieceReader } from "../../src/core/message.ts";
import type { CaptureTable, ChangeLog, Cut, Source } from "../../src/core/source.ts";
import type { TableSchema } from "../../src/core/table.ts";
import type {
  ApplierSession,
  BoundTable,
  ColumnMapping,
  Target,
  TargetTable,
} from "../../src/core/target.ts";
import type { Row } from "../../src/core/value.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { sqlite } from "../../src/databases/sqlite/index.ts";
import { type Copied, takeChunk } from "../../src/testing/replica.ts";
import { type DatabaseKind, type FreshDatabase, freshDatabase } from "../servers/index.ts";
import { dialectOf, openSql, type SqlClient } from "../support/sql-client.ts";

const ADAPTERS = { postgres, mariadb: mysql, sqlite } as const;

export function adapterOf(kind: DatabaseKind): DatabaseAdapter {
  return ADAPTERS[dialectOf(kind)];
}

export class Endpoint implements AsyncDisposable {
  readonly kind: DatabaseKind;
  readonly adapter: DatabaseAdapter;
  readonly sql: SqlClient;
  readonly #database: FreshDatabase;
  #source: Source | null = null;
  #log: ChangeLog | null = null;
  #layouts: readonly Layout[] = [];

  static async make(kind: DatabaseKind): Promise<Endpoint> {
    const database = await freshDatabase(kind);
    return new Endpoint(database, await openSql(database));
  }

  private constructor(database: FreshDatabase, sql: SqlClient) {
    this.kind = database.kind;
    this.adapter = adapterOf(database.kind);
    this.#database = database;
    this.sql = sql;
  }

  get options(): DatabaseOptions {
    return { name: "here", url: this.#database.url, logger: silentLogger };
  }

  async describe(tables: readonly string[]): Promise<readonly TableSchema[]> {
    const catalog = await this.adapter.openCatalog(this.options);
    try {
      const schema = this.adapter.defaultSchema;
      return await catalog.describe(tables.map((name) => ({ schema, name })));
    } finally {
      await catalog.close();
    }
  }

  /** From here on every change of these tables is logged. */
  async capture(schemas: readonly TableSchema[]): Promise<void> {
    this.#source ??= await this.adapter.openSource(this.options);
    this.#log ??= await this.#source.openChangeLog();
    const tables = schemas.map(
      (schema): CaptureTable => ({
        schema,
        columns: schema.columns.map(({ name }) => name),
        filters: [],
        takesNewColumns: true,
      }),
    );
    this.#layouts = (await this.#openLog().capture(tables)) as readonly Layout[];
  }

  /** All that was logged since the last reading, over the wire and back, by table name. */
  async readLog(): Promise<ReadonlyMap<string, readonly Row[]>> {
    const rows = new Map<string, Row[]>();
    for (;;) {
      const cut = await this.#openLog().batches.cut();
      if (cut.header === null) return rows;
      for (const { layout, row } of await overTheWire(cut)) {
        const name = this.#layouts.find(({ id }) => id === layout)?.table.name ?? "";
        if (row !== null) rows.set(name, [...(rows.get(name) ?? []), row]);
      }
    }
  }

  async readTable(schema: TableSchema): Promise<readonly Row[]> {
    const rows: Row[] = [];
    for (let after: string | null = null; ; ) {
      const request = { table: schema.name, after, maxRows: 10_000, maxBytes: 1 << 24 };
      const { chunk }: Copied = await takeChunk(this.#openLog().batches, request);
      rows.push(...chunk.rows);
      if (chunk.done) return rows;
      after = chunk.cursor;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#log?.close();
    await this.#source?.close();
    await this.sql[Symbol.asyncDispose]();
    await this.#database[Symbol.asyncDispose]();
  }

  #openLog(): ChangeLog {
    if (this.#log === null) throw new ReferenceError("nothing is captured");
    return this.#log;
  }
}

async function overTheWire(cut: Cut): Promise<readonly Change[]> {
  if (cut.header === null) return [];
  const changes: Change[] = [];
  const envelope = { source: "here", header: cut.header, chunk: 0, copy: null };
  const reader = new PieceReader();
  for await (const messages of encodePieces(envelope, cut.pages, 1 << 20)) {
    for (const message of messages) changes.push(...(reader.push(message)?.changes ?? []));
  }
  return changes;
}

/** The table as a sync from `from` would ask `to` for it. */
export function asked(schema: TableSchema, from: Endpoint, to: Endpoint): TargetTable {
  return {
    name: { schema: to.adapter.defaultSchema, name: schema.name.name },
    key: schema.key,
    columns: schema.columns.map(({ name, type, nativeType, nullable, negativeZero }) => ({
      name,
      type,
      nativeType,
      nullable,
      sourceKind: from.adapter.kind,
      ...(negativeZero === undefined ? {} : { negativeZero }),
    })),
  };
}

/** Takes rows: what is missing is created, columns that are refused are left out. */
export class Receiver implements AsyncDisposable {
  readonly mappings: readonly ColumnMapping[];
  readonly tables: readonly BoundTable[];
  readonly #target: Target;
  #session: ApplierSession | null = null;
  #batch = 0;

  static async open(to: Endpoint, tables: readonly TargetTable[]): Promise<Receiver> {
    const target = await to.adapter.openTarget(to.options);
    const { mappings } = await target.plan(tables);
    const isRefused = (table: TargetTable, column: string) =>
      mappings.some(
        (each) =>
          each.fidelity === "refused" &&
          each.table.name === table.name.name &&
          each.column === column,
      );
    const taken = tables.map((table) => ({
      ...table,
      columns: table.columns.filter(({ name }) => !isRefused(table, name)),
    }));
    const plan = await target.plan(taken.filter(({ columns }) => columns.length > 1));
    await target.prepare(plan);
    return new Receiver(target, mappings, plan.tables);
  }

  private constructor(
    target: Target,
    mappings: readonly ColumnMapping[],
    tables: readonly BoundTable[],
  ) {
    this.#target = target;
    this.mappings = mappings;
    this.tables = tables;
  }

  /** One transaction. After an error the session is another. */
  async put(table: BoundTable, rows: readonly Row[], fresh = false): Promise<void> {
    this.#session ??= await this.#open();
    const session = this.#session;
    try {
      const progress = await session.load();
      const transaction = await session.begin(progress);
      await transaction.attempt(() => transaction.put(table, rows, { fresh }));
      const position = { batch: ++this.#batch, chunk: 0 };
      await transaction.commit({ ...progress, timeline: "t", position });
    } catch (error) {
      this.#session = null;
      await session.close();
      throw error;
    }
  }

  async #open(): Promise<ApplierSession> {
    // The session before has closed its connection; the server may see that a moment later.
    for (;;) {
      const session = await this.#target.openApplier("types", this.tables);
      if (session !== null) return session;
      await sleep(1);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session?.close();
    await this.#target.close();
  }
}
