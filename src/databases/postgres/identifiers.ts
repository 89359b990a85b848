import type { TableName } from "../../core/table.ts";

/** The schema of everything of ours. */
export const OUR_SCHEMA = "tidemark";

/** The schema meant when a table's name has none. */
export const DEFAULT_SCHEMA = "public";

/** The only place where a name becomes SQL. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text as an SQL literal; safe whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes("\\") ? `E${quoted.replaceAll("\\", "\\\\")}` : quoted;
}

const LONGEST_NAME = 63;

/** Why the server would not take the name as it is, and what to do; null when it does. It cuts longer ones short. */
export function nameProblem(name: string, otherwise: string): string | null {
  if (name === "") return `PostgreSQL takes no empty name: give it one with ${otherwise}`;
  const bytes = Buffer.byteLength(name);
  if (bytes <= LONGEST_NAME) return null;
  return `the name ${name} has ${bytes} bytes, and PostgreSQL takes ${LONGEST_NAME}: give it another one with ${otherwise}`;
}

/** What each table has beside its own columns. */
const SYSTEM_COLUMNS = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

export function schemaProblem(name: string): string | null {
  return name.startsWith("pg_")
    ? `PostgreSQL keeps the schema ${name} for itself: give the table another place with \`as\``
    : nameProblem(name, "`as`");
}

export function columnProblem(name: string): string | null {
  return SYSTEM_COLUMNS.includes(name)
    ? `each table of PostgreSQL has a column ${name} of the system: give it another name with \`rename\``
    : nameProblem(name, "`rename`");
}

export function schemaOf(table: TableName): string {
  return table.schema ?? DEFAULT_SCHEMA;
}

export function quoteTable(table: TableName): string {
  return `${quoteIdentifier(schemaOf(table))}.${quoteIdentifier(table.name)}`;
}

export function quoteList(names: readonly string[]): string {
  return names.map(quoteIdentifier).join(", ");
}
