import type { Catalog, DatabaseOptions, LogHolder } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { Objections } from "../../core/many-tables.ts";
import { missingTableFix, nearestTable } from "../../core/suggest.ts";
import type { ColumnSchema, TableName, TableSchema } from "../../core/table.ts";
import { formatTable } from "../../core/table.ts";
import type { Session } from "./connection.ts";
import { assertTransactions } from "./engines.ts";
import type { Flavour } from "./flavour.ts";
import { quoteName } from "./identifiers.ts";
import { identityOf } from "./identity.ts";
import { isOurs, isOurTable, PREFIX } from "./ours.ts";
import { storedTimeline } from "./stored-timeline.ts";
import { logHolders } from "./subscribers.ts";
import { keyIndex, loadFacts, type TableFacts } from "./table-facts.ts";
import { isGeometry, KIND, type NativeColumn, nativeTypeName, neutralType } from "./types.ts";
import { planUninstall, uninstall } from "./uninstall.ts";

export class MysqlCatalog implements Catalog {
  readonly #session: Session;
  readonly #options: DatabaseOptions;

  constructor(session: Session, options: DatabaseOptions) {
    this.#session = session;
    this.#options = options;
  }

  identity(): Promise<string | null> {
    return identityOf(this.#session);
  }

  async listTables(): Promise<readonly TableName[]> {
    return named(await loadTables(this.#session));
  }

  describe(tables: readonly TableName[]): Promise<readonly TableSchema[]> {
    return describeTables(this.#session, tables);
  }

  timeline(): Promise<string | null> {
    return storedTimeline(this.#session);
  }

  logHolders(): Promise<readonly LogHolder[] | null> {
    return logHolders(this.#session);
  }

  planUninstall(): Promise<readonly string[]> {
    return planUninstall(this.#session);
  }

  uninstall(): Promise<readonly string[]> {
    return uninstall(this.#session, this.#options);
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}

interface TableFact {
  readonly name: string;
  readonly engine: string | null;
  readonly type: string;
  /** Rows can be captured from it: neither a view nor a sequence. */
  readonly ordinary: boolean;
}

async function loadTables(session: Session): Promise<TableFact[]> {
  const rows = await session.rows(
    `SELECT TABLE_NAME, ENGINE, TABLE_TYPE FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME`,
  );
  return rows
    .filter(([name]) => !isOurTable(name ?? ""))
    .map(([name, engine, type]) => ({
      name: name ?? "",
      engine: engine ?? null,
      type: type ?? "",
      ordinary: type === "BASE TABLE" || type === "SYSTEM VERSIONED",
    }));
}

/** Those that can be synced. */
function named(tables: readonly TableFact[]): TableName[] {
  return tables.filter(({ ordinary }) => ordinary).map(({ name }) => ({ schema: null, name }));
}

async function describeTables(
  session: Session,
  names: readonly TableName[],
): Promise<readonly TableSchema[]> {
  if (names.length === 0) return [];
  const known = await loadTables(session);
  const objections = new Objections();
  for (const name of names) objections.try(() => checkTable(name, known, session));
  objections.end();
  const facts = await loadFacts(
    session,
    names.map((name) => name.name),
  );
  return names.map((name) => {
    const fact = facts.get(name.name);
    if (fact === undefined) throw missing(name, known, session.database);
    return schemaOf(name, fact, session.flavour);
  });
}

function checkTable(
  name: TableName,
  known: readonly TableFact[],
  { database, flavour }: Session,
): void {
  const found = name.schema === null ? known.find((each) => each.name === name.name) : undefined;
  if (found === undefined) throw missing(name, known, database);
  const table = formatTable(name);
  if (isOurs(name.name)) {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${table} has a name that begins with ${PREFIX}: such names are Tidemark's own.`,
      { fix: `RENAME TABLE ${quoteName(name.name)} TO …`, details: { table } },
    );
  }
  if (!found.ordinary) {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${table} is a ${found.type.toLowerCase()}: only ordinary tables can be synced.`,
      { fix: "sync the tables it reads from", details: { table } },
    );
  }
  assertTransactions(found, flavour);
}

function missing(name: TableName, known: readonly TableFact[], database: string): TidemarkError {
  const table = formatTable(name);
  const tables = named(known);
  const near = nearestTable(name, tables);
  const hint =
    name.schema === null && !name.name.includes(".")
      ? ""
      : " Tables are named without a schema here: the URL names the database.";
  return new TidemarkError(
    "TM-TABLE-MISSING",
    `There is no table ${table} in database ${database}.${hint}`,
    {
      fix: missingTableFix(near, tables),
      details: { table, nearest: near },
    },
  );
}

function looseCollation(
  { collation }: NativeColumn,
  exact: ReadonlySet<string>,
): { readonly looseCollation?: string } {
  return collation === null || exact.has(collation) ? {} : { looseCollation: collation };
}

function schemaOf(
  name: TableName,
  facts: TableFacts,
  { exactCollations, negativeZero }: Flavour,
): TableSchema {
  const key = keyIndex(facts);
  const columns = facts.columns.map((column) => columnSchema(column));
  checkKey(
    name,
    columns.filter((column) => key?.columns.includes(column.name)),
  );
  return {
    name,
    columns: columns.map((column, index) => ({
      ...column,
      ...looseCollation(facts.columns[index] as NativeColumn, exactCollations),
      ...(negativeZero && column.type.kind === "float" ? { negativeZero } : {}),
    })),
    key: key?.columns ?? [],
  };
}

export function columnSchema(column: NativeColumn): ColumnSchema {
  const type = neutralType(column);
  return {
    name: column.name,
    type: type ?? { kind: "native", database: KIND, name: column.dataType },
    ...(type === null ? { unsupported: true } : {}),
    nativeType: nativeTypeName(column),
    nullable: column.nullable,
    generated: column.generated,
    identity: column.identity,
    ...(column.zeroDate ? { zeroDate: true } : {}),
  };
}

/** A copy goes through a table in the order of its key, and geometries have none. */
function checkKey(name: TableName, key: readonly ColumnSchema[]): void {
  const geometry = key.find(({ type }) => isGeometry(type));
  if (geometry === undefined) return;
  const table = formatTable(name);
  throw new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `The key of ${table} holds ${geometry.name}, a ${geometry.nativeType}: geometries cannot be put in order.`,
    { fix: "give the table a primary key of other columns", details: { table } },
  );
}
