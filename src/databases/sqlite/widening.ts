import { type CaptureShape, lackingColumns, widenLog } from "./capture.ts";
import type { Connection } from "./connection.ts";
import { LOG, SOURCE_TABLES } from "./ours.ts";
import { type Turns, writeInTurns } from "./turns.ts";

/**
 * So long the log is made wider at a time, and so long writers that waited have their turn. SQLite asks anew every 100 ms at most, and more
 * than half of the time is theirs: who waits, waits for a few turns.
 */
const WIDENING = { heldMs: 25, pauseMs: 35 };
/** In readings of the schema, where those take longer: three times what nobody may meet, since others may have less of the machine than we. */
const READINGS = { held: 2, pause: 4 };

/**
 * Makes the log wide enough for tables. One that was used gets a few columns at a time: SQLite checks the whole schema for each,
 * which in a large one takes minutes for a wide table, and nobody could write meanwhile. Columns that nothing fills yet do no harm.
 */
export async function widenInTurns(
  connection: Connection,
  shapes: readonly CaptureShape[],
  openReader: () => Promise<Connection>,
): Promise<void> {
  const lacks = () => connection.read(() => widenLog(connection, shapes));
  if ((await lacks()).length === 0) return;
  await connection.write(() => remakeUnused(connection, shapes));
  const statements = await lacks();
  if (statements.length === 0) return;
  const widen = (at: number) => {
    connection.db.exec(statements[at] ?? "");
    return at + 1;
  };
  const all = { start: 0, end: statements.length };
  await writeInTurns(connection, all, widen, await turnsFor(openReader));
}

/** Makes the log anew, by one change of the schema; within a write transaction. Only where nothing was ever logged. */
function remakeUnused(connection: Connection, shapes: readonly CaptureShape[]): void {
  const used = `SELECT 1 FROM sqlite_sequence WHERE name = ? UNION ALL SELECT 1 FROM ${LOG} LIMIT 1`;
  if (connection.value(used, LOG) !== undefined) return;
  const made = String(connection.value("SELECT sql FROM sqlite_schema WHERE name = ?", LOG));
  const lacking = lackingColumns(connection, shapes).join(", ");
  const wide = made.replace(/\s*\)$/, `, ${lacking}\n)`);
  connection.db.exec(`DROP TABLE ${LOG}; ${wide}; ${SOURCE_TABLES.tidemark_displaced}`);
}

/**
 * Whoever prepares a statement reads the schema, and once more where it has changed meanwhile; a third time is an error of the
 * application ("database schema has changed"). So our commits lie much farther apart than two such readings.
 */
async function turnsFor(openReader: () => Promise<Connection>): Promise<Turns> {
  const begun = performance.now();
  const reader = await openReader();
  await reader.close();
  const readingMs = performance.now() - begun;
  return {
    heldMs: Math.max(WIDENING.heldMs, READINGS.held * readingMs),
    pauseMs: Math.max(WIDENING.pauseMs, READINGS.pause * readingMs),
  };
}
