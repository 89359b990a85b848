// A table like those of applications: eight columns, about 125 bytes a row as text.
import type { Database } from "../database.ts";

export const WIDE = "wide";

export async function createWide(database: Database): Promise<void> {
  await database.query(`CREATE TABLE wide (
    id serial PRIMARY KEY,
    account integer NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    amount numeric(12, 2) NOT NULL,
    created_at timestamptz NOT NULL,
    active boolean NOT NULL,
    note text
  )`);
}

/** One statement, ids from 1. */
export function insertWide(rows: number): string {
  return `INSERT INTO wide
    SELECT g, g % 1000, 'code ' || g % 100, 'name of ' || g, g * 1.37,
           timestamptz '2026-01-01 00:00:00Z' + g * interval '1 second', g % 3 = 0,
           'a note about row ' || md5(g::text)
    FROM generate_series(1, ${rows}) g`;
}

export const UPDATE_WIDE = "UPDATE wide SET amount = amount + 1, note = note || '.'";

/** For pgbench: one row in one transaction. */
export const INSERT_ONE = `\\set account random(1, 1000)
INSERT INTO wide (account, code, name, amount, created_at, active, note)
VALUES (:account, 'code 7', 'name of one', 13.37, now(), true, 'a note about one row, fifty characters long or so');
`;
