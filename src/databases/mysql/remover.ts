import { isTidemarkError } from "../../core/errors.ts";
import type { Session } from "./connection.ts";
import type { Run } from "./id-set.ts";
import { DELETIONS, LOG } from "./ours.ts";
import type { SeenIds } from "./unseen.ts";

/** Rows deleted in one transaction, and ranges in one statement. */
const ROWS = 2_000;
const RANGES = 200;
/** So long, once a transaction was in the way, each row is looked up by its key. */
const BY_POINTS_MS = 60_000;
/** So many in one statement. */
const POINTS = 500;
/** Deletions looked at in one statement. */
const PAGE = 1_000;

/** Deletes what is purged, in a session of its own: where that must wait for a lock, nobody else waits with it. */
export class Remover {
  readonly #open: () => Promise<Session>;
  #session: Session | null = null;
  #isClosed = false;
  #byPointsUntil = Number.NEGATIVE_INFINITY;

  constructor(open: () => Promise<Session>) {
    this.#open = open;
  }

  /**
   * The id at which the oldest deletion began that no batch holds yet; infinity when there is none. Those of
   * transactions that are still open count too: so this looks at what is not committed. What is drawn later is
   * higher than all that a batch holds by now. Forgets those that batches hold.
   */
  lowestOpen(seen: SeenIds): Promise<number> {
    return this.#inSession((session) => lowestOpen(session, seen));
  }

  /** Deletes these rows of the log. */
  remove(runs: readonly Run[]): Promise<void> {
    return this.#inSession((session) => this.#remove(session, runs));
  }

  async #remove(session: Session, runs: readonly Run[]): Promise<void> {
    let ranges: Run[] = [];
    let size = 0;
    const flush = async () => {
      const isDone = ranges.length === 0 || (await this.#deleteRanges(session, ranges));
      if (!isDone) await deletePoints(session, LOG, idsOf(ranges));
      ranges = [];
      size = 0;
    };
    for (const [first, last] of runs) {
      for (let from = first; from <= last; from += ROWS) {
        const to = Math.min(last, from + ROWS - 1);
        if (size + to - from >= ROWS || ranges.length >= RANGES) await flush();
        ranges.push([from, to]);
        size += to - from + 1;
      }
    }
    await flush();
  }

  /** Leaves what is under way. */
  close(): void {
    this.#isClosed = true;
    this.#session?.destroy();
  }

  /** Nobody keeps the session awake: one that the server has ended for its silence is opened anew. */
  async #inSession<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const isNew = this.#session === null;
    this.#session ??= await this.#open();
    try {
      return await work(this.#session);
    } catch (error) {
      if (!isTidemarkError(error, "TM-CONNECTION-LOST")) throw error;
      this.#session = null;
      if (isNew || this.#isClosed) throw error;
      return this.#inSession(work);
    }
  }

  /**
   * False when it would wait for a transaction that has written the log and is still open: a range locks the
   * row behind it, too, and the server may as well choose to look through the whole log.
   */
  async #deleteRanges(session: Session, ranges: readonly Run[]): Promise<boolean> {
    if (performance.now() < this.#byPointsUntil) return false;
    const where = ranges.map(([from, to]) => `id BETWEEN ${from} AND ${to}`).join(" OR ");
    try {
      await session.run(`DELETE FROM ${LOG} WHERE ${where}`);
      return true;
    } catch (error) {
      if (!isTidemarkError(error, "TM-APPLY-RETRY")) throw error;
      this.#byPointsUntil = performance.now() + BY_POINTS_MS;
      return false;
    }
  }
}

async function lowestOpen(session: Session, seen: SeenIds): Promise<number> {
  for (;;) {
    await session.run("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED");
    const rows = await session.rows(
      `SELECT began.id, logged.id FROM ${DELETIONS} AS began LEFT JOIN ${LOG} AS logged ON logged.id = began.id
       ORDER BY began.id LIMIT ${PAGE}`,
    );
    const isOver = ([id, logged]: (typeof rows)[number]) =>
      logged === null || seen.holds(Number(id));
    const over = rows.filter(isOver).map(([id]) => Number(id));
    await deletePoints(session, DELETIONS, over);
    const open = rows.find((row) => !isOver(row));
    if (open !== undefined) return Number(open[0]);
    if (rows.length < PAGE) return Number.POSITIVE_INFINITY;
  }
}

/**
 * Deletes rows by their ids. Looked up one by one, each is locked alone. A list of ids would not do: the server may
 * choose to look through the whole table for it, in which others hold rows.
 */
async function deletePoints(
  session: Session,
  table: string,
  ids: readonly number[],
): Promise<void> {
  for (let at = 0; at < ids.length; at += POINTS) {
    const points = ids.slice(at, at + POINTS).map((id) => `SELECT ${id} AS id`);
    await session.run(
      `DELETE gone FROM (${points.join(" UNION ALL ")}) AS points STRAIGHT_JOIN ${table} AS gone ON gone.id = points.id`,
    );
  }
}

function idsOf(ranges: readonly Run[]): number[] {
  return ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, n) => from + n));
}
