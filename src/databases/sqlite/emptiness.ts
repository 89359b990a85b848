import type { BoundTable } from "../../core/target.ts";
import type { Connection } from "./connection.ts";
import { readTable } from "./facts.ts";
import { quoteName } from "./identifiers.ts";

/** How many rows the table holds, `limit` at most. */
export function countRows(connection: Connection, { name }: BoundTable, limit: number): number {
  const counted = `(SELECT 1 FROM ${quoteName(name.name)} LIMIT ${limit})`;
  return Number(connection.value(`SELECT count(*) FROM ${counted}`));
}

/** Which of these stand and hold rows. */
export function filledOf(
  connection: Connection,
  tables: readonly BoundTable[],
): readonly BoundTable[] {
  return tables.filter(
    (table) =>
      readTable(connection, table.name.name) !== null && countRows(connection, table, 1) > 0,
  );
}
