import type { TargetTable } from "../../core/target.ts";
import type { Connection } from "./connection.ts";
import { lackOf } from "./errors.ts";
import type { TableFacts } from "./facts.ts";
import { quoteName, sameName } from "./identifiers.ts";

/**
 * What a table's rules call that only its application brings to its own connections (Django's REGEXP in a
 * CHECK, say): no other program can write such a table. SQLite tells as soon as a statement is compiled. It is asked
 * about those that a sync would write: a default calls nothing where its column is given, nor a trigger of another one.
 */
export function unwritable(
  connection: Connection,
  { name, columns }: TableFacts,
  sent: TargetTable,
): string | null {
  const table = quoteName(name);
  const namesIn = (names: readonly string[]) =>
    columns.flatMap((each) =>
      names.some((other) => sameName(each.name, other)) ? [quoteName(each.name)] : [],
    );
  const given = namesIn(sent.columns.map((column) => column.name));
  const key = namesIn(sent.key);
  const changed = given.filter((column) => !key.includes(column));
  for (const sql of [
    `INSERT INTO ${table} (${given.join(", ")}) VALUES (${given.map(() => "?").join(", ")})`,
    `UPDATE ${table} SET ${changed.map((column) => `${column} = ?`).join(", ")}`,
    `DELETE FROM ${table}`,
  ]) {
    try {
      connection.db.prepare(sql);
    } catch (error) {
      const lack = lackOf(error);
      if (lack === null) continue;
      return `${lack} is its application's own, and a rule, an index, a default, a computed column or a trigger of ${name} needs it: make the table anew without that here, or let the sync write another one with \`as\``;
    }
  }
  return null;
}
