import { captureBroken } from "./capture.ts";
import type { Cell, Cells, Session } from "./connection.ts";
import { type IdSet, joinNear, type Run } from "./id-set.ts";
import { quoteText } from "./identifiers.ts";
import { GONE, MARK, STANDING } from "./latecomers-sql.ts";
import type { StoredLayout } from "./layouts.ts";
import {
  type LogReader,
  type LogRow,
  loadContent,
  logColumns,
  logRow,
  within,
} from "./log-rows.ts";
import { LOG } from "./ours.ts";
import { findStanding, keyOf } from "./standing.ts";
import type { Unseen } from "./unseen.ts";

/** A log row to be written. */
export type Answer = Pick<LogRow, "layout" | "op" | "keyBefore" | "rowAfter" | "filters">;

const PAGE = 200;
const TOLD_PAGE = 5_000;
const SMALL_ROW = 32 << 10;
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

/** A row as it was logged last, of those that a page holds. */
interface Logged {
  readonly id: number;
  readonly cells: readonly Cell[];
  readonly key: readonly Cell[];
  readonly filters: string;
  /** By the layout that the table has now? */
  readonly isCurrent: boolean;
  /** Did others stand below it of which the log need not tell? */
  readonly carries: boolean;
}

/** A row that stands no more. */
interface Gone {
  readonly id: number;
  readonly key: string;
  readonly layout: StoredLayout;
  readonly carries: boolean;
}

class Search {
  readonly #session: Session;
  readonly #captured: readonly StoredLayout[];
  readonly #reached: ReadonlyMap<string, StoredLayout>;
  readonly #reader: LogReader;
  readonly #changed: Answer[] = [];
  readonly #gone = new Map<string, Gone>();
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
    const layouts = this.#allOf([...this.#reached.values()]);
    let page: LogRow[];
    let from = 0;
    do {
      const rows = await this.#session.rows(
        `SELECT ${logColumns(SMALL_ROW)} FROM ${LOG} FORCE INDEX (PRIMARY)
         WHERE id > ${from} AND (${condition}) AND op IN ('I', 'U') AND layout IN (${layouts})
         ORDER BY id LIMIT ${PAGE}`,
      );
      page = rows.map(logRow);
      await this.#judge(page);
      from = page.at(-1)?.id ?? from;
    } while (page.length === PAGE);
  }

  /** Throws TM-CAPTURE-BROKEN. */
  async answers(): Promise<readonly Answer[]> {
    await this.#dropTold();
    const gone = [...this.#gone.values()];
    for (const row of gone) {
      if (row.carries && !(await this.#isLogged(row))) await this.#refuseUnlessForgotten(row);
    }
    return [
      ...this.#changed,
      ...gone.map(({ layout, key }) => ({
        ...{ layout: layout.id, op: GONE, keyBefore: key, rowAfter: "", filters: "" },
      })),
    ];
  }

  async #judge(page: readonly LogRow[]): Promise<void> {
    const byTable = new Map<StoredLayout, Map<string, Logged>>();
    for (const row of page) {
      const layout = this.#reader.layout(row.layout);
      const current = this.#reached.get(layout.table.name);
      // What was logged by another key is copied anew.
      if (current === undefined || !sameKey(layout, current)) continue;
      const whole = row.rowAfter === null ? await loadContent(this.#session, row) : row;
      const cells = JSON.parse(whole?.rowAfter || "[]") as Cell[];
      // A column was dropped: only the key is known, or nothing.
      if (cells.length === 0) continue;
      const key = keyOf(layout, cells);
      const text = JSON.stringify(key);
      const carries = this.#carries(current, { ...row, keyBefore: whole?.keyBefore ?? null }, text);
      const logged = byTable.get(current) ?? new Map<string, Logged>();
      const isCurrent = layout.id === current.id;
      logged.set(text, { id: row.id, cells, key, filters: row.filters, isCurrent, carries });
      byTable.set(current, logged);
    }
    for (const [layout, logged] of byTable) await this.#sort(layout, logged);
  }

  /** May rows stand below it that came before this run? To be asked in order of id. */
  #carries(layout: StoredLayout, { id, op, keyBefore }: LogRow, key: string): boolean {
    while ((this.#runs[this.#run]?.[1] ?? id) < id) {
      this.#run++;
      this.#born.clear();
    }
    if (this.#below(layout).length === 0) return false;
    const before = keyBefore === null ? key : JSON.stringify(JSON.parse(keyBefore));
    const isBorn = op === "I" || this.#born.has(nameOf(layout, before));
    if (isBorn) this.#born.add(nameOf(layout, key));
    return !isBorn;
  }

  async #sort(layout: StoredLayout, logged: ReadonlyMap<string, Logged>): Promise<void> {
    const keys = [...logged.values()].map((row) => row.key);
    const standing = await findStanding(this.#session, layout, keys);
    for (const [key, row] of logged) {
      const found = standing.get(key);
      if (found === undefined) {
        const { id, carries } = row;
        this.#gone.set(nameOf(layout, key), { id, key, layout, carries });
        continue;
      }
      const isSame =
        JSON.stringify(found.row) === JSON.stringify(row.cells) && found.flags === row.filters;
      if (row.isCurrent && isSame) continue;
      const { text: rowAfter, flags: filters } = found;
      this.#changed.push({ layout: layout.id, op: STANDING, keyBefore: null, rowAfter, filters });
    }
  }

  /** Of some the log itself tells that they were deleted, or got another key, afterwards. */
  async #dropTold(): Promise<void> {
    if (this.#gone.size === 0) return;
    const gone = [...this.#gone.values()];
    const layouts = this.#allOf([...new Set(gone.map(({ layout }) => layout))]);
    let page: readonly Cells[];
    let from = gone.reduce((lowest, { id }) => Math.min(lowest, id), Number.POSITIVE_INFINITY);
    do {
      page = await this.#session.rows(
        `SELECT id, layout, key_before FROM ${LOG} FORCE INDEX (PRIMARY)
         WHERE id > ${from} AND op IN ('D', 'U') AND key_before IS NOT NULL AND layout IN (${layouts})
         ORDER BY id LIMIT ${TOLD_PAGE}`,
      );
      for (const [id, layout, key] of page) {
        from = Number(id);
        const name = nameOf(
          this.#reader.layout(Number(layout)),
          JSON.stringify(JSON.parse(key ?? "[]")),
        );
        if ((this.#gone.get(name)?.id ?? from) < from) this.#gone.delete(name);
      }
    } while (page.length === TOLD_PAGE);
  }

  /** Was it logged as gone by the deletion itself, with all below it, before it was changed? */
  async #isLogged({ id, key, layout }: Gone): Promise<boolean> {
    const run = this.#runs.find(([first, last]) => first <= id && id <= last);
    const cells = (JSON.parse(key) as Cell[]).map((cell) => quoteText(cell ?? ""));
    const rows = await this.#session.rows(
      `SELECT 1 FROM ${LOG} FORCE INDEX (PRIMARY)
       WHERE id > ${run?.[0] ?? id} AND id < ${id} AND op = 'D' AND layout IN (${this.#allOf([layout])})
         AND key_before = CAST(JSON_ARRAY(${cells.join(", ")}) AS CHAR) COLLATE ${this.#session.flavour.exactCollation} LIMIT 1`,
    );
    return rows.length > 0;
  }

  /**
   * All that may have gone along must have been copied anew since, by an order that is as new as the deletion; or
   * the row is known as gone from then.
   */
  async #refuseUnlessForgotten({ id, key, layout }: Gone): Promise<void> {
    const answered = await this.#session.rows(
      `SELECT 1 FROM ${LOG} FORCE INDEX (PRIMARY)
       WHERE id > ${id} AND op = '${GONE}' AND key_before = ? AND layout IN (${this.#allOf([layout])}) LIMIT 1`,
      [key],
    );
    if (answered.length > 0) return;
    const marks = await this.#session.rows(
      `SELECT id, layout FROM ${LOG} FORCE INDEX (PRIMARY)
       WHERE id > ${id} AND op = '${MARK}' AND layout > 0`,
    );
    const forgotten = new Set(
      marks
        .filter(([mark]) => this.#unseen.has(Number(mark)))
        .map(([, of]) => this.#reader.layout(Number(of)).table.name),
    );
    const below = this.#below(layout);
    if ([layout, ...below].every(({ table }) => forgotten.has(table.name))) return;
    throw captureBroken(
      layout,
      "a row was moved below one that was being deleted at that moment, and went with it and all below it",
      below,
    );
  }

  /** The tables to which deletions carry on from this one. */
  #below({ table }: StoredLayout): readonly StoredLayout[] {
    return this.#captured.filter(({ origins }) =>
      origins.some((origin) => origin.event === "DELETE" && origin.table === table.name),
    );
  }

  #allOf(layouts: readonly StoredLayout[]): string {
    return this.#reader.layoutsOfSameTables(layouts.map(({ id }) => id)).join(", ");
  }
}

function nameOf({ table }: Pick<StoredLayout, "table">, key: string): string {
  return `${table.name} ${key}`;
}

function sameKey(one: StoredLayout, other: StoredLayout): boolean {
  const names = ({ key, columns }: StoredLayout) =>
    JSON.stringify(key.map((at) => columns[at]?.name));
  return names(one) === names(other);
}

/** Rows in one statement. */
const WRITTEN = 100;

/** Writes them into the log, and gives them as they then are. In the transaction that stores their batch. */
export async function logAnswers(
  session: Session,
  answers: readonly Answer[],
  at: string,
): Promise<readonly LogRow[]> {
  const written: LogRow[] = [];
  // Of rows whose number is known the ids follow each other (InnoDB's manual on AUTO_INCREMENT).
  const step = Number(await session.value("SELECT @@auto_increment_increment"));
  for (let from = 0; from < answers.length; from += WRITTEN) {
    const some = answers.slice(from, from + WRITTEN);
    const binds = some.flatMap(({ layout, op, keyBefore, rowAfter, filters }) => [
      ...[at, layout, op, keyBefore, rowAfter, filters],
    ]);
    await session.run(
      `INSERT INTO ${LOG} (at, layout, op, key_before, row_after, filters) VALUES ${some.map(() => "(?, ?, ?, ?, ?, ?)").join(", ")}`,
      binds,
    );
    const first = Number(await session.value("SELECT LAST_INSERT_ID()"));
    written.push(
      ...some.map((answer, i) => ({
        ...{ ...answer, id: first + i * step, at, origin: null },
        length: (answer.rowAfter?.length ?? 0) + (answer.keyBefore?.length ?? 0),
      })),
    );
  }
  return written;
}

/** What was logged of the table before is copied anew. */
export async function markForgotten(session: Session, layout: StoredLayout): Promise<void> {
  await session.run(
    `INSERT INTO ${LOG} (at, layout, op, row_after, filters) VALUES (UTC_TIMESTAMP(6), ?, '${MARK}', '', '')`,
    [layout.id],
  );
}
