import type { Connection } from "./connection.ts";
import { foldName, quoteName } from "./identifiers.ts";
import { isMark, isOurs } from "./ours.ts";

interface StandingTrigger {
  readonly name: string;
  readonly sql: string;
}

interface Standing {
  readonly byTable: ReadonlyMap<string, readonly StandingTrigger[]>;
  /** See {@link isPutBack}. */
  readonly putBack: ReadonlySet<string>;
}

/** Of all tables of a file: each look at the catalog reads all of it, and there may be thousands of tables. */
const KNOWN = new WeakMap<Connection, { readonly version: unknown; readonly all: Standing }>();

/** The triggers that stand on a table, ours of its capture among them, as they came. */
export function triggersOn(connection: Connection, table: string): readonly StandingTrigger[] {
  return standing(connection).byTable.get(foldName(table)) ?? [];
}

/**
 * Were triggers of ours dropped, or the table made anew, and they put back by somebody else as they were? So does who rebuilds
 * a table as SQLite's own guide has it, and who loads many rows. They stand behind the last trigger that we have made, or the
 * table behind our last index (where all triggers of the file were put back). ALTER TABLE keeps places; VACUUM and dumps put
 * tables before indexes, and keep the order of triggers.
 */
export function isPutBack(connection: Connection, table: string): boolean {
  return standing(connection).putBack.has(foldName(table));
}

/** A trigger that never fires, and an index. By their name, too, they are the last: some tools dump by names. */
const ANCHOR = "tidemark_zz_anchor";

/** Do both stand? Versions before made none. */
export function isAnchored(connection: Connection): boolean {
  return connection.value("SELECT count(*) FROM sqlite_schema WHERE name = ?", ANCHOR) === 2n;
}

/** What makes both the last, to be asked for before the triggers of these tables are made, and run after. */
export function anchoring(connection: Connection, tables: readonly string[]): readonly string[] {
  const made = new Set(tables.map(foldName));
  // Of others their place would tell no more: that they are missing does, to whoever carries those.
  const others = [...standing(connection).putBack].filter((table) => !made.has(table));
  return [
    ...others
      .flatMap((table) => [...standingTriggers(connection, table).keys()])
      .map((name) => `DROP TRIGGER IF EXISTS ${quoteName(name)}`),
    ...connection
      .rows<{ type: string }>(
        "SELECT upper(type) AS type FROM sqlite_schema WHERE name = ?",
        ANCHOR,
      )
      .map(({ type }) => `DROP ${type} ${ANCHOR}`),
    `CREATE INDEX ${ANCHOR} ON tidemark_source (id)`,
    `CREATE TRIGGER ${ANCHOR} AFTER DELETE ON tidemark_source WHEN 0 BEGIN SELECT 1; END`,
  ];
}

function standing(connection: Connection): Standing {
  // SQLite counts every change of the schema.
  const version = connection.value("PRAGMA schema_version");
  const known = KNOWN.get(connection);
  if (known !== undefined && known.version === version) return known.all;
  const all = readAll(connection);
  KNOWN.set(connection, { version, all });
  return all;
}

function readAll(connection: Connection): Standing {
  const byTable = new Map<string, StandingTrigger[]>();
  const putBack = new Set<string>();
  const behind = new Set<string>();
  const rows = connection.rows<StandingTrigger & { type: string; tbl_name: string }>(
    "SELECT type, name, sql, tbl_name FROM sqlite_schema WHERE type IN ('table', 'trigger') OR name = ? ORDER BY rowid",
    ANCHOR,
  );
  for (const { type, tbl_name, name, sql } of rows) {
    // Of a target, in the same file.
    if (isMark(name)) continue;
    const table = foldName(tbl_name);
    if (name === ANCHOR) behind.add(type === "index" ? "table" : type);
    else if (behind.has(type) && (type === "table" || (isOurs(name) && !isNote(name)))) {
      putBack.add(table);
    }
    if (type !== "trigger") continue;
    const triggers = byTable.get(table) ?? [];
    triggers.push({ name, sql });
    byTable.set(table, triggers);
  }
  return { byTable, putBack };
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
