import type { TableName } from "../../core/table.ts";
import type { Cell, Cells, Session } from "./connection.ts";
import { quoteText } from "./identifiers.ts";
import type { NativeColumn } from "./types.ts";

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

export interface ForeignKeyFact {
  readonly name: string;
  readonly columns: readonly string[];
  readonly references: TableName;
  readonly onDelete: string;
  readonly onUpdate: string;
}

/** The primary key, else the first unique key over whole columns none of which may be null. */
export function keyIndex(facts: TableFacts): UniqueIndex | undefined {
  const nullable = new Set(facts.columns.filter((each) => each.nullable).map((each) => each.name));
  return facts.uniques.find(
    (index) =>
      index.primary || (!index.partial && index.columns.every((column) => !nullable.has(column))),
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
    virtual: generated && attributes.includes("virtual"),
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
