import type { Connection } from "./connection.ts";
import { foldName, quoteName } from "./identifiers.ts";
import { isOurs } from "./ours.ts";

interface StandingTrigger {
  readonly name: string;
  readonly sql: string;
}

interface Standing {
  readonly byTable: ReadonlyMap<string, readonly StandingTrigger[]>;
  /** See {@link isMadeAnew}. */
  readonly madeAnew: ReadonlySet<string>;
}

/** Of all tables of a file: each look at the catalog reads all of it, and there may be thousands of tables. */
const KNOWN = new WeakMap<Connection, { readonly version: unknown; readonly all: Standing }>();

/** The triggers that stand on a table, ours among them, as they came. */
export function triggersOn(connection: Connection, table: string): readonly StandingTrigger[] {
  return standing(connection).byTable.get(foldName(table)) ?? [];
}

/**
 * Was the table made after the last ones were captured? Who rebuilds a table as SQLite's own guide has it copies the rows
 * into a new one, drops the old, and puts all triggers back as they were: ours, too, and nothing else tells that the rows
 * may be others. A place in the catalog is kept by ALTER TABLE, and VACUUM and dumps put tables before indexes.
 */
export function isMadeAnew(connection: Connection, table: string): boolean {
  return standing(connection).madeAnew.has(foldName(table));
}

const ANCHOR = "tidemark_anchor";

/** Statements that put the index whose place tells that behind these tables, which are captured now. */
export function anchoring(connection: Connection, tables: readonly string[]): readonly string[] {
  const isThere = connection.value("SELECT 1 FROM sqlite_schema WHERE name = ?", ANCHOR) === 1n;
  if (isThere && !tables.some((table) => isMadeAnew(connection, table))) return [];
  const captured = new Set(tables.map(foldName));
  const { byTable, madeAnew } = standing(connection);
  // Of others its place would tell no more: that their triggers are missing does, to whoever carries them.
  const others = [...madeAnew].filter((table) => !captured.has(table));
  const ours = others
    .flatMap((table) => byTable.get(table) ?? [])
    .filter(({ name }) => isOurs(name));
  return [
    ...ours.map(({ name }) => `DROP TRIGGER ${quoteName(name)}`),
    ...(isThere ? [`DROP INDEX ${ANCHOR}`] : []),
    `CREATE INDEX ${ANCHOR} ON tidemark_source (id)`,
  ];
}

function standing(connection: Connection): Standing {
  // SQLite counts every change of the schema.
  const version = connection.value("PRAGMA schema_version");
  const known = KNOWN.get(connection);
  if (known !== undefined && known.version === version) return known.all;
  const all = { byTable: readTriggers(connection), madeAnew: readMadeAnew(connection) };
  KNOWN.set(connection, { version, all });
  return all;
}

function readMadeAnew(connection: Connection): ReadonlySet<string> {
  const rows = connection.rows<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type = 'table'
     AND rowid > (SELECT rowid FROM sqlite_schema WHERE name = ?)`,
    ANCHOR,
  );
  return new Set(rows.map(({ name }) => foldName(name)));
}

function readTriggers(connection: Connection): ReadonlyMap<string, readonly StandingTrigger[]> {
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
  return [...standing(connection).byTable].flatMap(([on, triggers]) =>
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
