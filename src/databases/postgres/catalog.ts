import type { ColumnType } from "../../core/column-type.ts";
import type { Catalog, LogHolder } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { Objections } from "../../core/many-tables.ts";
import { resyncCommand } from "../../core/shell.ts";
import { missingTableFix, nearestTable } from "../../core/suggest.ts";
import {
  type ColumnSchema,
  formatTable,
  type TableName,
  type TableSchema,
} from "../../core/table.ts";
import { columnsQuery, uniquesQuery } from "./catalog-query.ts";
import { ambiguousKey } from "./column-refusals.ts";
import type { Connection, Row } from "./connection.ts";
import { OUR_SCHEMA, quoteTable, schemaOf } from "./identifiers.ts";
import { identityOf } from "./identity.ts";
import { formatArrayText } from "./row-text.ts";
import { storedTimeline } from "./stored-timeline.ts";
import { logHolders } from "./subscribers.ts";
import { columnTypeOf, KIND } from "./types.ts";
import { uninstall, uninstallStatements } from "./uninstall.ts";

/** A table found in the catalog. */
export interface FoundTable {
  readonly oid: string;
  readonly name: TableName;
  /** relkind: r ordinary, p partitioned; else see {@link OTHER_KINDS}. */
  readonly kind: string;
  /** relpersistence: p permanent, u unlogged, t temporary. */
  readonly persistence: string;
}

/** A column with what only this adapter wants to know. */
export interface FoundColumn extends ColumnSchema {
  readonly number: number;
  /** Type without modifier, for casts that must not cut a value short. */
  readonly bareType: string;
  /** Where that type stands; null of the server's own. Whoever names it, or its operators, needs USAGE there. */
  readonly typeSchema: string | null;
  /**
   * The operator that compares values of the type: of an extension's (citext, ltree) its own, which the closed
   * search_path does not find.
   */
  readonly equals: string;
  /** The implicit cast by which two values are compared otherwise, or not at all; null where there is none. */
  readonly ambiguous: string | null;
  readonly hasDefault: boolean;
  /** GENERATED ALWAYS AS IDENTITY: may be given when a row comes, and never be changed. */
  readonly always: boolean;
}

export interface UniqueKey {
  readonly columns: readonly string[];
  readonly primary: boolean;
  readonly notNull: boolean;
  /** Checked at each row, not deferrable. */
  readonly immediate: boolean;
  readonly name: string;
  /** Column to collation, where different texts are equal under it. */
  readonly loose: ReadonlyMap<string, string>;
  /** WITHOUT OVERLAPS: it tells rows apart, and ON CONFLICT does not know it. */
  readonly withoutOverlaps: boolean;
}

export class PostgresCatalog implements Catalog {
  readonly #connection: Connection;
  readonly #logger: Logger;

  constructor(connection: Connection, logger: Logger) {
    this.#connection = connection;
    this.#logger = logger;
  }

  identity(): Promise<string | null> {
    return identityOf(this.#connection);
  }

  listTables(): Promise<readonly TableName[]> {
    return listTables(this.#connection);
  }

  async describe(tables: readonly TableName[]): Promise<readonly TableSchema[]> {
    return describeTables(this.#connection, tables);
  }

  timeline(): Promise<string | null> {
    return storedTimeline(this.#connection);
  }

  logHolders(): Promise<readonly LogHolder[] | null> {
    return logHolders(this.#connection);
  }

  planUninstall(): Promise<readonly string[]> {
    return uninstallStatements(this.#connection);
  }

  uninstall(): Promise<readonly string[]> {
    return uninstall(this.#connection, this.#logger);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}

const LIST_TABLES = `
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', '${OUR_SCHEMA}')
  AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND n.nspname NOT LIKE 'pg\\_toast%'
  AND NOT EXISTS (
    SELECT FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2`;

/** relkind of what can be read by a table's name. */
const READABLE = "rpvmf";
/** And of what else has its name, so that no table can. */
export const NAMED = `${READABLE}SiIc`;

/** Finds the tables by name; those that are not there are absent. In the order asked. */
export async function findTables(
  connection: Connection,
  tables: readonly TableName[],
  kinds = READABLE,
): Promise<ReadonlyMap<string, FoundTable>> {
  const rows = await connection.rows(
    `SELECT w.schema, w.name, c.oid::oid, c.relkind, c.relpersistence
     FROM unnest($1::text[], $2::text[]) AS w(schema, name)
     JOIN pg_namespace n ON n.nspname = w.schema
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
     WHERE c.relkind = ANY ($3::text[])`,
    [
      formatArrayText(tables.map(schemaOf)),
      formatArrayText(tables.map((table) => table.name)),
      formatArrayText([...kinds]),
    ],
  );
  const found = new Map<string, FoundTable>();
  for (const [schema, name, oid, kind, persistence] of rows as string[][]) {
    const table = { schema: schema as string, name: name as string };
    found.set(tableKey(table), {
      oid: oid as string,
      name: table,
      kind: kind as string,
      persistence: persistence as string,
    });
  }
  return found;
}

/** Identity of a table inside this adapter: no schema means `public`. */
export function tableKey(table: TableName): string {
  return JSON.stringify([schemaOf(table), table.name]);
}

async function describeTables(
  connection: Connection,
  tables: readonly TableName[],
): Promise<readonly TableSchema[]> {
  const found = await findTables(connection, tables);
  const objections = new Objections();
  for (const table of tables) {
    await objections.tryAsync(() =>
      assertCapturable(connection, table, found.get(tableKey(table))),
    );
  }
  objections.end();
  const oids = [...found.values()].map((table) => table.oid);
  const [columns, uniques] = await Promise.all([
    loadColumns(connection, oids),
    loadUniques(connection, oids),
  ]);
  return tables.map((name) => {
    const { oid } = found.get(tableKey(name)) as FoundTable;
    const own = columns.get(oid) ?? [];
    const keys = uniques.get(oid) ?? [];
    const key = chooseKey(keys);
    const ambiguous = own.find((column) => column.ambiguous && key.includes(column.name));
    if (ambiguous) throw ambiguousKey(name, ambiguous);
    return {
      name: { schema: schemaOf(name), name: name.name },
      columns: own.map((column) => toSchema(column, keys)),
      key,
    };
  });
}

/** The columns of the key that tells rows apart; empty when there is none. */
export function chooseKey(keys: readonly UniqueKey[]): readonly string[] {
  const key = keys.find(isRowKey) ?? keys.find((each) => each.primary);
  return key?.columns ?? [];
}

/** The first of these is the key: uniques come primary key first, then the smallest. */
function isRowKey(unique: UniqueKey): boolean {
  return unique.immediate && unique.notNull;
}

function toSchema(column: UntypedColumn, uniques: readonly UniqueKey[]): ColumnSchema {
  const { name, nativeType, nullable, generated, identity, number } = column;
  const { type } = withSomeType(column);
  const loose = uniques.find((unique) => unique.loose.has(name))?.loose.get(name);
  const looseCollation = loose === undefined ? {} : { looseCollation: loose };
  const unsupported = column.type === null ? { unsupported: true as const } : {};
  const facts = { name, type, nativeType, nullable, generated, identity, number };
  return { ...facts, ...looseCollation, ...unsupported };
}

/** What we cannot carry fits nothing of another type. */
export function withSomeType(column: UntypedColumn): FoundColumn {
  return {
    ...column,
    type: column.type ?? { kind: "native", database: KIND, name: column.bareType },
  };
}

/** A column whose type we may not be able to carry. */
export type UntypedColumn = Omit<FoundColumn, "type"> & { readonly type: ColumnType | null };

/** Live columns by table oid, in table order. */
export async function loadColumns(
  connection: Connection,
  oids: readonly string[],
): Promise<ReadonlyMap<string, readonly UntypedColumn[]>> {
  const rows = await connection.rows(columnsQuery("$1::oid[]"), [formatArrayText(oids)]);
  return groupByFirst(rows, (row) => toColumn(row, connection.version));
}

function toColumn(row: Row, server: number): UntypedColumn {
  const [, number, name, notNull, generated, identity, typeName, builtIn, kind, modifier] = row;
  const [formatted, bare, labels, , hasDefault, always, equals, ambiguous, typeSchema] =
    row.slice(10);
  const type = columnTypeOf({
    name: typeName as string,
    builtIn: builtIn === "t",
    class: kind as string,
    modifier: Number(modifier),
    bare: bare as string,
    labels: labels ? (JSON.parse(labels) as string[]) : [],
    server,
  });
  return {
    name: name as string,
    number: Number(number),
    type,
    nativeType: formatted as string,
    bareType: bare as string,
    typeSchema: typeSchema ?? null,
    equals: equals ?? "=",
    ambiguous: ambiguous ?? null,
    nullable: notNull !== "t",
    generated: generated === "t",
    identity: identity === "t",
    hasDefault: hasDefault === "t",
    always: always === "t",
  };
}

/** Unique keys by table oid: the primary key first, then the smallest. */
export async function loadUniques(
  connection: Connection,
  oids: readonly string[],
): Promise<ReadonlyMap<string, readonly UniqueKey[]>> {
  const rows = await connection.rows(uniquesQuery("$1::oid[]"), [formatArrayText(oids)]);
  return groupByFirst(
    rows,
    ([, primary, columns, notNull, immediate, , name, loose, withoutOverlaps]) => ({
      columns: JSON.parse(columns as string) as string[],
      primary: primary === "t",
      notNull: notNull === "t",
      immediate: immediate === "t",
      name: name as string,
      loose: new Map(loose ? Object.entries(JSON.parse(loose) as Record<string, string>) : []),
      withoutOverlaps: withoutOverlaps === "t",
    }),
  );
}

function groupByFirst<T>(rows: readonly Row[], read: (row: Row) => T): ReadonlyMap<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const key = row[0] as string;
    const group = groups.get(key);
    if (group) group.push(read(row));
    else groups.set(key, [read(row)]);
  }
  return groups;
}

/** By relkind, for people. */
export const OTHER_KINDS: Readonly<Record<string, string>> = {
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
  S: "a sequence",
  i: "an index",
  I: "an index",
  c: "a type",
};

async function assertCapturable(
  connection: Connection,
  table: TableName,
  found: FoundTable | undefined,
): Promise<void> {
  const name = formatTable(table);
  if (schemaOf(table) === OUR_SCHEMA) {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${name} stands in the schema ${OUR_SCHEMA}, which is Tidemark's own.`,
      {
        fix: `Leave it out. One that is the application's: ALTER TABLE ${quoteTable(table)} SET SCHEMA …`,
        details: { table: name },
      },
    );
  }
  if (!found) {
    const other = await otherThing(connection, table);
    const fix = other?.fix ?? (await likelyFix(connection, table));
    throw new TidemarkError(
      "TM-TABLE-MISSING",
      `There is no table ${name} in database "${connection.database}"${other === null ? "" : `: ${other.what}`}.`,
      { fix, details: { table: name } },
    );
  }
  const kind = OTHER_KINDS[found.kind] ?? (found.persistence === "t" ? "a temporary table" : null);
  if (kind) {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${name} is ${kind}: only ordinary tables can be synced.`,
      { fix: "Sync the tables it is made of, or leave it out.", details: { table: name } },
    );
  }
  if (found.persistence === "u") {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${name} is unlogged: a crash of the server empties it, and nothing is logged of that.`,
      {
        fix: `ALTER TABLE ${quoteTable(table)} SET LOGGED; or leave it out. Where it was synced before and the server has crashed since, ${resyncCommand(name)} besides.`,
        details: { table: name },
      },
    );
  }
}

/** What has the name that was taken for a table's, for people. */
async function otherThing(
  connection: Connection,
  table: TableName,
): Promise<{ readonly what: string; readonly fix: string } | null> {
  const [found] = await connection.rows(
    `SELECT c.relkind, c.relpersistence = 't' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = $2 AND (n.nspname = $1 AND c.relkind = 'S'
                               OR c.relpersistence = 't' AND c.relkind IN ('r', 'p', 'v'))
     ORDER BY 2 LIMIT 1`,
    [schemaOf(table), table.name],
  );
  if (found === undefined) return null;
  if (found[1] === "t") {
    return {
      what: "a temporary one has the name, which its own session alone can read, and which ends with it",
      fix: "Make it an ordinary table (CREATE TABLE … AS TABLE …, in the session that has it), or leave it out.",
    };
  }
  return {
    what: "it is a sequence, and its numbers arrive in the rows that take them",
    fix: "Sync the tables that take its numbers: a sequence of the same columns at a PostgreSQL target is kept ahead of them.",
  };
}

async function likelyFix(connection: Connection, table: TableName): Promise<string> {
  const wanted = { schema: schemaOf(table), name: table.name };
  const known = await listTables(connection);
  return missingTableFix(nearestTable(wanted, known), known);
}

async function listTables(connection: Connection): Promise<readonly TableName[]> {
  const rows = await connection.rows(LIST_TABLES);
  return rows.map(([schema, name]) => ({ schema: schema as string, name: name as string }));
}
