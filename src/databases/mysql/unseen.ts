import type { Cells, Session } from "./connection.ts";
import { IdSet, joinNear, type Run, subtract } from "./id-set.ts";
import type { StoredLayout } from "./layouts.ts";
import { areLeftAlone } from "./left-alone.ts";
import {
  type LogReader,
  type LogRow,
  loadContent,
  logColumns,
  logRow,
  within,
} from "./log-rows.ts";
import { LOG, MARK } from "./ours.ts";

/** What one snapshot sees of the log and no batch holds. */
export interface Unseen {
  readonly ids: IdSet;
  /** Time of the row with the highest id; empty when there is no row. */
  readonly lastAt: string;
  /** The rows themselves when they are few and small; null: read them by id. */
  readonly rows: readonly LogRow[] | null;
  /** The ids between the marks of deletions (latecomers-sql.ts), and the marks. */
  readonly spans: IdSet;
}

/** So many rows, each no longer than this, are taken along at once: most cuts are done in one read. */
const FEW_ROWS = 400;
const SMALL_ROW = 32 << 10;
const BEGIN_LOOK = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
const ID_PAGE = 10_000;
const MAX_RANGES = 400;
/** Ids that may be looked at in vain to save a descent into the index. */
const NEAR = 8;
const COMPARE_PAGE = 4_000;
const MAX_COMPARED = 2_000;

/**
 * The ids that batches hold, and where others may still turn up.
 *
 * A transaction draws its ids when it writes and shows them when it commits, in any order. So a
 * row may appear at any time anywhere below the highest id that a batch holds, in a place that
 * looked empty: a *gap*. No gap is ever given up, since nothing tells an open transaction from one
 * that was rolled back. They stay cheap to watch because ids below `floor`, where every row has
 * been purged, are one range that is physically empty.
 */
export class SeenIds {
  readonly #held = new IdSet();
  /** Below it nothing is known by id: whatever stands there is unseen. */
  #floor = 1;
  #highest = 0;
  #gaps: { readonly exact: readonly Run[]; readonly near: readonly Run[] } | null = null;

  get highest(): number {
    return this.#highest;
  }

  /** `highest`: the highest id that this batch or one before it holds. */
  add(ids: IdSet, highest: number): void {
    this.#held.addAll(ids.runs);
    this.#highest = Math.max(this.#highest, highest);
    this.#gaps = null;
  }

  /** Rows below this id have all been purged, but for those not seen yet. */
  raiseFloor(floor: number): void {
    if (floor <= this.#floor) return;
    this.#floor = floor;
    this.#held.dropBelow(floor);
    this.#gaps = null;
  }

  /** Where an unseen row below the highest held id would be. */
  get gaps(): readonly Run[] {
    return this.#findGaps().exact;
  }

  /** The gaps as fewer and longer runs, which take in a few ids that are held. */
  get nearGaps(): readonly Run[] {
    return this.#findGaps().near;
  }

  holds(id: number): boolean {
    return this.#held.has(id);
  }

  #findGaps(): { readonly exact: readonly Run[]; readonly near: readonly Run[] } {
    if (this.#gaps === null) {
      const below: Run[] = this.#floor > 1 ? [[1, this.#floor - 1]] : [];
      const exact = [...below, ...this.#held.gaps(this.#floor, this.#highest)];
      this.#gaps = { exact, near: joinNear(exact, NEAR) };
    }
    return this.#gaps;
  }
}

/** Opens a snapshot in the session, and reads everything unseen in it. */
export async function readUnseen(session: Session, seen: SeenIds): Promise<Unseen> {
  const ids = new IdSet();
  const rows = await readFew(session, seen);
  if (rows !== null) {
    for (const row of rows) ids.add(row.id);
    const small = rows.every((row) => row.rowAfter !== null);
    const spans = new IdSet();
    for (const { id, op, keyBefore } of rows) if (op === MARK) addSpan(spans, id, keyBefore);
    return { ids, lastAt: rows.at(-1)?.at ?? "", rows: small ? rows : null, spans };
  }
  // Many: only their ids now, so that memory does not grow with the transaction.
  const spans = await readIds(session, seen, ids);
  const lastAt = await session.value(`SELECT at FROM ${LOG} WHERE id = ?`, [ids.highest ?? 0]);
  return { ids, lastAt: lastAt ?? "", rows: null, spans };
}

/** All unseen rows in order of id, or null when they are many. The snapshot is opened on the way of the first statement. */
async function readFew(session: Session, seen: SeenIds): Promise<LogRow[] | null> {
  const rows: LogRow[] = [];
  let before = [BEGIN_LOOK];
  for (const condition of conditions(seen)) {
    const select = `SELECT ${logColumns(SMALL_ROW)} FROM ${LOG} FORCE INDEX (PRIMARY)
       WHERE ${condition} ORDER BY id LIMIT ${FEW_ROWS}`;
    const found = (await session.flight([...before, select])).at(-1) ?? [];
    before = [];
    rows.push(...found.map(logRow).filter((row) => !seen.holds(row.id)));
    if (found.length === FEW_ROWS || rows.length >= FEW_ROWS) return null;
  }
  return rows;
}

/** Adds all unseen ids. Gives what the marks among them span. */
async function readIds(session: Session, seen: SeenIds, ids: IdSet): Promise<IdSet> {
  const spans = new IdSet();
  for (const condition of conditions(seen)) {
    let page: readonly Cells[];
    let from = 0;
    do {
      page = await session.rows(
        `SELECT id, IF(op = '${MARK}', key_before, NULL) FROM ${LOG} FORCE INDEX (PRIMARY)
         WHERE id > ${from} AND (${condition}) ORDER BY id LIMIT ${ID_PAGE}`,
      );
      for (const [cell, began] of page) {
        from = Number(cell);
        if (seen.holds(from)) continue;
        ids.add(from);
        addSpan(spans, from, began ?? null);
      }
    } while (page.length === ID_PAGE);
  }
  return spans;
}

/** The mark at the end of a deletion holds the id of the one at its beginning. */
function addSpan(spans: IdSet, id: number, began: string | null): void {
  if (began !== null) spans.addRun([Number(began), id]);
}

/** Conditions that together cover all unseen rows, in ascending order of id. */
function conditions(seen: SeenIds): string[] {
  const gaps = seen.nearGaps;
  const found: string[] = [];
  for (let index = 0; index < gaps.length; index += MAX_RANGES) {
    found.push(within(gaps.slice(index, index + MAX_RANGES)));
  }
  const tail = `id > ${seen.highest}`;
  const last = found.pop();
  return last === undefined ? [tail] : [...found, `${last} OR ${tail}`];
}

/**
 * Closure check. A view of InnoDB is not always closed: it may miss a transaction and yet show one
 * that waited for that one's lock (seen without the binary log). Such a missed row has a lower id
 * than a seen row of the same key, and every later view shows it. So look once more, outside the
 * snapshot, into the places below the highest id seen.
 *
 * False: a row was missed that belongs before one that was seen; take the snapshot again.
 * `snapshot` is the session with the snapshot still open; `later` reads what is committed by now.
 */
export async function isClosed(
  snapshot: Session,
  later: Session,
  context: {
    readonly seen: SeenIds;
    readonly unseen: Unseen;
    readonly reader: LogReader;
    /** Those that deletions carry on to, and the layouts that their tables ever had. */
    readonly reached: readonly StoredLayout[];
    readonly late: ReadonlySet<number>;
  },
): Promise<boolean> {
  const { seen, unseen, reader, late } = context;
  const highest = unseen.ids.highest;
  if (highest === null) return true;
  const missed: LogRow[] = [];
  const below: LogRow[] = [];
  for (const places of placesBelow(seen, unseen.ids, highest)) {
    for await (const row of rowsWithin(later, places)) {
      if (seen.holds(row.id) || unseen.ids.has(row.id) || row.op === MARK) continue;
      missed.push(row);
      if (unseen.spans.has(row.id) && (row.op === "I" || row.op === "U") && late.has(row.layout)) {
        below.push(await whole(later, row));
      }
      // So many commits since the snapshot: quicker to take another than to compare.
      if (missed.length > MAX_COMPARED) return false;
    }
  }
  if (missed.length === 0) return true;
  // What has come late below a deletion that is seen must be seen as well.
  if (below.length > 0 && !(await areLeftAlone(later, below, context))) return false;
  const firstOfKey = new Map<string, number>();
  for (const row of missed) {
    for (const key of reader.keys(await whole(later, row))) {
      if (!firstOfKey.has(key)) firstOfKey.set(key, row.id);
    }
  }
  const follows = async (row: LogRow) =>
    reader.keys(await whole(snapshot, row)).some((key) => (firstOfKey.get(key) ?? row.id) < row.id);
  for await (const row of rowsAfter(snapshot, unseen, missed, reader)) {
    if (await follows(row)) return false;
  }
  return true;
}

/** The places below the highest id seen where another snapshot may show a row. */
function placesBelow(seen: SeenIds, ids: IdSet, highest: number): Run[][] {
  const below = subtract(seen.gaps, ids.runs).filter(([first]) => first < highest);
  const tail = ids.gaps(seen.highest + 1, highest);
  const places = joinNear([...below, ...tail], NEAR);
  const pages: Run[][] = [];
  for (let index = 0; index < places.length; index += MAX_RANGES) {
    pages.push(places.slice(index, index + MAX_RANGES));
  }
  return pages;
}

/** The seen rows that might belong behind a missed one: with a higher id, of the same tables. */
async function* rowsAfter(
  snapshot: Session,
  unseen: Unseen,
  missed: readonly LogRow[],
  reader: LogReader,
): AsyncGenerator<LogRow> {
  if (unseen.rows !== null) {
    yield* unseen.rows;
    return;
  }
  const layouts = reader.layoutsOfSameTables(missed.map((row) => row.layout));
  let from = Math.min(...missed.map((row) => row.id));
  let page: LogRow[];
  do {
    const rows = await snapshot.rows(
      `SELECT ${logColumns(SMALL_ROW)} FROM ${LOG} FORCE INDEX (PRIMARY)
       WHERE id > ${from} AND layout IN (${layouts.join(", ")}) ORDER BY id LIMIT ${COMPARE_PAGE}`,
    );
    page = rows.map(logRow);
    yield* page.filter((row) => unseen.ids.has(row.id));
    from = page.at(-1)?.id ?? from;
  } while (page.length === COMPARE_PAGE);
}

async function* rowsWithin(session: Session, places: readonly Run[]): AsyncGenerator<LogRow> {
  let from = 0;
  let page: LogRow[];
  do {
    const rows = await session.rows(
      `SELECT ${logColumns(SMALL_ROW)} FROM ${LOG} FORCE INDEX (PRIMARY)
       WHERE id > ${from} AND (${within(places)}) ORDER BY id LIMIT ${COMPARE_PAGE}`,
    );
    page = rows.map(logRow);
    yield* page;
    from = page.at(-1)?.id ?? from;
  } while (page.length === COMPARE_PAGE);
}

async function whole(session: Session, row: LogRow): Promise<LogRow> {
  return row.rowAfter === null ? ((await loadContent(session, row)) ?? row) : row;
}
