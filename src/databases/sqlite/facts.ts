import type { Connection } from "./connection.ts";
import { foldName, sameName } from "./identifiers.ts";

/** A column as SQLite's own catalog shows it. */
export interface ColumnFacts {
  readonly name: string;
  /** As declared; empty when the column has no type. */
  readonly declared: string;
  readonly notNull: boolean;
  readonly generated: boolean;
  /** 1, 2 … in the primary key; 0 when not part of it. */
  readonly keyOrder: number;
}

export interface KeyColumn {
  readonly name: string;
  /** Collation of the index that makes the key unique: what "the same key" means to SQLite. */
  readonly collation: string;
}

/** Does each text equal itself alone? */
export function isExact(collation: string): boolean {
  return collation.toUpperCase() === "BINARY";
}

/** Everything about a table that SQLite tells, beyond the neutral TableSchema. */
export interface TableFacts {
  readonly name: string;
  readonly kind: "table" | "view" | "virtual" | "shadow";
  readonly strict: boolean;
  readonly columns: readonly ColumnFacts[];
  /** The primary key, else a unique key of not-null columns; empty: none. */
  readonly key: readonly KeyColumn[];
  /** The key is an alias of the rowid: an integer that is never NULL. */
  readonly keyIsRowid: boolean;
  /** A spelling of `rowid` that no column hides; null for WITHOUT ROWID tables. */
  readonly rowid: string | null;
  /** Unique keys other than `key`, over plain columns and all rows. */
  readonly uniques: readonly (readonly KeyColumn[])[];
  /** Names of unique indexes over expressions or part of the rows. */
  readonly oddUniques: readonly string[];
  /** Names of the tables that its foreign keys refer to. */
  readonly parents: readonly string[];
}

interface IndexRow {
  readonly name: string;
  readonly origin: "c" | "u" | "pk";
  readonly partial: bigint;
}

const NOTHING: Omit<TableFacts, "name" | "kind"> = {
  strict: false,
  columns: [],
  key: [],
  keyIsRowid: false,
  rowid: null,
  uniques: [],
  oddUniques: [],
  parents: [],
};

/** Null when there is no such table. Names are matched as SQLite matches them. */
export function readTable(connection: Connection, name: string): TableFacts | null {
  const found = connection.row<{
    name: string;
    type: TableFacts["kind"];
    wr: bigint;
    strict: bigint;
  }>("SELECT name, type, wr, strict FROM pragma_table_list(?) WHERE schema = 'main'", name);
  if (found === undefined) return null;
  // Not looked into: the module of a virtual table may be one that only its application has.
  if (found.type !== "table") return { ...NOTHING, name: found.name, kind: found.type };
  const columns = readColumns(connection, found.name);
  const indexes = readIndexes(connection, found.name);
  const rowid = found.wr === 1n ? null : rowidName(columns);
  const primary = columns.filter((c) => c.keyOrder > 0).sort((a, b) => a.keyOrder - b.keyOrder);
  // A primary key without an index of its own is the rowid.
  const keyIsRowid =
    found.wr === 0n && primary.length === 1 && !indexes.some((index) => index.origin === "pk");
  const key = keyIsRowid
    ? primary.map((column) => ({ name: column.name, collation: "BINARY" }))
    : chooseKey(columns, indexes);
  const plain = indexes.filter((index) => index.columns !== null);
  return {
    name: found.name,
    kind: found.type,
    strict: found.strict === 1n,
    columns,
    key,
    keyIsRowid,
    rowid,
    uniques: plain.map((index) => index.columns ?? []).filter((unique) => !sameKey(unique, key)),
    oddUniques: indexes.filter((index) => index.columns === null).map((index) => index.name),
    parents: readParents(connection, found.name),
  };
}

interface UniqueIndex {
  readonly name: string;
  readonly origin: IndexRow["origin"];
  /** Null when the index is over an expression or covers only part of the rows. */
  readonly columns: readonly KeyColumn[] | null;
}

function readColumns(connection: Connection, table: string): ColumnFacts[] {
  return connection
    .rows<{ name: string; type: string; notnull: bigint; pk: bigint; hidden: bigint }>(
      'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid',
      table,
    )
    .filter((row) => row.hidden !== 1n)
    .map((row) => ({
      name: row.name,
      declared: row.type,
      notNull: row.notnull === 1n,
      generated: row.hidden > 1n,
      keyOrder: Number(row.pk),
    }));
}

function readIndexes(connection: Connection, table: string): UniqueIndex[] {
  return connection
    .rows<IndexRow>(
      'SELECT name, origin, partial FROM pragma_index_list(?) WHERE "unique" = 1 ORDER BY seq DESC',
      table,
    )
    .map((index) => {
      const parts = connection.rows<{ name: string | null; coll: string }>(
        "SELECT name, coll FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno",
        index.name,
      );
      const odd = index.partial === 1n || parts.some((part) => part.name === null);
      const columns = parts.map((part) => ({ name: part.name ?? "", collation: part.coll }));
      return { name: index.name, origin: index.origin, columns: odd ? null : columns };
    });
}

/**
 * The primary key's index, else the narrowest unique index whose columns are all NOT NULL.
 * A primary key may hold NULLs in SQLite; capture refuses such rows by name, so it is taken here.
 */
function chooseKey(
  columns: readonly ColumnFacts[],
  indexes: readonly UniqueIndex[],
): readonly KeyColumn[] {
  const primary = indexes.find((index) => index.origin === "pk");
  if (primary?.columns) return primary.columns;
  const notNull = new Set(columns.filter((c) => c.notNull).map((c) => foldName(c.name)));
  const candidates = indexes
    .flatMap((index) => (index.columns === null ? [] : [index.columns]))
    .filter((unique) => unique.every((part) => notNull.has(foldName(part.name))))
    .sort((a, b) => a.length - b.length);
  return candidates[0] ?? [];
}

function rowidName(columns: readonly ColumnFacts[]): string | null {
  const taken = new Set(columns.map((column) => foldName(column.name)));
  return ["rowid", "_rowid_", "oid"].find((name) => !taken.has(name)) ?? null;
}

function readParents(connection: Connection, table: string): string[] {
  return connection
    .rows<{ table: string }>(
      'SELECT "table" FROM pragma_foreign_key_list(?) WHERE seq = 0 ORDER BY id',
      table,
    )
    .map((row) => row.table);
}

function sameKey(a: readonly KeyColumn[], b: readonly KeyColumn[]): boolean {
  return (
    a.length === b.length &&
    a.every((part, i) => {
      const other = b[i];
      return (
        other !== undefined && sameName(part.name, other.name) && part.collation === other.collation
      );
    })
  );
}
