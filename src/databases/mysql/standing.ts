import { keyNames } from "../../core/change.ts";
import { isTidemarkError } from "../../core/errors.ts";
import { filterFlags } from "./capture-sql.ts";
import { captureExpression, equalsCaptured } from "./captured-text.ts";
import type { Cell, Session } from "./connection.ts";
import { quoteName } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";

/** A row as it stands, captured as a trigger would. */
export interface Standing {
  readonly row: readonly Cell[];
  readonly text: string;
  readonly flags: string;
}

/** The captured texts of a row's key. */
export type Key = readonly Cell[];

export function keyOf({ key }: StoredLayout, cells: readonly Cell[]): Key {
  return key.map((at) => cells[at] ?? null);
}

/** Are rows of these two layouts found by the same columns? */
export function sameKey(one: StoredLayout, other: StoredLayout): boolean {
  return JSON.stringify(keyNames(one)) === JSON.stringify(keyNames(other));
}

/** Does it stand as it was logged, by the layout that its table has now? */
export function standsAs(
  { row, flags }: Standing,
  logged: { readonly cells: readonly Cell[]; readonly filters: string },
): boolean {
  return JSON.stringify(row) === JSON.stringify(logged.cells) && flags === logged.filters;
}

/** The rows that stand under these keys, by their keys in JSON: under just these texts, not those that compare equal. */
export async function findStanding(
  session: Session,
  layout: StoredLayout,
  keys: readonly Key[],
): Promise<ReadonlyMap<string, Standing>> {
  const { filters } = layout;
  try {
    return await select(session, layout, { keys, flags: filterFlags(filters) });
  } catch (error) {
    if (filters.length === 0 || !isTidemarkError(error) || error.retryable) throw error;
  }
  // For some row a condition raises an error: each is asked about by itself.
  const unknown = `'${"e".repeat(filters.length)}'`;
  if (keys.length === 1) return select(session, layout, { keys, flags: unknown });
  const found = new Map<string, Standing>();
  for (const key of keys) {
    for (const entry of await findStanding(session, layout, [key])) found.set(...entry);
  }
  return found;
}

async function select(
  session: Session,
  layout: StoredLayout,
  { keys, flags }: { readonly keys: readonly Key[]; readonly flags: string },
): Promise<ReadonlyMap<string, Standing>> {
  const { table, columns, key } = layout;
  const text = columns.map((column) => captureExpression(column, quoteName(column.name)));
  const where = keys.map((cells) => {
    const equal = key.flatMap((at, i) => {
      const column = columns[at];
      return column === undefined ? [] : equalsCaptured(column, cells[i] ?? "");
    });
    return `(${equal.join(" AND ")})`;
  });
  const rows = await session.rows(
    `SELECT CAST(JSON_ARRAY(${text.join(", ")}) AS CHAR), ${flags} FROM ${quoteName(table.name)} WHERE ${where.join(" OR ")}`,
  );
  return new Map(
    rows.map(([text, flags]) => {
      const row = JSON.parse(text ?? "[]") as Cell[];
      return [JSON.stringify(keyOf(layout, row)), { row, text: text ?? "", flags: flags ?? "" }];
    }),
  );
}
