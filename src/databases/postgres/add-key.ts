import { newKeyColumn } from "../../core/new-key.ts";
import type { TableSchema } from "../../core/table.ts";
import { quoteIdentifier, quoteTable } from "./identifiers.ts";

/** The statement that gives a key to a table that has none. */
export function addKey({ name, columns }: Pick<TableSchema, "name" | "columns">): string {
  const column = quoteIdentifier(newKeyColumn(columns));
  return `ALTER TABLE ${quoteTable(name)} ADD COLUMN ${column} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY`;
}
