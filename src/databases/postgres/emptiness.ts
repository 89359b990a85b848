import type { BoundTable } from "../../core/target.ts";
import { findTables, tableKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { quoteTable } from "./identifiers.ts";

/** Tables that one question names: each holds a lock until it is answered. */
const ASKED_AT_ONCE = 200;

/** Which of these hold no row. All must stand. */
export async function emptyOf(
  connection: Connection,
  tables: readonly BoundTable[],
): Promise<readonly BoundTable[]> {
  const empty: BoundTable[] = [];
  for (let at = 0; at < tables.length; at += ASKED_AT_ONCE) {
    const asked = tables.slice(at, at + ASKED_AT_ONCE);
    const questions = asked.map(
      ({ name }, i) => `SELECT ${i} WHERE NOT EXISTS (SELECT FROM ${quoteTable(name)})`,
    );
    const rows = await connection.rows(questions.join(" UNION ALL "));
    empty.push(...rows.flatMap(([i]) => asked[Number(i)] ?? []));
  }
  return empty;
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
