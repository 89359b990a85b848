import { emptyAmong } from "../../core/emptiness.ts";
import type { BoundTable } from "../../core/target.ts";
import type { Session } from "./connection.ts";
import { mayStand, quoteTable } from "./identifiers.ts";
import { loadFacts } from "./table-facts.ts";

/** Which of these hold no row. All must stand. */
export function emptyOf(
  session: Session,
  tables: readonly BoundTable[],
): Promise<readonly BoundTable[]> {
  return emptyAmong(tables, (sql) => session.rows(sql), quoteTable);
}

/** Which of these stand and hold rows. */
export async function filledOf(
  session: Session,
  tables: readonly BoundTable[],
): Promise<readonly BoundTable[]> {
  const possible = tables.filter(({ name }) => mayStand(name));
  const facts = await loadFacts(
    session,
    possible.map(({ name }) => session.stored(name.name)),
  );
  const standing = possible.filter(({ name }) => facts.has(session.stored(name.name)));
  const empty = new Set(await emptyOf(session, standing));
  return standing.filter((table) => !empty.has(table));
}
