import type { BoundTable } from "./target.ts";

/** Tables that one question names: each is looked up, and locked, until it is answered. */
const ASKED_AT_ONCE = 50;

/**
 * Which of these hold no row. All must stand. `rows`: those of an SQL query, values as text; `quote`: a table's name
 * as SQL has it.
 */
export async function emptyAmong(
  tables: readonly BoundTable[],
  rows: (sql: string) => Promise<readonly (readonly (string | null)[])[]>,
  quote: (name: BoundTable["name"]) => string,
): Promise<readonly BoundTable[]> {
  const empty: BoundTable[] = [];
  for (let at = 0; at < tables.length; at += ASKED_AT_ONCE) {
    const asked = tables.slice(at, at + ASKED_AT_ONCE);
    const questions = asked.map(
      ({ name }, i) =>
        `SELECT CASE WHEN EXISTS (SELECT 1 FROM ${quote(name)}) THEN NULL ELSE ${i} END`,
    );
    const answers = await rows(questions.join(" UNION ALL "));
    empty.push(...answers.flatMap(([i]) => (i == null ? [] : (asked[Number(i)] ?? []))));
  }
  return empty;
}
