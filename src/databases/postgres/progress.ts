import {
  type OthersTable,
  type Place,
  type Progress,
  sameTableProgress,
  type TableProgress,
} from "../../core/target.ts";
import type { Connection, Parameter, Row } from "./connection.ts";
import { checkPins } from "./pins.ts";
import { formatArrayText } from "./row-text.ts";

/** First use: every later statement may count on the row. */
export async function ensureProgress(connection: Connection, sync: string): Promise<void> {
  await connection.run(
    "INSERT INTO tidemark.progress (sync) VALUES ($1) ON CONFLICT (sync) DO NOTHING",
    [sync],
  );
}

export async function loadProgress(connection: Connection, sync: string): Promise<Progress> {
  const [place, tables] = await Promise.all([
    loadPlace(connection, sync),
    connection.rows(
      "SELECT source_table, state, cursor, copy, has_rows FROM tidemark.progress_tables WHERE sync = $1 ORDER BY 1",
      [sync],
    ),
  ] as const);
  return { ...place, tables: tables.map(toTableProgress) };
}

export async function loadPlace(connection: Connection, sync: string): Promise<Place> {
  const [row] = await connection.rows(
    "SELECT timeline, batch, chunk, hash FROM tidemark.progress WHERE sync = $1",
    [sync],
  );
  const [timeline, batch, chunk, hash] = (row ?? ["", "0", "0", ""]) as string[];
  return {
    timeline: timeline as string,
    position: { batch: Number(batch), chunk: Number(chunk) },
    hash: hash as string,
  };
}

function toTableProgress([table, state, cursor, copy, hasRows]: Row): TableProgress {
  return {
    table: table as string,
    state: state as TableProgress["state"],
    cursor: cursor ?? null,
    copy: copy as string,
    hasRows: hasRows === "t",
  };
}

export async function loadOthers(
  connection: Connection,
  sync: string,
): Promise<readonly OthersTable[]> {
  const rows = await connection.rows(
    "SELECT sync, source_table, state, copy FROM tidemark.progress_tables WHERE sync <> $1 ORDER BY 1, 2",
    [sync],
  );
  return (rows as string[][]).map(
    ([other, table, state, copy]) => ({ sync: other, table, state, copy }) as OthersTable,
  );
}

export async function forgetCopies(
  connection: Connection,
  copies: readonly OthersTable[],
): Promise<void> {
  const columns = [
    copies.map(({ sync }) => sync),
    copies.map(({ table }) => table),
    copies.map(({ copy }) => copy),
  ];
  await connection.run(
    `DELETE FROM tidemark.progress_tables p
     USING unnest($1::text[], $2::text[], $3::text[]) AS w(sync, source_table, copy)
     WHERE p.sync = w.sync AND p.source_table = w.source_table AND p.copy = w.copy`,
    columns.map(formatArrayText),
  );
}

/**
 * Locks the row if it is still as expected. Otherwise it divides by zero: an error aborts the
 * transaction at the server, so that statements already sent behind this one do nothing.
 */
export const LOCK_PROGRESS = `
SELECT 1 / count(*) FROM (
  SELECT FROM tidemark.progress
  WHERE sync = $1 AND timeline = $2 AND batch = $3 AND chunk = $4 AND hash = $5 FOR UPDATE
) AS expected`;

/**
 * Moves the row on, under the same condition and with the same way to fail. Each statement costs the
 * server and the wire, so this one also asks whether the tables are as they were (pins.ts).
 */
export const ADVANCE_PROGRESS = `
WITH advanced AS (
  UPDATE tidemark.progress
  SET timeline = $6, batch = $7, chunk = $8, hash = $9, applied_at = clock_timestamp()
  WHERE sync = $1 AND timeline = $2 AND batch = $3 AND chunk = $4 AND hash = $5
  RETURNING 1
)
SELECT 1 / (SELECT count(*) FROM advanced), ${checkPins("$10", "$11")}`;

export const PUT_TABLE_PROGRESS = `
INSERT INTO tidemark.progress_tables (sync, source_table, state, cursor, copy, has_rows)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (sync, source_table) DO UPDATE
SET state = excluded.state, cursor = excluded.cursor, copy = excluded.copy, has_rows = excluded.has_rows`;

export const DROP_TABLE_PROGRESS =
  "DELETE FROM tidemark.progress_tables WHERE sync = $1 AND source_table = $2";

export const DIVISION_BY_ZERO = "22012";

export function progressValues({ timeline, position, hash }: Progress): Parameter[] {
  return [timeline, String(position.batch), String(position.chunk), hash];
}

/** Tables whose progress changes, and those that are no longer named. */
export function changedTables(
  before: Progress,
  next: Progress,
): { readonly put: readonly TableProgress[]; readonly drop: readonly string[] } {
  if (before.tables === next.tables) return { put: [], drop: [] };
  const known = new Map(before.tables.map((table) => [table.table, table]));
  const named = new Set(next.tables.map((table) => table.table));
  return {
    put: next.tables.filter((table) => {
      const old = known.get(table.table);
      return old === undefined || !sameTableProgress(old, table);
    }),
    drop: [...known.keys()].filter((table) => !named.has(table)),
  };
}
