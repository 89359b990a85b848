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

/** The triggers that stand on a table, ours among them. */
export function triggersOn(connection: Connection, table: string): readonly StandingTrigger[] {
  // SQLite counts every change of the schema.
  const version = connection.value("PRAGMA schema_version");
  let known = KNOWN.get(connection);
  if (known?.version !== version) {
    known = { version, byTable: readAll(connection) };
    KNOWN.set(connection, known);
  }
  return known?.byTable.get(foldName(table)) ?? [];
}

function readAll(connection: Connection): ReadonlyMap<string, readonly StandingTrigger[]> {
  const byTable = new Map<string, StandingTrigger[]>();
  const rows = connection.rows<StandingTrigger & { tbl_name: string }>(
    "SELECT name, sql, tbl_name FROM sqlite_schema WHERE type = 'trigger'",
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
 * RAISE(IGNORE) in an AFTER trigger ends all triggers of a row that have not fired yet, ours among
 * them, and the row stays written.
 */
export function ignoringTrigger(connection: Connection, table: string): string | null {
  const found = triggersOn(connection, table).find(
    ({ sql }) => /\bAFTER\b/i.test(sql) && /RAISE\s*\(\s*IGNORE\s*\)/i.test(sql),
  );
  return found?.name ?? null;
}
