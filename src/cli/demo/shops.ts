import { existsSync } from "node:fs";
import { loadSqlite } from "../../core/sqlite-warning.ts";

/** What the demo shows of one side; null before the table is there. */
export interface Counts {
  readonly customers: number | null;
  readonly orders: number | null;
  /** Name of customer 1, the row the user is invited to change. */
  readonly firstName: string | null;
}

type Database = InstanceType<ReturnType<typeof loadSqlite>["DatabaseSync"]>;

/** Looks at both files as any other program would: read-only, from outside the pipeline. */
export class Shops {
  readonly #paths: { readonly source: string; readonly target: string };
  #source: Database | null = null;
  #target: Database | null = null;

  constructor(paths: { readonly source: string; readonly target: string }) {
    this.#paths = paths;
  }

  countSource(): Counts {
    this.#source ??= openReader(this.#paths.source);
    return count(this.#source);
  }

  countTarget(): Counts {
    this.#target ??= openReader(this.#paths.target);
    return count(this.#target);
  }

  close(): void {
    this.#source?.close();
    this.#target?.close();
  }
}

function openReader(path: string): Database | null {
  if (!existsSync(path)) return null;
  const { DatabaseSync } = loadSqlite();
  const database = new DatabaseSync(path, { readOnly: true });
  database.exec("PRAGMA busy_timeout = 2000");
  return database;
}

function count(database: Database | null): Counts {
  const tables = new Set(
    database
      ?.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
      .all()
      .map((row) => row.name),
  );
  const ask = (table: string, sql: string): unknown => {
    if (database === null || !tables.has(table)) return null;
    return database.prepare(sql).get()?.value ?? null;
  };
  return {
    customers: ask("customers", "SELECT count(*) AS value FROM customers") as number | null,
    orders: ask("orders", "SELECT count(*) AS value FROM orders") as number | null,
    firstName: ask("customers", "SELECT name AS value FROM customers WHERE id = 1") as
      | string
      | null,
  };
}
