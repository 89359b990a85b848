import type { Connection } from "./connection.ts";
import { lackOf } from "./errors.ts";
import type { TableFacts } from "./facts.ts";
import { quoteName } from "./identifiers.ts";

/**
 * What a table's rules call that only its application brings to its own connections (Django's REGEXP in a
 * CHECK, say): no other program can write such a table. SQLite tells as soon as a statement is compiled.
 */
export function unwritable(connection: Connection, { name, columns }: TableFacts): string | null {
  const table = quoteName(name);
  const first = columns.find(({ generated }) => !generated);
  const column = first === undefined ? "rowid" : quoteName(first.name);
  for (const sql of [
    `INSERT INTO ${table} DEFAULT VALUES`,
    `UPDATE ${table} SET ${column} = ${column}`,
    `DELETE FROM ${table}`,
  ]) {
    try {
      connection.db.prepare(sql);
    } catch (error) {
      const lack = lackOf(error);
      if (lack === null) continue;
      return `${lack} is its application's own, and a rule, an index, a computed column or a trigger of ${name} needs it: make the table anew without that here, or let the sync write another one with \`as\``;
    }
  }
  return null;
}
