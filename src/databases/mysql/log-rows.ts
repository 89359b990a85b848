import { COPY_ANEW } from "../../core/altered.ts";
import { type Change, keyColumns, type Operation, unread } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import { parseFilters } from "../../core/row-lines.ts";
import { formatTable } from "../../core/table.ts";
import type { Row } from "../../core/value.ts";
import { UNKNOWN } from "./capture-sql.ts";
import { rowDecoder } from "./captured-text.ts";
import type { Cell, Cells, Session } from "./connection.ts";
import type { Run } from "./id-set.ts";
import { GONE, STANDING } from "./latecomers-sql.ts";
import type { StoredLayout } from "./layouts.ts";
import { LOG, MARK } from "./ours.ts";

/** A row of the change log, as read. */
export interface LogRow {
  readonly id: number;
  readonly at: string;
  readonly layout: number;
  readonly op: string;
  readonly keyBefore: string | null;
  /** Null when this and the key are longer than was asked for: see `length`. */
  readonly rowAfter: string | null;
  readonly filters: string;
  readonly origin: string | null;
  /** Bytes of `rowAfter` and `keyBefore` in the log. */
  readonly length: number;
}

/** Columns of the log; a row longer than `maxLength` bytes comes without its content. */
export function logColumns(maxLength: number): string {
  // A table without a key logs a whole row as one.
  const length = "LENGTH(row_after) + COALESCE(LENGTH(key_before), 0)";
  const short = (column: string) => `IF(${length} <= ${maxLength}, ${column}, NULL)`;
  return `id, at, layout, op, ${short("key_before")}, ${short("row_after")}, filters, origin, ${length}`;
}

/** The content of a row that came without. Null when the row is gone. */
export async function loadContent(session: Session, row: LogRow): Promise<LogRow | null> {
  const [content] = await session.rows(`SELECT key_before, row_after FROM ${LOG} WHERE id = ?`, [
    row.id,
  ]);
  if (content === undefined) return null;
  return { ...row, keyBefore: content[0] ?? null, rowAfter: content[1] ?? null };
}

export function logRow(cells: Cells): LogRow {
  const [id, at, layout, op, keyBefore, rowAfter, filters, origin, length] = cells;
  return {
    id: Number(id),
    at: at ?? "",
    layout: Number(layout),
    op: op ?? "",
    keyBefore: keyBefore ?? null,
    rowAfter: rowAfter ?? null,
    filters: filters ?? "",
    origin: origin ?? null,
    length: Number(length),
  };
}

/** A condition that holds for exactly the ids of these runs. */
export function within(runs: readonly Run[]): string {
  return runs
    .map(([first, last]) => (first === last ? `id = ${first}` : `id BETWEEN ${first} AND ${last}`))
    .join(" OR ");
}

const PAGE_BYTES = 1 << 20;
const MAX_PAGE_ROWS = 2_000;
const FIRST_PAGE_ROWS = 500;
/** Ranges in one statement: more cost the optimizer more than another round trip. */
const MAX_RANGES = 200;

/**
 * The log rows of these runs in order of id, in pages of a few megabytes whatever their size: the
 * number of rows asked for follows the size of those before, and a row much larger than expected
 * comes alone.
 */
export async function* readRuns(
  session: Session,
  runs: readonly Run[],
): AsyncGenerator<readonly LogRow[]> {
  let limit = FIRST_PAGE_ROWS;
  for (let index = 0; index < runs.length; index += MAX_RANGES) {
    let rest: readonly Run[] = runs.slice(index, index + MAX_RANGES);
    while (rest.length > 0) {
      const rows = await readPage(session, rest, limit);
      yield* completePages(session, rows);
      if (rows.length < limit) break;
      rest = after(rest, rows.at(-1)?.id ?? 0);
      const bytes = rows.reduce((sum, row) => sum + row.length + 64, 0);
      const fitting = Math.floor((PAGE_BYTES * rows.length) / bytes);
      limit = Math.min(MAX_PAGE_ROWS, limit * 4, Math.max(1, fitting));
    }
  }
}

async function readPage(session: Session, runs: readonly Run[], limit: number): Promise<LogRow[]> {
  const maxLength = Math.max(1024, Math.floor((8 * PAGE_BYTES) / limit));
  const rows = await session.rows(
    `SELECT ${logColumns(maxLength)} FROM ${LOG} FORCE INDEX (PRIMARY)
     WHERE ${within(runs)} ORDER BY id LIMIT ${limit}`,
  );
  return rows.map(logRow);
}

/** Splits a page at the rows that came without content, each of which is read once the one before it has been taken. */
async function* completePages(
  session: Session,
  rows: readonly LogRow[],
): AsyncGenerator<readonly LogRow[]> {
  let page: LogRow[] = [];
  for (const row of rows) {
    if (row.rowAfter !== null) {
      page.push(row);
      continue;
    }
    if (page.length > 0) yield page;
    page = [];
    const complete = await loadContent(session, row);
    if (complete === null) return;
    yield [complete];
  }
  if (page.length > 0) yield page;
}

function after(runs: readonly Run[], id: number): Run[] {
  return runs.flatMap(([first, last]): Run[] =>
    last <= id ? [] : [[Math.max(first, id + 1), last]],
  );
}

const OPERATIONS: Readonly<Record<string, Operation>> = {
  I: "insert",
  U: "update",
  D: "delete",
  [STANDING]: "update",
  [GONE]: "delete",
};

/** Reads log rows by the layouts they were written with. */
export class LogReader {
  readonly #decoders = new Map<number, ChangeDecoder>();
  /** Tables of which rows have gone that nobody knows. */
  readonly lost = new Set<string>();

  setLayouts(layouts: readonly StoredLayout[]): void {
    for (const layout of layouts) this.#decoders.set(layout.id, changeDecoder(layout));
  }

  /**
   * `batch`: where the row stands. `carried`: the tables that some sync of the config carries. Throws TM-SCHEMA-DRIFT
   * for a row of theirs of which not even the key is known.
   */
  change(row: LogRow, batch: number, carried: ReadonlySet<string>): Change {
    const { layout, decode } = this.#find(row.layout);
    if (row.op === UNKNOWN && layout.key.length > 0) {
      if (carried.has(layout.table.name)) throw unknownKey(layout);
      this.lost.add(layout.table.name);
    }
    const change = decode(row);
    const { readUpTo } = layout;
    // Logged before the table was altered, or after: nothing tells.
    if (readUpTo !== null && batch > readUpTo) return unread(change, layout);
    return isDoubtful(layout, change, batch) ? unread(change, layout) : change;
  }

  /** Throws TM-CAPTURE-BROKEN for one that is not recorded. */
  layout(id: number): StoredLayout {
    return this.#find(id).layout;
  }

  /** The row's key after the change (for a delete, before it), with its table: the identity that order is kept for. */
  keys(row: LogRow): readonly string[] {
    if (row.op === MARK) return [];
    const { layout } = this.#find(row.layout);
    const keys: string[] = [];
    if (row.keyBefore !== null) keys.push(JSON.stringify(JSON.parse(row.keyBefore)));
    if (row.rowAfter !== null && row.rowAfter !== "") {
      const cells = JSON.parse(row.rowAfter) as Cell[];
      keys.push(JSON.stringify(keyColumns(layout).map((index) => cells[index] ?? null)));
    }
    return keys.map((key) => `${layout.table.name}\0${key}`);
  }

  /** Ids of all layouts of the tables that these layouts are of. */
  layoutsOfSameTables(layouts: readonly number[]): readonly number[] {
    const tables = new Set(layouts.map((id) => this.#find(id).layout.table.name));
    return [...this.#decoders.values()]
      .map(({ layout }) => layout)
      .filter((layout) => tables.has(layout.table.name))
      .map((layout) => layout.id);
  }

  #find(layout: number): ChangeDecoder {
    const decoder = this.#decoders.get(layout);
    if (decoder === undefined) {
      throw new TidemarkError(
        "TM-CAPTURE-BROKEN",
        `The change log holds rows of the layout ${layout}, which is not recorded.`,
        { fix: COPY_ANEW },
      );
    }
    return decoder;
  }
}

/** May the update have been refused by a key that its trigger did not know? */
function isDoubtful(
  { doubted, columns, key }: StoredLayout,
  { op, keyBefore, row }: Change,
  batch: number,
): boolean {
  if (doubted === undefined || batch <= doubted.after || op !== "update") return false;
  // The triggers have asked whether a row that got another key still stands under the one before.
  if (key.length > 0) return keyBefore === null;
  // The whole row: it shows what was changed.
  return columns.some(
    ({ name }, at) => doubted.columns.includes(name) && keyBefore?.[at] !== row?.[at],
  );
}

function unknownKey({ table }: StoredLayout): TidemarkError {
  const name = formatTable(table);
  return new TidemarkError(
    "TM-SCHEMA-DRIFT",
    `${name} was altered: a column of its key was dropped or renamed, and rows were deleted or changed since of which the key is not known.`,
    {
      fix: COPY_ANEW,
      details: { table: name },
    },
  );
}

interface ChangeDecoder {
  readonly layout: StoredLayout;
  readonly decode: (row: LogRow) => Change;
}

function changeDecoder(layout: StoredLayout): ChangeDecoder {
  const decodeRow = rowDecoder(layout.columns);
  const decodeKey = rowDecoder(
    keyColumns(layout).flatMap((index) => {
      const column = layout.columns[index];
      return column === undefined ? [] : [column];
    }),
  );
  const row = (text: string): Row => decodeRow(JSON.parse(text) as Cell[]);
  const key = (text: string): Row => decodeKey(JSON.parse(text) as Cell[]);
  return {
    layout,
    decode: ({ layout: id, op, keyBefore, rowAfter, filters, origin }) => ({
      layout: id,
      op: OPERATIONS[op] ?? "update",
      keyBefore: keyBefore === null ? null : key(keyBefore),
      row: rowAfter === null || rowAfter === "" ? null : row(rowAfter),
      rowBefore: null,
      filters: parseFilters(filters),
      transaction: null,
      origin,
      hops: [],
    }),
  };
}
