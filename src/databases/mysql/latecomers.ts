import type { Answer } from "./answers.ts";
import { captureBroken } from "./capture-broken.ts";
import type { Cell, Session } from "./connection.ts";
import { type IdSet, joinNear, type Run } from "./id-set.ts";
import { GONE, STANDING } from "./latecomers-sql.ts";
import type { StoredLayout } from "./layouts.ts";
import {
  type LogReader,
  type LogRow,
  loadContent,
  logColumns,
  logRow,
  within,
} from "./log-rows.ts";
import { mentions, nameOf } from "./mentions.ts";
import { LOG, MARK } from "./ours.ts";
import { findStanding, type Key, keyOf, type Standing, sameKey, standsAs } from "./standing.ts";
import type { Unseen } from "./unseen.ts";

const PAGE = 200;
const SMALL_ROW = 32 << 10;
/** Of rows that are looked for at once. */
const PAGE_BYTES = 1 << 20;
/** Kept in memory before the log is asked about them: each time, it is read once from the first of them on. */
const MAX_DOUBTS = 100_000;
/** Rows read at once that are to be logged as they stand. */
const ANSWERED = 50;
/** Spans in one statement, and ids between them that may be looked at in vain. */
const SPANS = 200;
const NEAR = 8;

/**
 * What became of the rows that were logged while deletions were carried out (latecomers-sql.ts), by the snapshot that
 * the session has open. One that has gone, of which the log does not tell that it went, was taken along: it is
 * logged as deleted. One that stands otherwise than it was logged, as with its reference set to NULL, is logged as it
 * stands. At the end of a batch of just that snapshot both are right, whatever came of the row before.
 *
 * Throws TM-CAPTURE-BROKEN where other rows may have gone along, of which nothing tells.
 */
export async function latecomers(
  session: Session,
  { spans, ids }: Unseen,
  known: Known,
): Promise<readonly Answer[]> {
  if (known.reached.length === 0) return [];
  const runs = joinNear(spans.runs, NEAR);
  const search = new Search(session, { ...known, runs, ids });
  for (let at = 0; at < runs.length; at += SPANS) {
    await search.lookAt(within(runs.slice(at, at + SPANS)));
  }
  return await search.answers();
}

/** What layouts there are. */
interface Known {
  readonly captured: readonly StoredLayout[];
  /** Those that deletions carry on to. None is without a key: with a foreign key such a table is refused. */
  readonly reached: readonly StoredLayout[];
  readonly reader: LogReader;
}

/** Those that some deletion carries on to. */
export function reachedLayouts(layouts: readonly StoredLayout[]): readonly StoredLayout[] {
  return layouts.filter(({ origins }) => origins.some(({ event }) => event === "DELETED"));
}

/** A row as it was logged last, of those looked for at once. */
interface Logged extends Doubt {
  readonly cells: readonly Cell[];
  readonly cellsOfKey: Key;
  readonly filters: string;
  /** By the layout that the table has now? */
  readonly isCurrent: boolean;
}

/** A row that does not stand as it was logged. */
interface Doubt {
  readonly id: number;
  /** In JSON. */
  readonly key: string;
  readonly layout: StoredLayout;
  /** Where the run begins in which it was logged. */
  readonly since: number;
  /** Did others stand below it of which the log need not tell? */
  readonly carries: boolean;
}

class Search {
  readonly #session: Session;
  readonly #captured: readonly StoredLayout[];
  readonly #reached: ReadonlyMap<string, StoredLayout>;
  readonly #reader: LogReader;
  readonly #changed: Answer[] = [];
  readonly #gone: Answer[] = [];
  /** Rows that stand no more, and those that stand otherwise, by their names. */
  readonly #doubts = { gone: new Map<string, Doubt>(), changed: new Map<string, Doubt>() };
  /** All that was logged in one of these is looked at. */
  readonly #runs: readonly Run[];
  #run = 0;
  /** Rows of tables that deletions go on from, that came in this run: nothing stood below them before. */
  readonly #born = new Set<string>();
  /** What no batch holds. */
  readonly #unseen: IdSet;

  constructor(
    session: Session,
    search: Known & { readonly runs: readonly Run[]; readonly ids: IdSet },
  ) {
    this.#session = session;
    this.#captured = search.captured;
    this.#reached = new Map(search.reached.map((layout) => [layout.table.name, layout]));
    this.#reader = search.reader;
    this.#runs = search.runs;
    this.#unseen = search.ids;
  }

  async lookAt(condition: string): Promise<void> {
    const layouts = this.#reader.layoutsOfSameTables(
      [...this.#reached.values()].map(({ id }) => id),
    );
    let page: LogRow[];
    let from = 0;
    do {
      const rows = await this.#session.rows(
        `SELECT ${logColumns(SMALL_ROW)} FROM ${LOG} FORCE INDEX (PRIMARY)
         WHERE id > ${from} AND (${condition}) AND op IN ('I', 'U') AND layout IN (${layouts.join(", ")})
         ORDER BY id LIMIT ${PAGE}`,
      );
      page = rows.map(logRow);
      await this.#judge(page);
      from = page.at(-1)?.id ?? from;
      const { gone, changed } = this.#doubts;
      if (gone.size + changed.size >= MAX_DOUBTS) await this.#settle();
    } while (page.length === PAGE);
  }

  /** Throws TM-CAPTURE-BROKEN. */
  async answers(): Promise<readonly Answer[]> {
    await this.#settle();
    return [...this.#changed, ...this.#gone];
  }

  async #judge(page: readonly LogRow[]): Promise<void> {
    const byTable = new Map<StoredLayout, Map<string, Logged>>();
    let bytes = 0;
    for (const row of page) {
      const layout = this.#reader.layout(row.layout);
      const current = this.#reached.get(layout.table.name);
      // What was logged by another key is copied anew.
      if (current === undefined || !sameKey(layout, current)) continue;
      bytes += row.length;
      if (bytes > PAGE_BYTES) {
        await this.#compare(byTable);
        byTable.clear();
        bytes = row.length;
      }
      const whole = row.rowAfter === null ? await loadContent(this.#session, row) : row;
      const cells = JSON.parse(whole?.rowAfter || "[]") as Cell[];
      // A column was dropped: only the key is known, or nothing.
      if (cells.length === 0) continue;
      const cellsOfKey = keyOf(layout, cells);
      const key = JSON.stringify(cellsOfKey);
      const carries = this.#carries(current, { ...row, keyBefore: whole?.keyBefore ?? null }, key);
      const since = this.#runs[this.#run]?.[0] ?? row.id;
      const logged = byTable.get(current) ?? new Map<string, Logged>();
      const isCurrent = layout.id === current.id;
      const { id, filters } = row;
      logged.set(key, {
        ...{ id, key, layout: current, since, carries, cells, cellsOfKey, filters, isCurrent },
      });
      byTable.set(current, logged);
    }
    await this.#compare(byTable);
  }

  /** May rows stand below it that came before this run? To be asked in order of id. */
  #carries(layout: StoredLayout, { id, op, keyBefore }: LogRow, key: string): boolean {
    while ((this.#runs[this.#run]?.[1] ?? id) < id) {
      this.#run++;
      this.#born.clear();
    }
    if (this.#below(layout).length === 0) return false;
    const table = layout.table.name;
    const before = keyBefore === null ? key : JSON.stringify(JSON.parse(keyBefore));
    const isBorn = op === "I" || this.#born.has(nameOf(table, before));
    if (isBorn) this.#born.add(nameOf(table, key));
    // Another row takes its place.
    else this.#born.delete(nameOf(table, key));
    return !isBorn;
  }

  async #compare(byTable: ReadonlyMap<StoredLayout, ReadonlyMap<string, Logged>>): Promise<void> {
    for (const [layout, logged] of byTable) {
      const keys = [...logged.values()].map(({ cellsOfKey }) => cellsOfKey);
      const standing = await findStanding(this.#session, layout, keys);
      for (const [key, row] of logged) this.#note(row, standing.get(key));
    }
  }

  #note(row: Logged, found: Standing | undefined): void {
    const { id, key, layout, since, carries, isCurrent, cells, filters } = row;
    const name = nameOf(layout.table.name, key);
    const { gone, changed } = this.#doubts;
    gone.delete(name);
    changed.delete(name);
    const doubt: Doubt = { id, key, layout, since, carries };
    if (found === undefined) gone.set(name, doubt);
    else if (!isCurrent || !standsAs(found, { cells, filters })) changed.set(name, doubt);
  }

  /** Throws TM-CAPTURE-BROKEN. */
  async #settle(): Promise<void> {
    const { gone, changed } = this.#doubts;
    const accounted = await this.#dropTold();
    const carrying = [...gone].filter(([name, { carries }]) => carries && !accounted.has(name));
    await this.#refuseUnlessForgotten(carrying.map(([, doubt]) => doubt));
    for (const { layout, key } of gone.values()) {
      this.#gone.push({
        ...{ layout: layout.id, op: GONE, keyBefore: key, rowAfter: "", filters: "" },
      });
    }
    const standing = Map.groupBy(changed.values(), ({ layout }) => layout);
    for (const [layout, doubts] of standing) {
      for (let at = 0; at < doubts.length; at += ANSWERED) {
        const keys = doubts.slice(at, at + ANSWERED).map(({ key }) => JSON.parse(key) as Key);
        const rows = await findStanding(this.#session, layout, keys);
        for (const { text: rowAfter, flags: filters } of rows.values()) {
          this.#changed.push({
            ...{ layout: layout.id, op: STANDING, keyBefore: null, rowAfter, filters },
          });
        }
      }
    }
    gone.clear();
    changed.clear();
  }

  /**
   * Of some the log itself tells, afterwards, that they were deleted, got another key, or were changed to what they
   * are. Gives the names of those whose going was logged with all below them: by the deletion itself, before they were
   * changed, or by an answer.
   */
  async #dropTold(): Promise<ReadonlySet<string>> {
    const { gone, changed } = this.#doubts;
    const accounted = new Set<string>();
    const all = [...gone.values(), ...changed.values()];
    if (all.length === 0) return accounted;
    // Of one that carries, the deletion may have told before it was changed.
    const above = all.reduce(
      (lowest, { id, since, carries }) => Math.min(lowest, carries ? since - 1 : id),
      Number.POSITIVE_INFINITY,
    );
    const layouts = [...new Set(all.map(({ layout }) => layout.id))];
    const search = { above, layouts, after: changed.size > 0 };
    for await (const { id, op, before, after } of mentions(this.#session, this.#reader, search)) {
      const isLater = (doubt: Doubt | undefined) => doubt !== undefined && doubt.id < id;
      // An answer is as of the end of its batch: of what this one shows it tells nothing.
      if (after !== null && op !== STANDING && isLater(changed.get(after))) changed.delete(after);
      const doubt = before === null ? undefined : gone.get(before);
      if (before === null || doubt === undefined) continue;
      const isAnswer = op === GONE;
      if (doubt.id < id && !isAnswer) gone.delete(before);
      else if (isAnswer ? doubt.id < id : op === "D" && doubt.since < id) accounted.add(before);
    }
    return accounted;
  }

  /** All that may have gone along must have been copied anew since, by an order that is as new as the deletion. */
  async #refuseUnlessForgotten(doubts: readonly Doubt[]): Promise<void> {
    if (doubts.length === 0) return;
    const lowest = doubts.reduce((least, { id }) => Math.min(least, id), Number.POSITIVE_INFINITY);
    const marks = await this.#session.rows(
      `SELECT id, layout FROM ${LOG} FORCE INDEX (PRIMARY)
       WHERE id > ${lowest} AND op = '${MARK}' AND layout > 0`,
    );
    const forgotten = new Map<string, number>();
    for (const [id, layout] of marks) {
      const { table } = this.#reader.layout(Number(layout));
      if (this.#unseen.has(Number(id))) forgotten.set(table.name, Number(id));
    }
    for (const { id, layout } of doubts) {
      const below = this.#below(layout);
      if ([layout, ...below].every(({ table }) => (forgotten.get(table.name) ?? 0) > id)) continue;
      throw captureBroken(
        layout,
        "a row was moved below one that was being deleted at that moment, and went with it and all below it",
        below,
      );
    }
  }

  /** The tables to which deletions carry on from this one. */
  #below({ table }: StoredLayout): readonly StoredLayout[] {
    return this.#captured.filter(({ origins }) =>
      origins.some((origin) => origin.event === "DELETE" && origin.table === table.name),
    );
  }
}
