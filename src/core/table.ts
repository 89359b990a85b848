import type { ColumnType } from "./column-type.ts";

/** A table's name; `schema` is null where the database has none inside the connected database. */
export interface TableName {
  readonly schema: string | null;
  readonly name: string;
}

/** A column as a database's catalog shows it, with its meaning. */
export interface ColumnSchema {
  readonly name: string;
  readonly type: ColumnType;
  /** The native type as DDL spells it (`numeric(10,2)`), for people and for drift checks. */
  readonly nativeType: string;
  readonly nullable: boolean;
  /** It cannot be sent: `type` says no more than its name. See refuseUnsupported. */
  readonly unsupported?: true;
  /** Computed by the database from other columns: captured, never written. */
  readonly generated: boolean;
  /** Numbered by the database when not given (identity, serial, AUTO_INCREMENT). */
  readonly identity: boolean;
  /** The collation, where different texts are equal under it (`NOCASE`, `citext`); absent: each is equal to itself alone. */
  readonly looseCollation?: string;
  /** Of a float: the database tells -0 from 0. */
  readonly negativeZero?: true;
  /** The default is a date that no calendar has: 0000-00-00, or one whose month or day is 0. */
  readonly zeroDate?: true;
  /** What the column keeps whatever it is named, and no other ever has in its table; absent where the database tells none. */
  readonly number?: number;
}

/** A table as a database's catalog shows it. */
export interface TableSchema {
  readonly name: TableName;
  readonly columns: readonly ColumnSchema[];
  /**
   * Columns that identify a row: the primary key, else a unique key of not-null columns. Empty: none;
   * rows are then matched by all their values (decision 0017).
   */
  readonly key: readonly string[];
}

/** `public.orders`, or `orders` where there is no schema. Also the identity of a table inside a source. */
export function formatTable(table: TableName): string {
  return table.schema === null ? table.name : `${table.schema}.${table.name}`;
}

export function sameTable(a: TableName, b: TableName): boolean {
  return a.schema === b.schema && a.name === b.name;
}
