import type { Session } from "./connection.ts";
import { DELETIONS, LOG } from "./ours.ts";
import type { SeenIds } from "./unseen.ts";

/** Rows in one statement. */
const POINTS = 500;
const PAGE = 1_000;

/**
 * The id at which the oldest deletion began that no batch holds yet; infinity when there is none. Those of
 * transactions that are still open count too: so this looks at what is not committed. What is drawn later is higher
 * than all that a batch holds by now. Forgets those that batches hold.
 */
export async function lowestOpen(remover: Session, seen: SeenIds): Promise<number> {
  for (;;) {
    await remover.run("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED");
    const rows = await remover.rows(
      `SELECT began.id, logged.id FROM ${DELETIONS} AS began LEFT JOIN ${LOG} AS logged ON logged.id = began.id
       ORDER BY began.id LIMIT ${PAGE}`,
    );
    const over = ([id, logged]: (typeof rows)[number]) => logged === null || seen.holds(Number(id));
    await deletePoints(
      remover,
      DELETIONS,
      rows.filter(over).map(([id]) => Number(id)),
    );
    const open = rows.find((row) => !over(row));
    if (open !== undefined) return Number(open[0]);
    if (rows.length < PAGE) return Number.POSITIVE_INFINITY;
  }
}

/**
 * Deletes rows by their ids. Looked up one by one, each is locked alone. A list of ids would not do: the server may choose
 * to look through the whole table for it, in which others hold rows.
 */
export async function deletePoints(
  remover: Session,
  table: string,
  ids: readonly number[],
): Promise<void> {
  for (let at = 0; at < ids.length; at += POINTS) {
    const points = ids.slice(at, at + POINTS).map((id) => `SELECT ${id} AS id`);
    await remover.run(
      `DELETE gone FROM (${points.join(" UNION ALL ")}) AS points STRAIGHT_JOIN ${table} AS gone ON gone.id = points.id`,
    );
  }
}
