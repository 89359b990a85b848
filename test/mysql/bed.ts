// A fresh database of each kind that this adapter serves, with what the tests need around it.
import driver, { type Connection } from "mysql2/promise";
import { sleep } from "../../src/core/async.ts";
import type { Change, Layout } from "../../src/core/change.ts";
import type { DatabaseOptions } from "../../src/core/database.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { BatchHeader } from "../../src/core/position.ts";
import { type ChangesPage, changesOf } from "../../src/core/row-lines.ts";
import type { CaptureTable, ChangeLog } from "../../src/core/source.ts";
import type { BoundTable, TargetTable } from "../../src/core/target.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { take } from "../../src/testing/replica.ts";
import { type DatabaseKind, freshDatabase } from "../servers/index.ts";

/** The servers this adapter is for; a test runs on those that are there. */
export const SERVERS: readonly DatabaseKind[] = ["mariadb", "mysql"];

export interface Bed extends AsyncDisposable {
  readonly options: DatabaseOptions;
  readonly admin: Connection;
  connect(): Promise<Connection>;
  /** The same database as another user. */
  as(user: string, password: string): DatabaseOptions;
  /** The tables as a capture of all their columns. */
  capture(...names: string[]): Promise<CaptureTable[]>;
}

/** `server`: the address of a server of the test's own. */
export async function openBed(kind: DatabaseKind, server?: string): Promise<Bed> {
  const database = await freshDatabase(kind, server === undefined ? {} : { server });
  const connections: Connection[] = [];
  const connect = async () => {
    const connection = await driver.createConnection({
      uri: database.url,
      multipleStatements: true,
      rowsAsArray: true,
      dateStrings: true,
      supportBigNumbers: true,
      bigNumberStrings: true,
      timezone: "Z",
      charset: "utf8mb4",
    });
    connections.push(connection);
    return connection;
  };
  const options: DatabaseOptions = { name: kind, url: database.url, logger: silentLogger };
  return {
    options,
    admin: await connect(),
    connect,
    as(user, password) {
      const url = new URL(database.url);
      url.username = user;
      url.password = password;
      return { ...options, url: url.href };
    },
    async capture(...names) {
      const catalog = await mysql.openCatalog(options);
      try {
        const schemas = await catalog.describe(names.map((name) => ({ schema: null, name })));
        return schemas.map((schema) => ({
          schema,
          columns: schema.columns.map((column) => column.name),
          filters: [],
          takesNewColumns: true,
        }));
      } finally {
        await catalog.close();
      }
    },
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection.destroy();
      await database[Symbol.asyncDispose]();
    },
  };
}

export interface OpenLog extends AsyncDisposable {
  readonly log: ChangeLog;
  readonly layouts: ReadonlyMap<number, Layout>;
}

export async function openLog(
  bed: Pick<Bed, "options">,
  tables: readonly CaptureTable[],
): Promise<OpenLog> {
  const source = await mysql.openSource(bed.options);
  const log = await source.openChangeLog();
  if (log === null) throw new Error("the lease is taken");
  const close = async () => {
    await log.close();
    await source.close();
  };
  const layouts = await log.capture(tables).catch(async (error) => {
    await close();
    throw error;
  });
  return {
    log,
    layouts: new Map(layouts.map((layout) => [layout.id, layout])),
    [Symbol.asyncDispose]: close,
  };
}

export interface CutBatch {
  readonly header: BatchHeader;
  readonly changes: readonly Change[];
}

/** Cuts once; null when nothing had changed. */
export async function cutOnce(log: ChangeLog): Promise<CutBatch | null> {
  const cut = await log.batches.cut();
  if (cut.header === null) return null;
  return { header: cut.header, changes: await collect(cut.pages) };
}

export async function collect(pages: AsyncIterable<ChangesPage>): Promise<Change[]> {
  const changes: Change[] = [];
  for await (const page of pages) changes.push(...changesOf(page));
  return changes;
}

/** The tables as a sync from a server of the same kind would ask for them. */
export function asTarget(table: CaptureTable, name = table.schema.name.name): TargetTable {
  const { schema } = table;
  return {
    name: { schema: null, name },
    key: schema.key,
    columns: schema.columns
      .filter((column) => !column.generated)
      .map(({ name, type, nativeType, nullable }) => ({
        name,
        type,
        nativeType,
        sourceKind: mysql.kind,
        nullable,
      })),
  };
}

export function only(tables: readonly BoundTable[]): BoundTable {
  const [table] = tables;
  if (table === undefined) throw new Error("no table");
  return table;
}

/** Each with its table, its operation, the key before and the row, as one line. */
export function linesOf(
  { layouts }: Pick<OpenLog, "layouts">,
  changes: readonly Change[],
): string[] {
  return changes.map(({ layout, op, keyBefore, row }) => {
    const values = [keyBefore, row].flatMap((each) => (each === null ? [] : JSON.stringify(each)));
    return [layouts.get(layout)?.table.name, op, ...values].join(" ");
  });
}

/** What has come since the last batch, as such lines. */
export async function takenLines(open: OpenLog): Promise<string[]> {
  const { changes } = await take(open.log.batches);
  return linesOf(open, changes);
}

/** Creates the tables, captures those named, runs the statements; gives what was logged. */
export async function logged(
  bed: Bed,
  tables: string,
  captured: readonly string[],
  statements: string,
): Promise<string[]> {
  await bed.admin.query(tables);
  await using open = await openLog(bed, await bed.capture(...captured));
  await bed.admin.query(statements);
  return await takenLines(open);
}

/** Resolves when this session waits for a lock. */
export async function untilItWaits({ admin }: Bed, { threadId }: Connection): Promise<void> {
  for (;;) {
    // Not information_schema.innodb_trx: it shows one and the same for as long as anybody on the server, be it another
    // test, keeps asking within a tenth of a second.
    const [rows] = await admin.query("SHOW ENGINE INNODB STATUS");
    const [[, , status]] = rows as [[type: string, name: string, status: string]];
    const [, ...transactions] = status.split("---TRANSACTION ");
    const ours = transactions.find((each) => each.includes(` thread id ${threadId}, `));
    if (ours?.includes("\nLOCK WAIT ")) return;
    await sleep(10);
  }
}
