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

export function schemaOf(table: TableName): string {
  return table.schema ?? DEFAULT_SCHEMA;
}

export function quoteTable(table: TableName): string {
  return `${quoteIdentifier(schemaOf(table))}.${quoteIdentifier(table.name)}`;
}

export function quoteList(names: readonly string[], prefix = ""): string {
  return names.map((name) => prefix + quoteIdentifier(name)).join(", ");
}
