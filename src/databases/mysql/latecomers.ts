import { isTidemarkError } from "../../core/errors.ts";
import { captureBroken } from "./capture.ts";
import { filterFlags } from "./capture-sql.ts";
import { captureExpression, equalsCaptured } from "./captured-text.ts";
import type { Cell, Session } from "./connection.ts";
import { type IdSet, joinNear } from "./id-set.ts";
import { quoteName, quoteText } from "./identifiers.ts";
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

/** A log row to be written. */
export type Answer = Pick<LogRow, "layout" | "op" | "keyBefore" | "rowAfter" | "filters">;

const PAGE = 200;
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
 * `layouts`: those captured. Tables without a key are not among them: with a foreign key they are refused.
 * Throws TM-CAPTURE-BROKEN where other rows may have gone along, of which nothing tells.
 */
export async function latecomers(
  session: Session,
  spans: IdSet,
  { layouts, reader }: { readonly layouts: readonly StoredLayout[]; readonly reader: LogReader },
): Promise<readonly Answer[]> {
  const reached = reachedLayouts(layouts);
  if (spans.size === 0 || reached.length === 0) return [];
  const search = new Search(session, reached, reader);
  const runs = joinNear(spans.runs, NEAR);
  for (let at = 0; at < runs.length; at += SPANS) {
    await search.lookAt(within(runs.slice(at, at + SPANS)));
  }
  return search.answers;
}

/** Those that some deletion reaches in more than one step. */
export function reachedLayouts(layouts: readonly StoredLayout[]): readonly StoredLayout[] {
  return layouts.filter(({ origins }) => origins.some(({ event }) => event === "DELETED"));
}

/** A row as it was logged last, of those that a page holds. */
interface Logged {
  readonly id: number;
  readonly cells: readonly Cell[];
  readonly key: readonly Cell[];
  /** By the layout that the table has now? */
  readonly isCurrent: boolean;
}

class Search {
  readonly answers: Answer[] = [];
  readonly #session: Session;
  readonly #reached: ReadonlyMap<string, StoredLayout>;
  readonly #reader: LogReader;
  /** Of these tables a deletion goes on. */
  readonly #carrying: ReadonlySet<string>;
  /** Rows below which nothing stood before. */
  readonly #born = new Set<string>();
  readonly #gone = new Set<string>();

  constructor(session: Session, reached: readonly StoredLayout[], reader: LogReader) {
    this.#session = session;
    this.#reached = new Map(reached.map((layout) => [layout.table.name, layout]));
    this.#reader = reader;
    const origins = reached.flatMap((layout) => layout.origins);
    this.#carrying = new Set(
      origins.filter(({ event }) => event === "DELETE").map(({ table }) => table),
    );
  }

  async lookAt(condition: string): Promise<void> {
    const layouts = this.#layoutsOf([...this.#reached.values()]);
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
      if (row.op === "I") this.#born.add(`${layout.table.name} ${text}`);
      const logged = byTable.get(current) ?? new Map<string, Logged>();
      logged.set(text, { id: row.id, cells, key, isCurrent: layout.id === current.id });
      byTable.set(current, logged);
    }
    for (const [layout, logged] of byTable) await this.#answer(layout, logged);
  }

  async #answer(layout: StoredLayout, logged: ReadonlyMap<string, Logged>): Promise<void> {
    const standing = await this.#find(layout, [...logged.values()]);
    const gone: Logged[] = [];
    for (const [text, row] of logged) {
      const found = standing.get(text);
      if (found === undefined) gone.push(row);
      else if (row.isCurrent && JSON.stringify(found.row) !== JSON.stringify(row.cells)) {
        const { text: rowAfter, flags: filters } = found;
        this.answers.push({ layout: layout.id, op: "U", keyBefore: null, rowAfter, filters });
      }
    }
    const told = await this.#told(layout, gone);
    for (const { id, key } of gone) {
      const keyBefore = JSON.stringify(key);
      const name = `${layout.table.name} ${keyBefore}`;
      if ((told.get(keyBefore) ?? 0) > id || this.#gone.has(name)) continue;
      if (this.#carrying.has(layout.table.name) && !this.#born.has(name)) throw moved(layout);
      this.#gone.add(name);
      this.answers.push({ layout: layout.id, op: "D", keyBefore, rowAfter: "", filters: "" });
    }
  }

  /** The rows that stand under these keys, by their keys. */
  async #find(layout: StoredLayout, logged: readonly Logged[]) {
    const { filters } = layout;
    const select = (flags: string) => this.#session.rows(standingQuery(layout, logged, flags));
    const unknown = `'${"e".repeat(filters.length)}'`;
    const found = await select(filterFlags(filters)).catch((error) => {
      // A condition raises an error for some row: then no row's answer is known.
      if (filters.length === 0 || !isTidemarkError(error) || error.retryable) throw error;
      return select(unknown);
    });
    return new Map(
      found.map(([text, flags]) => {
        const row = JSON.parse(text ?? "[]") as Cell[];
        return [JSON.stringify(keyOf(layout, row)), { row, text: text ?? "", flags: flags ?? "" }];
      }),
    );
  }

  /** The keys among these of which the log tells that the row was deleted, or got another, and where last. */
  async #told(layout: StoredLayout, gone: readonly Logged[]): Promise<ReadonlyMap<string, number>> {
    if (gone.length === 0) return new Map();
    const { exactCollation } = this.#session.flavour;
    const keys = gone.map(({ key }) => {
      const cells = key.map((cell) => quoteText(cell ?? ""));
      return `CAST(JSON_ARRAY(${cells.join(", ")}) AS CHAR) COLLATE ${exactCollation}`;
    });
    const rows = await this.#session.rows(
      `SELECT key_before, MAX(id) FROM ${LOG} FORCE INDEX (PRIMARY)
       WHERE id > ${Math.min(...gone.map(({ id }) => id))} AND layout IN (${this.#layoutsOf([layout])})
         AND key_before IN (${keys.join(", ")}) GROUP BY key_before`,
    );
    return new Map(
      rows.map(([key, id]) => [JSON.stringify(JSON.parse(key ?? "[]")), Number(id)] as const),
    );
  }

  #layoutsOf(layouts: readonly StoredLayout[]): string {
    return this.#reader.layoutsOfSameTables(layouts.map(({ id }) => id)).join(", ");
  }
}

function moved(layout: StoredLayout) {
  return captureBroken(
    layout,
    "a row was moved below one that was being deleted at that moment, and went with it and all below it",
  );
}

function standingQuery(
  { table, columns, key }: StoredLayout,
  logged: readonly Logged[],
  flags: string,
): string {
  const text = columns.map((column) => captureExpression(column, quoteName(column.name)));
  const where = logged.map((row) => {
    const equal = key.flatMap((at, i) => {
      const column = columns[at];
      return column === undefined ? [] : equalsCaptured(column, row.key[i] ?? "");
    });
    return `(${equal.join(" AND ")})`;
  });
  return `SELECT CAST(JSON_ARRAY(${text.join(", ")}) AS CHAR), ${flags} FROM ${quoteName(table.name)} WHERE ${where.join(" OR ")}`;
}

function sameKey(one: StoredLayout, other: StoredLayout): boolean {
  const names = ({ key, columns }: StoredLayout) =>
    JSON.stringify(key.map((at) => columns[at]?.name));
  return names(one) === names(other);
}

function keyOf({ key }: StoredLayout, cells: readonly Cell[]): readonly Cell[] {
  return key.map((at) => cells[at] ?? null);
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
