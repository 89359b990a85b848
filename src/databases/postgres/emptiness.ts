import { emptyAmong } from "../../core/emptiness.ts";
import type { BoundTable } from "../../core/target.ts";
import { findTables, tableKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { quoteTable } from "./identifiers.ts";

/** Which of these hold no row. All must stand. */
export function emptyOf(
  connection: Connection,
  tables: readonly BoundTable[],
): Promise<readonly BoundTable[]> {
  return emptyAmong(tables, (sql) => connection.rows(sql), quoteTable);
}

/** Which of these stand and hold rows. */
export async function filledOf(
  connection: Connection,
  tables: readonly BoundTable[],
): Promise<readonly BoundTable[]> {
  const found = await findTables(
    connection,
    tables.map(({ name }) => name),
  );
  const standing = tables.filter(({ name }) => found.has(tableKey(name)));
  const empty = new Set(await emptyOf(connection, standing));
  return standing.filter((table) => !empty.has(table));
}
