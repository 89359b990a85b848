import type { Session } from "./connection.ts";
import { quoteName } from "./identifiers.ts";

/**
 * A text that stays the same for as long as nobody alters the table: the statement that would create it.
 * Cheaper than any question to information_schema, and waits for nobody but a statement that is just
 * altering the table.
 */
export async function loadPin(session: Session, table: string): Promise<string> {
  const [row] = await session.rows(`SHOW CREATE TABLE ${quoteName(table)}`, [], { table });
  return (row?.[1] ?? "").replace(/ AUTO_INCREMENT=\d+/, "");
}
