import type { Cells, Session } from "./connection.ts";
import type { LogReader } from "./log-rows.ts";
import { LOG } from "./ours.ts";
import { sameKey } from "./standing.ts";

const PAGE = 5_000;

/** That a log row names a row of a table. */
export interface Mention {
  readonly id: number;
  readonly op: string;
  /** See {@link nameOf}. */
  readonly before: string | null;
  readonly after: string | null;
}

/** A table and the captured texts of a key in JSON. */
export function nameOf(table: string, key: string): string {
  return `${table} ${key}`;
}

/**
 * Which rows of these layouts' tables the log names by their keys, as these layouts have them, above an id, in order of
 * id: as they were before the change and, where `after` is asked for, as they were after it. Of one that kept its key only
 * the latter is told.
 */
export async function* mentions(
  session: Session,
  reader: LogReader,
  search: {
    readonly above: number;
    readonly layouts: readonly number[];
    readonly after: boolean;
  },
): AsyncGenerator<Mention> {
  const wanted = search.layouts.map((id) => reader.layout(id));
  // By another key, or without one, the same text is another row.
  const layouts = reader.layoutsOfSameTables(search.layouts).filter((id) => {
    const own = reader.layout(id);
    return wanted.some((each) => each.table.name === own.table.name && sameKey(own, each));
  });
  const after = search.after
    ? `CASE layout ${layouts.map((id) => `WHEN ${id} THEN ${keyText(reader, id)}`).join(" ")} END`
    : "NULL";
  const which = search.after ? "" : "AND key_before IS NOT NULL";
  let page: readonly Cells[];
  let above = search.above;
  do {
    page = await session.rows(
      `SELECT id, op, layout, key_before, ${after} FROM ${LOG} FORCE INDEX (PRIMARY)
       WHERE id > ${above} ${which} AND layout IN (${layouts.join(", ")}) ORDER BY id LIMIT ${PAGE}`,
    );
    for (const [id, op, layout, ...keys] of page) {
      const { table } = reader.layout(Number(layout));
      const [before = null, now = null] = keys.map((key) =>
        key === null ? null : nameOf(table.name, JSON.stringify(JSON.parse(key))),
      );
      yield { id: Number(id), op: op ?? "", before, after: now };
    }
    above = Number(page.at(-1)?.[0] ?? above);
  } while (page.length === PAGE);
}

/** NULL where a column was dropped and nothing but the key before is known. */
function keyText(reader: LogReader, layout: number): string {
  const cells = reader.layout(layout).key.map((at) => `JSON_EXTRACT(row_after, '$[${at}]')`);
  return `IF(LENGTH(row_after) > 2, CONCAT('[', ${cells.join(", ',', ")}, ']'), NULL)`;
}
