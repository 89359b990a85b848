import type { Cell, Session } from "./connection.ts";
import { GONE, STANDING } from "./latecomers-sql.ts";
import type { StoredLayout } from "./layouts.ts";
import type { LogReader, LogRow } from "./log-rows.ts";
import { mentions, nameOf } from "./mentions.ts";
import { findStanding, keyOf, sameKey, standsAs } from "./standing.ts";

/** So many rows are looked for at once. */
const PAGE = 50;

interface Logged {
  readonly id: number;
  readonly layout: StoredLayout;
  readonly cells: readonly Cell[];
  readonly filters: string;
  readonly isCurrent: boolean;
}

/**
 * Of rows that were logged while a deletion was carried out, and that a snapshot missed which shows the deletion: have they
 * outlived it? So it is when they stand as they were logged, or the log tells what came of them. Nearly all have only
 * been committed since, and the snapshot was right to miss them. `later` reads what is committed by now; `rows` in order of
 * id, with their content.
 */
export async function areLeftAlone(
  later: Session,
  rows: readonly LogRow[],
  known: { readonly reached: readonly StoredLayout[]; readonly reader: LogReader },
): Promise<boolean> {
  const open = new Map<string, Logged>();
  for (const [name, row] of lastOf(rows, known)) open.set(name, row);
  for (const [layout, entries] of Map.groupBy(open, ([, row]) => row.layout)) {
    for (let at = 0; at < entries.length; at += PAGE) {
      const some = entries.slice(at, at + PAGE);
      const keys = some.map(([, { cells }]) => keyOf(layout, cells));
      const standing = await findStanding(later, layout, keys);
      for (const [i, [name, row]] of some.entries()) {
        const found = standing.get(JSON.stringify(keys[i]));
        if (found !== undefined && row.isCurrent && standsAs(found, row)) open.delete(name);
      }
    }
  }
  if (open.size === 0) return true;
  const search = {
    above: Math.min(...[...open.values()].map(({ id }) => id)),
    layouts: [...new Set([...open.values()].map(({ layout }) => layout.id))],
    after: true,
  };
  for await (const { id, op, before, after } of mentions(later, known.reader, search)) {
    if (op === GONE || op === STANDING) continue;
    for (const name of [before, after]) {
      if (name !== null && (open.get(name)?.id ?? id) < id) open.delete(name);
    }
    if (open.size === 0) return true;
  }
  return false;
}

/** The last log row of each, by its name; what was logged by another key is copied anew. */
function* lastOf(
  rows: readonly LogRow[],
  { reached, reader }: { readonly reached: readonly StoredLayout[]; readonly reader: LogReader },
): Generator<[string, Logged]> {
  const current = new Map(reached.map((layout) => [layout.table.name, layout]));
  for (const { id, layout: number, rowAfter, filters } of rows) {
    const own = reader.layout(number);
    const layout = current.get(own.table.name);
    const cells = JSON.parse(rowAfter || "[]") as Cell[];
    if (layout === undefined || !sameKey(own, layout) || cells.length === 0) continue;
    const isCurrent = own.id === layout.id;
    const name = nameOf(layout.table.name, JSON.stringify(keyOf(own, cells)));
    yield [name, { id, layout, cells, filters, isCurrent }];
  }
}
