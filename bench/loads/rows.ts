// One-row transactions that all kinds of database take, from this process.
import type { SqlClient } from "../../test/support/sql-client.ts";

export const ROWS = "bench_rows";
export const COLUMNS = ["id", "account", "code", "amount", "note"] as const;
const NOTE = "a note about one row, fifty characters long or so. ";

const TYPES = {
  postgres:
    "id bigint PRIMARY KEY, account int NOT NULL, code text, amount numeric(12, 2), note text",
  mariadb:
    "id bigint PRIMARY KEY, account int NOT NULL, code varchar(40), amount decimal(12, 2), note mediumtext",
  sqlite: "id INTEGER PRIMARY KEY, account INTEGER NOT NULL, code TEXT, amount NUMERIC, note TEXT",
};

export async function createRows(sql: SqlClient, table: string): Promise<void> {
  await sql.run(`CREATE TABLE ${table} (${TYPES[sql.dialect]})`);
}

/** `width`: characters of the note. */
export function noteOf(width: number): string {
  return NOTE.repeat(Math.ceil(width / NOTE.length)).slice(0, width);
}

/** Committed when it resolves. */
export async function insertRow(
  sql: SqlClient,
  id: number,
  { table = ROWS, note = NOTE }: { table?: string; note?: string } = {},
): Promise<void> {
  await sql.run(`INSERT INTO ${table} (${COLUMNS.join(", ")}) VALUES (?, ?, ?, ?, ?)`, [
    ...[id, id % 1000, `code ${id % 100}`, "13.37", note],
  ]);
}

/** Many at once, for a table that is there before anything is measured. */
export async function fillRows(sql: SqlClient, from: number, to: number): Promise<void> {
  const STEP = 500;
  await sql.begin();
  for (let first = from; first <= to; first += STEP) {
    const last = Math.min(first + STEP - 1, to);
    const rows = [];
    for (let id = first; id <= last; id++) {
      rows.push(`(${id}, ${id % 1000}, 'code ${id % 100}', 13.37, '${NOTE}')`);
    }
    await sql.run(`INSERT INTO ${ROWS} (${COLUMNS.join(", ")}) VALUES ${rows.join(", ")}`);
  }
  await sql.commit();
}
