import type { Catalog, DatabaseOptions, LogHolder } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { Objections } from "../../core/many-tables.ts";
import { missingTableFix, nearestTable } from "../../core/suggest.ts";
import type { ColumnSchema, ForeignKey, TableName, TableSchema } from "../../core/table.ts";
import { formatTable } from "../../core/table.ts";
import type { Cell, Cells, Session } from "./connection.ts";
import { assertTransactions } from "./engines.ts";
import type { Flavour } from "./flavour.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import { identityOf } from "./identity.ts";
import { isOurs, isOurTable, PREFIX } from "./ours.ts";
import { storedTimeline } from "./stored-timeline.ts";
import { logHolders } from "./subscribers.ts";
import { isGeometry, type NativeColumn, nativeTypeName, neutralType } from "./types.ts";
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

/** An index that keeps its columns unique. */
export interface UniqueIndex {
  readonly name: string;
  readonly primary: boolean;
  readonly columns: readonly string[];
  /** Over expressions or prefixes: unique, but not by the columns' whole values. */
  readonly partial: boolean;
}

/** All that information_schema tells about a table. */
export interface TableFacts {
  readonly name: string;
  /** As the server says: "base table", "view". */
  readonly type: string;
  readonly engine: string | null;
  readonly columns: readonly NativeColumn[];
  readonly uniques: readonly UniqueIndex[];
  readonly foreignKeys: readonly ForeignKeyFact[];
}

/** Empty where there is none that is whole columns. */
export function primaryKeyOf(facts: TableFacts | undefined): readonly string[] {
  return facts?.uniques.find(({ primary, partial }) => primary && !partial)?.columns ?? [];
}

export interface ForeignKeyFact extends ForeignKey {
  readonly name: string;
  readonly onDelete: string;
  readonly onUpdate: string;
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

/** The facts of the tables that exist, by name. */
export async function loadFacts(
  session: Session,
  names: readonly string[],
): Promise<ReadonlyMap<string, TableFacts>> {
  if (names.length === 0) return new Map();
  const list = names.map(quoteText).join(", ");
  const [tables = [], columnRows = [], uniqueRows = [], keyRows = [], checkRows = []] =
    await session.flight([
      `SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES
       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${list})`,
      columnsOf(list),
      uniquesOf(list),
      foreignKeysOf(list),
      ...(session.flavour.checksNameTable ? [checksOf(list)] : []),
    ]);
  const json = jsonColumns(checkRows);
  const columns = groupBy(columnRows, (row) => nativeColumn(row, json));
  const ends = rowEnds(columnRows);
  const uniques = groupUniques(
    uniqueRows.filter(([table, , column]) => !ends.has(`${table}\0${column}`)),
  );
  const foreignKeys = groupForeignKeys(keyRows, session.database);
  return new Map(
    tables.map(([name, type, engine]) => [
      name ?? "",
      {
        name: name ?? "",
        type: (type ?? "").toLowerCase(),
        engine: engine ?? null,
        columns: columns.get(name ?? "") ?? [],
        uniques: uniques.get(name ?? "") ?? [],
        foreignKeys: foreignKeys.get(name ?? "") ?? [],
      },
    ]),
  );
}

function columnsOf(list: string): string {
  return `SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE,
       CHARACTER_MAXIMUM_LENGTH, DATETIME_PRECISION, CHARACTER_SET_NAME, COLLATION_NAME,
       IS_NULLABLE, COLUMN_DEFAULT, EXTRA, GENERATION_EXPRESSION
     FROM information_schema.COLUMNS
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${list})
     ORDER BY TABLE_NAME, ORDINAL_POSITION`;
}

function nativeColumn(row: readonly Cell[], json: ReadonlySet<string>): NativeColumn {
  const [table, name, dataType, columnType, ...rest] = row;
  const [precision, scale, length, datetime, charset, collation, ...others] = rest;
  const [nullable, initial, extra, expression] = others;
  const attributes = (extra ?? "").toLowerCase();
  // MySQL also writes DEFAULT_GENERATED, for a default that is an expression.
  const generated = /\b(virtual|stored|persistent) generated\b/.test(attributes);
  return {
    name: name ?? "",
    dataType: (dataType ?? "").toLowerCase(),
    columnType: columnType ?? "",
    precision: numberOrNull(precision),
    scale: numberOrNull(scale),
    length: numberOrNull(length),
    datetimePrecision: numberOrNull(datetime),
    charset: charset ?? null,
    collation: collation ?? null,
    nullable: nullable === "YES",
    hasDefault: (initial ?? null) !== null || nullable === "YES",
    zeroDate: DATES.has(dataType?.toLowerCase() ?? "") && ZERO_DATE.test(initial ?? ""),
    sequence: /^nextval\((`.+`)\)$/i.exec(initial ?? "")?.[1] ?? null,
    generated,
    expression: generated ? (expression ?? null) : null,
    identity: attributes.includes("auto_increment"),
    stamped: attributes.includes("on update"),
    json: json.has(`${table}\0${name}`),
  };
}

const DATES: ReadonlySet<string> = new Set(["date", "datetime", "timestamp"]);
/** MariaDB quotes a default, MySQL does not. */
const ZERO_DATE = /^'?(?:0000|\d{4}-00|\d{4}-\d\d-00)/;

/**
 * MariaDB puts the end of a row's time into each unique key of a system-versioned table whose period is declared. Present
 * rows all have the same.
 */
function rowEnds(columns: readonly Cells[]): ReadonlySet<string> {
  return new Set(
    columns.flatMap((row) => (row.at(-1) === "ROW END" ? [`${row[0]}\0${row[1]}`] : [])),
  );
}

function checksOf(list: string): string {
  return `SELECT TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
     WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME IN (${list})`;
}

/** MariaDB's JSON is LONGTEXT with the check `json_valid(column)`; MySQL has a type of its own. */
function jsonColumns(rows: readonly Cells[]): ReadonlySet<string> {
  return new Set(
    rows.flatMap(([table, clause]) => {
      const column = /^json_valid\(`((?:[^`]|``)+)`\)$/.exec(clause ?? "")?.[1];
      return column === undefined ? [] : [`${table}\0${column.replaceAll("``", "`")}`];
    }),
  );
}

function uniquesOf(list: string): string {
  return `SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${list}) AND NON_UNIQUE = 0
     ORDER BY TABLE_NAME, INDEX_NAME = 'PRIMARY' DESC, INDEX_NAME, SEQ_IN_INDEX`;
}

function groupUniques(rows: readonly Cells[]): Map<string, UniqueIndex[]> {
  const found = new Map<string, Map<string, { columns: string[]; partial: boolean }>>();
  for (const [table, index, column, prefix] of rows) {
    const ofTable = found.get(table ?? "") ?? new Map();
    const entry = ofTable.get(index ?? "") ?? { columns: [], partial: false };
    if (column === null || column === undefined || (prefix ?? null) !== null) entry.partial = true;
    if (column !== null && column !== undefined) entry.columns.push(column);
    ofTable.set(index ?? "", entry);
    found.set(table ?? "", ofTable);
  }
  return new Map(
    [...found].map(([table, indexes]) => [
      table,
      [...indexes].map(([name, entry]) => ({ name, primary: name === "PRIMARY", ...entry })),
    ]),
  );
}

function foreignKeysOf(list: string): string {
  return `SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA,
       k.REFERENCED_TABLE_NAME, r.DELETE_RULE, r.UPDATE_RULE
     FROM information_schema.KEY_COLUMN_USAGE k
     JOIN information_schema.REFERENTIAL_CONSTRAINTS r
       ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
      AND r.TABLE_NAME = k.TABLE_NAME
     WHERE k.TABLE_SCHEMA = DATABASE() AND k.TABLE_NAME IN (${list})
       AND k.REFERENCED_TABLE_NAME IS NOT NULL
     ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION`;
}

function groupForeignKeys(rows: readonly Cells[], database: string): Map<string, ForeignKeyFact[]> {
  const found = new Map<string, Map<string, ForeignKeyFact & { columns: string[] }>>();
  for (const [table, name, column, schema, referenced, onDelete, onUpdate] of rows) {
    const ofTable = found.get(table ?? "") ?? new Map();
    const entry = ofTable.get(name ?? "") ?? {
      name: name ?? "",
      columns: [],
      references: {
        schema: schema === database ? null : (schema ?? null),
        name: referenced ?? "",
      },
      onDelete: onDelete ?? "",
      onUpdate: onUpdate ?? "",
    };
    entry.columns.push(column ?? "");
    ofTable.set(name ?? "", entry);
    found.set(table ?? "", ofTable);
  }
  return new Map([...found].map(([table, keys]) => [table, [...keys.values()]]));
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
  const columns = facts.columns.map((column) => columnSchema(column, formatTable(name)));
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
    uniques: facts.uniques.filter((each) => each !== key).map((each) => each.columns),
    foreignKeys: facts.foreignKeys.map(({ columns, references }) => ({ columns, references })),
  };
}

export function columnSchema(column: NativeColumn, table: string): ColumnSchema {
  return {
    name: column.name,
    type: neutralType(column, table),
    nativeType: nativeTypeName(column),
    nullable: column.nullable,
    generated: column.generated,
    identity: column.identity,
    ...(column.zeroDate ? { zeroDate: true } : {}),
  };
}

/** The primary key, else the first unique key over whole columns none of which may be null. */
export function keyIndex(facts: TableFacts): UniqueIndex | undefined {
  const nullable = new Set(facts.columns.filter((each) => each.nullable).map((each) => each.name));
  return facts.uniques.find(
    (index) =>
      index.primary || (!index.partial && index.columns.every((column) => !nullable.has(column))),
  );
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

function groupBy<T>(rows: readonly Cell[][], make: (row: Cell[]) => T): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const table = row[0] ?? "";
    const group = groups.get(table) ?? [];
    group.push(make(row));
    groups.set(table, group);
  }
  return groups;
}

function numberOrNull(cell: Cell | undefined): number | null {
  return cell === null || cell === undefined ? null : Number(cell);
}
