// What tells a target's table from another one that takes its place: see ApplierSession.markOf.
import type { BoundTable } from "../../core/target.ts";
import { findTables, tableKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";

/** Oid of the table that progress of tables stands in; null where there is none. */
export const KEPT_IN = "SELECT to_regclass('tidemark.progress_tables')::oid";

export function markOf(keptIn: string, oid: string | undefined): string {
  return `${keptIn}/${oid}`;
}

/** Of those that stand; none where no sync has worked. */
export async function loadMarks(
  connection: Connection,
  tables: readonly BoundTable[],
): Promise<ReadonlyMap<BoundTable, string>> {
  const [kept] = await connection.rows(KEPT_IN);
  const keptIn = kept?.[0] ?? null;
  if (keptIn === null) return new Map();
  const found = await findTables(
    connection,
    tables.map(({ name }) => name),
  );
  return new Map(
    tables.flatMap((table) => {
      const oid = found.get(tableKey(table.name))?.oid;
      return oid === undefined ? [] : [[table, markOf(keptIn, oid)] as const];
    }),
  );
}
