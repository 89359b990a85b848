// Keeps a table writable whose captured columns were renamed, dropped or given another type under our triggers.
import { type CaptureSpec, isWholeRow } from "./capture-row.ts";
import { functionStatements } from "./capture-sql.ts";
import type { ColumnIdentity } from "./layouts.ts";

/**
 * Functions in place of those that name a column which no longer goes by that name, or has another type, for which a
 * session that has called one has planned it: each write would fail until the next start. They log the keys of rows
 * that go, and of rows that come only that some have: the table is copied anew when the target fits. None where nothing
 * is amiss, nor where the key is gone, without which nothing can be logged.
 *
 * @param was the columns that the functions were made for
 * @param now those the table has, where a number stays a column's for good
 */
export function writableFunctions(
  spec: CaptureSpec,
  was: readonly ColumnIdentity[],
  now: readonly ColumnIdentity[],
): readonly string[] {
  const numbers = new Map(was.map(([number, name]) => [name, number]));
  const names = new Map(now.map(([number, name]) => [number, name]));
  const nameNow = (name: string) => names.get(numbers.get(name) ?? 0);
  const typeNow = (name: string) => typeOf(now, name);
  const named = isWholeRow(spec) ? spec.key : spec.columns.map(({ name }) => name);
  if (named.every((name) => nameNow(name) === name && typeNow(name) === typeOf(was, name)))
    return [];
  const key = spec.key.map(nameNow);
  if (!key.every((name) => name !== undefined)) return [];
  return functionStatements({
    ...spec,
    isReadable: false,
    columns: spec.columns.map((column) => ({ ...column, name: nameNow(column.name) ?? "" })),
    liveColumns: [...names.values()],
    key,
    filters: [],
  });
}

function typeOf(columns: readonly ColumnIdentity[], name: string): string | undefined {
  return columns.find((column) => column[1] === name)?.[2];
}
