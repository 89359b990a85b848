import type { Connection } from "./connection.ts";
import { foldName } from "./identifiers.ts";
import { isOurs } from "./ours.ts";

interface StandingTrigger {
  readonly name: string;
  readonly sql: string;
}

/** All triggers of a file by their table: each look at the catalog reads all of it, and there may be thousands of tables. */
const KNOWN = new WeakMap<
  Connection,
  { readonly version: unknown; readonly byTable: ReadonlyMap<string, readonly StandingTrigger[]> }
>();

/** The triggers that stand on a table, ours among them, as they came. */
export function triggersOn(connection: Connection, table: string): readonly StandingTrigger[] {
  return allTriggers(connection).get(foldName(table)) ?? [];
}

function allTriggers(connection: Connection): ReadonlyMap<string, readonly StandingTrigger[]> {
  // SQLite counts every change of the schema.
  const version = connection.value("PRAGMA schema_version");
  const known = KNOWN.get(connection);
  if (known !== undefined && known.version === version) return known.byTable;
  const byTable = readAll(connection);
  KNOWN.set(connection, { version, byTable });
  return byTable;
}

function readAll(connection: Connection): ReadonlyMap<string, readonly StandingTrigger[]> {
  const byTable = new Map<string, StandingTrigger[]>();
  const rows = connection.rows<StandingTrigger & { tbl_name: string }>(
    "SELECT name, sql, tbl_name FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid",
  );
  for (const { tbl_name: table, name, sql } of rows) {
    const triggers = byTable.get(foldName(table)) ?? [];
    triggers.push({ name, sql });
    byTable.set(foldName(table), triggers);
  }
  return byTable;
}

/** Name to text of our triggers that stand on a table. */
export function standingTriggers(connection: Connection, table: string): Map<string, string> {
  const ours = triggersOn(connection, table).filter(({ name }) => isOurs(name));
  return new Map(ours.map(({ name, sql }) => [name, sql]));
}

/**
 * Does an AFTER trigger of the application run before ours? SQLite promises no order, and runs those first that came
 * last. One that fails under OR FAIL or by RAISE(FAIL) leaves the row written, and ends the triggers that are still to run.
 */
export function isOvertaken(connection: Connection, table: string): boolean {
  const triggers = triggersOn(connection, table);
  const first = triggers.findIndex(({ name }) => isOurs(name) && !isNote(name));
  return triggers.slice(first).some(({ name, sql }) => !isOurs(name) && /\bAFTER\b/i.test(sql));
}

/** Is it one of those that note what may be displaced, before a row is written? */
export function isNote(trigger: string): boolean {
  return trigger.endsWith("_displaces");
}

/**
 * Those of these names on any other table. A trigger goes with its table when that is renamed: where another one has taken
 * its place, they are in the way of new ones, and go on to log what is done to the old one.
 */
export function strayedTriggers(
  connection: Connection,
  table: string,
  names: readonly string[],
): readonly string[] {
  const wanted = new Set(names.map(foldName));
  return [...allTriggers(connection)].flatMap(([on, triggers]) =>
    on === foldName(table)
      ? []
      : triggers.filter(({ name }) => wanted.has(foldName(name))).map(({ name }) => name),
  );
}

/**
 * RAISE(IGNORE) in an AFTER trigger ends all triggers of a row that have not fired yet, ours among
 * them, and the row stays written.
 */
export function ignoringTrigger(connection: Connection, table: string): string | null {
  const found = triggersOn(connection, table).find(
    ({ sql }) => /\bAFTER\b/i.test(sql) && /RAISE\s*\(\s*IGNORE\s*\)/i.test(sql),
  );
  return found?.name ?? null;
}
