import type { BoundTable } from "../../core/target.ts";
import { loadFacts } from "./catalog.ts";
import type { Session } from "./connection.ts";
import { mayStand, quoteTable } from "./identifiers.ts";

/** Tables that one question names. */
const ASKED_AT_ONCE = 50;

/** Which of these hold no row. All must stand. */
export async function emptyOf(
  session: Session,
  tables: readonly BoundTable[],
): Promise<readonly BoundTable[]> {
  const empty: BoundTable[] = [];
  for (let at = 0; at < tables.length; at += ASKED_AT_ONCE) {
    const asked = tables.slice(at, at + ASKED_AT_ONCE);
    const questions = asked.map(
      ({ name }, i) => `SELECT ${i} FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM ${quoteTable(name)})`,
    );
    const rows = await session.rows(questions.join(" UNION ALL "));
    empty.push(...rows.flatMap(([i]) => asked[Number(i)] ?? []));
  }
  return empty;
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
