// Tables described once by what their columns mean: their DDL in each dialect, and what stands in
// them in a form that can be compared across databases.
import type { DatabaseKind } from "../servers/index.ts";
import {
  type Dialect,
  dialectOf,
  type Parameter,
  type SqlClient,
  type SqlRow,
} from "./sql-client.ts";

export type Meaning =
  | "smallint"
  | "integer"
  | "bigint"
  | "decimal"
  | "double"
  | "varchar"
  | "text"
  | "bytes"
  | "boolean"
  | "date"
  | "timestamp"
  | "timestamptz"
  | "json";

export interface TestTable {
  readonly name: string;
  readonly columns: Readonly<Record<string, Meaning>>;
  /** Empty: the table has none. */
  readonly key: readonly string[];
  readonly required?: readonly string[];
  /** Column to the table whose key it names. */
  readonly references?: Readonly<Record<string, string>>;
  /** Column to what follows its reference: `ON DELETE CASCADE`. */
  readonly actions?: Readonly<Record<string, string>>;
  readonly unique?: readonly (readonly string[])[];
}

const NATIVE: Readonly<Record<Dialect, Readonly<Record<Meaning, string>>>> = {
  postgres: {
    smallint: "smallint",
    integer: "integer",
    bigint: "bigint",
    decimal: "numeric(20,4)",
    double: "double precision",
    varchar: "varchar(200)",
    text: "text",
    bytes: "bytea",
    boolean: "boolean",
    date: "date",
    timestamp: "timestamp",
    timestamptz: "timestamptz",
    json: "jsonb",
  },
  mariadb: {
    smallint: "smallint",
    integer: "int",
    bigint: "bigint",
    decimal: "decimal(20,4)",
    double: "double",
    varchar: "varchar(200)",
    text: "longtext",
    bytes: "longblob",
    boolean: "boolean",
    date: "date",
    timestamp: "datetime(6)",
    timestamptz: "timestamp(6)",
    json: "json",
  },
  sqlite: {
    smallint: "SMALLINT",
    integer: "INT",
    bigint: "BIGINT",
    decimal: "DECIMAL(20,4)",
    double: "DOUBLE",
    varchar: "VARCHAR(200)",
    text: "TEXT",
    bytes: "BLOB",
    boolean: "BOOLEAN",
    date: "DATE",
    timestamp: "DATETIME",
    timestamptz: "TIMESTAMP",
    json: "JSON",
  },
};

/** A name as each dialect quotes it. */
export function quote(dialect: Dialect, name: string): string {
  const mark = dialect === "mariadb" ? "`" : '"';
  return `${mark}${name.replaceAll(mark, mark + mark)}${mark}`;
}

export function createStatement(kind: DatabaseKind, table: TestTable): string {
  const dialect = dialectOf(kind);
  const q = (name: string) => quote(dialect, name);
  const list = (names: readonly string[]) => names.map(q).join(", ");
  const must = new Set([...table.key, ...(table.required ?? [])]);
  const unique = new Set([...table.key, ...(table.unique ?? []).flat()]);
  const columns = Object.entries(table.columns).map(([name, meaning]) => {
    const isText = meaning === "varchar" || meaning === "text";
    const collation = dialect === "mariadb" && isText && unique.has(name) ? exact(kind) : "";
    // MariaDB gives a TIMESTAMP that is not said to be NULL a default of its own.
    const nullable = must.has(name) ? "NOT NULL" : "NULL";
    return `${q(name)} ${NATIVE[dialect][meaning]} ${collation} ${nullable}`;
  });
  const foreign = Object.entries(table.references ?? {}).map(
    ([column, parent]) =>
      `FOREIGN KEY (${q(column)}) REFERENCES ${q(parent)} (${q("id")}) ${table.actions?.[column] ?? ""}`,
  );
  const uniques = (table.unique ?? []).map((names) => `UNIQUE (${list(names)})`);
  const key = table.key.length === 0 ? [] : [`PRIMARY KEY (${list(table.key)})`];
  const parts = [...columns, ...key, ...uniques, ...foreign];
  return `CREATE TABLE ${q(table.name)} (${parts.join(", ")})`;
}

/** Tells every text apart, in MariaDB or MySQL: what is unique is refused at a target where it does not. */
export function exact(kind: DatabaseKind): string {
  const name = kind === "mysql" ? "utf8mb4_0900_bin" : "utf8mb4_nopad_bin";
  return `CHARACTER SET utf8mb4 COLLATE ${name}`;
}

/** The table as it must stand at a target so that every value of the source fits. */
export function asTarget(table: TestTable, source: DatabaseKind, target: DatabaseKind): TestTable {
  // SQLite holds to no length and no range.
  if (source !== "sqlite" || dialectOf(target) !== "postgres") return table;
  const wider: Partial<Record<Meaning, Meaning>> = { integer: "bigint", varchar: "text" };
  const columns = Object.entries(table.columns).map(
    ([name, meaning]) => [name, wider[meaning] ?? meaning] as const,
  );
  return { ...table, columns: Object.fromEntries(columns) };
}

export async function createTables(
  sql: SqlClient,
  kind: DatabaseKind,
  tables: readonly TestTable[],
): Promise<void> {
  for (const table of tables) await sql.run(createStatement(kind, table));
}

/** A row for any of the databases: text in the column's canonical form, bytes as a Buffer. */
export type TestRow = Readonly<Record<string, string | number | boolean | Buffer | null>>;

export async function insertRow(sql: SqlClient, table: TestTable, row: TestRow): Promise<void> {
  const names = Object.keys(row);
  const columns = names.map((name) => quote(sql.dialect, name)).join(", ");
  const marks = names.map(() => "?").join(", ");
  const values = Object.values(row).map((value): Parameter => {
    if (typeof value !== "boolean") return value;
    return sql.dialect === "postgres" ? String(value) : Number(value);
  });
  const into = `INSERT INTO ${quote(sql.dialect, table.name)} (${columns})`;
  await sql.run(`${into} VALUES (${marks})`, values);
}

/** Every table, trigger, function and schema that stands in a database, by name. */
export async function inventory(sql: SqlClient): Promise<readonly string[]> {
  const rows = await sql.rows(INVENTORY[sql.dialect]);
  return rows.map(({ thing }) => thing ?? "").sort();
}

const INVENTORY: Readonly<Record<Dialect, string>> = {
  postgres: `
    SELECT 'class ' || oid::regclass AS thing FROM pg_class
      WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'function ' || proname FROM pg_proc
      WHERE pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%'`,
  mariadb: `
    SELECT CONCAT('table ', table_name) AS thing FROM information_schema.tables WHERE table_schema = DATABASE()
    UNION ALL SELECT CONCAT('trigger ', trigger_name) FROM information_schema.triggers WHERE trigger_schema = DATABASE()
    UNION ALL SELECT CONCAT('routine ', routine_name) FROM information_schema.routines WHERE routine_schema = DATABASE()`,
  sqlite: "SELECT type || ' ' || name AS thing FROM sqlite_schema",
};

/** Every row as it is meant, in the order of its key, or of the whole row: equal on two sides when the data are equal. */
export async function contents(
  sql: SqlClient,
  table: Pick<TestTable, "name" | "columns" | "key">,
): Promise<SqlRow[]> {
  const q = (name: string) => quote(sql.dialect, name);
  // By names of ours: no driver keeps all of theirs apart from what an object has.
  const columns = Object.entries(table.columns).map(
    ([name, meaning], i) => `${expression(sql.dialect, q(name), meaning)} AS column_${i}`,
  );
  const rows = await sql.rows(`SELECT ${columns.join(", ")} FROM ${q(table.name)}`);
  const meant = rows.map((row) =>
    Object.fromEntries(
      Object.entries(table.columns).map(([name, meaning], i) => [
        name,
        canonical(row[`column_${i}`] ?? null, meaning),
      ]),
    ),
  );
  const order = table.key.length === 0 ? Object.keys(table.columns) : table.key;
  const keyOf = (row: SqlRow) => JSON.stringify(order.map((name) => row[name]));
  return meant.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function expression(dialect: Dialect, column: string, meaning: Meaning): string {
  if (meaning === "bytes") {
    if (dialect === "postgres") return `encode(${column}, 'hex')`;
    // SQLite gives an empty text for the hex of NULL.
    return `CASE WHEN ${column} IS NULL THEN NULL ELSE lower(hex(${column})) END`;
  }
  return dialect === "postgres" ? `${column}::text` : column;
}

function canonical(text: string | null, meaning: Meaning): string | null {
  if (text === null) return null;
  switch (meaning) {
    case "boolean":
      return /^(t|true|1)$/.test(text) ? "true" : "false";
    case "decimal":
      return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
    case "double":
      return printDouble(Number(text));
    case "timestamp":
    case "timestamptz":
      return text
        .replace(/\+00(:00)?$/, "")
        .replace(/(\.\d*?)0+$/, "$1")
        .replace(/\.$/, "");
    case "json":
      return JSON.stringify(sorted(JSON.parse(text)));
    default:
      return text;
  }
}

function printDouble(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
