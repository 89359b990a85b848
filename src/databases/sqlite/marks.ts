// What tells a target's table from another one that takes its place: see ApplierSession.markOf.
import { randomUUID } from "node:crypto";
import type { Connection } from "./connection.ts";
import { foldName, quoteName } from "./identifiers.ts";
import { isMark, MARK } from "./ours.ts";

/** Its mark tells a dump that took no triggers along from a table that was made anew. */
const KEPT_IN = "tidemark_progress_tables";
const NONE = "none";
/** What is said before that. */
export const MARKS = `each of its tables gets a trigger that never fires, ${MARK}… and a random number: it tells the table from another one that takes its place`;
/** Marked in one transaction, in which nobody else can write. */
const TABLES_AT_A_TIME = 50;

/** By folded name of the table. */
type Marks = ReadonlyMap<string, string>;

/**
 * SQLite gives a table nothing that is its own for good: VACUUM moves it to another page, dumps to another row of the schema. So it
 * bears a trigger that never fires. That goes with it when it is dropped or renamed, and comes back with VACUUM, dumps and backups.
 * Of UPDATE, since SQLite empties and fills a table faster where it has no trigger of DELETE or INSERT, and of the key, which is
 * hardly ever set: other updates are planned as if there were none.
 */
export async function markTables(connection: Connection, tables: readonly string[]): Promise<void> {
  const unmarked = await connection.read(() => unmarkedOf(connection, [KEPT_IN, ...tables]));
  for (let at = 0; at < unmarked.length; at += TABLES_AT_A_TIME) {
    const group = unmarked.slice(at, at + TABLES_AT_A_TIME);
    await connection.write(() => {
      // Another sync may have marked some since.
      for (const table of unmarkedOf(connection, group)) {
        connection.db.exec(
          `CREATE TRIGGER ${MARK}${randomUUID().replaceAll("-", "")} AFTER UPDATE${ofKey(connection, table)} ON ${quoteName(table)} WHEN 0 BEGIN SELECT 1; END`,
        );
      }
    });
  }
}

/** Of a table without a key no column is named: it could not be dropped any more. */
function ofKey(connection: Connection, table: string): string {
  const first = "SELECT name FROM pragma_table_info(?) WHERE pk = 1";
  const key = connection.row<{ name: string }>(first, table);
  return key === undefined ? "" : ` OF ${quoteName(key.name)}`;
}

export function areMarked(connection: Connection, tables: readonly string[]): boolean {
  const marks = marksIn(connection);
  return tables.every((table) => marks.has(foldName(table)));
}

/** By table; of those that stand. */
export function readMarks(
  connection: Connection,
  tables: readonly string[],
): ReadonlyMap<string, string> {
  const marks = marksIn(connection);
  const kept = marks.get(KEPT_IN) ?? NONE;
  return new Map(
    standingOf(connection, tables).map((table) => [
      table,
      `${kept}/${marks.get(foldName(table)) ?? NONE}`,
    ]),
  );
}

function unmarkedOf(connection: Connection, tables: readonly string[]): readonly string[] {
  const marks = marksIn(connection);
  return standingOf(connection, tables).filter((table) => !marks.has(foldName(table)));
}

function marksIn(connection: Connection): Marks {
  const triggers = connection.rows<{ name: string; tbl_name: string }>(
    "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger'",
  );
  return new Map(
    triggers
      .filter(({ name }) => isMark(name))
      .map(({ name, tbl_name }) => [foldName(tbl_name), name.slice(MARK.length)]),
  );
}

/** Virtual tables have no page, and take no triggers. */
function standingOf(connection: Connection, tables: readonly string[]): readonly string[] {
  const standing = new Set(
    connection
      .rows<{ name: string }>(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0",
      )
      .map(({ name }) => foldName(name)),
  );
  return tables.filter((table) => standing.has(foldName(table)));
}
