import type { FilterAnswer, LayoutColumn } from "../../core/change.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { parseFilters } from "../../core/row-lines.ts";
import { resyncCommand } from "../../core/shell.ts";
import type { Chunk, ChunkRequest } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import type { Row } from "../../core/value.ts";
import { filterFlags } from "./capture-sql.ts";
import {
  captureExpression,
  comparable,
  cursorExpression,
  cursorLiteral,
  rowDecoder,
} from "./captured-text.ts";
import { keyIndex, loadFacts, type TableFacts } from "./catalog.ts";
import { type Cell, type Cells, type Session, TABLE_LOCK_SECONDS } from "./connection.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { LOCK_SECONDS } from "./locks.ts";

/** Where a copy stands, as text of the key's columns in the form of `cursorExpression`. */
interface Cursor {
  /** The last key given; null before the first. */
  readonly last: readonly string[] | null;
  /** The highest key when the copy began; null when the table was empty then. */
  readonly upper: readonly string[] | null;
}

/** The index of each layout's key, looked up once: a copy is read in thousands of chunks. */
const KEY_INDEXES = new WeakMap<StoredLayout, string | null>();

/** Of a table that was looked at anyway. */
export function noteKeyIndex(layout: StoredLayout, facts: TableFacts): void {
  KEY_INDEXES.set(layout, keyIndex(facts)?.name ?? null);
}

const BEGIN: Cursor = { last: null, upper: null };

/** Rows read at a time: enough to bound memory when the rows turn out wide. */
const FIRST_ROWS = 256;

/** Reads the next rows of a table in key order, in the snapshot that the session has open. */
export async function readChunk(
  session: Session,
  layout: StoredLayout,
  request: ChunkRequest,
): Promise<Chunk> {
  if (layout.key.length === 0 || request.after === WHOLE) throw keyChanged(layout);
  const reader = await TableReader.open(session, layout);
  let cursor: Cursor =
    request.after === null
      ? { last: null, upper: await reader.highestKey() }
      : parseCursor(request.after, layout);
  const decode = rowDecoder(layout.columns);
  const rows: Row[] = [];
  const filters: (readonly FilterAnswer[])[] = [];
  let bytes = 0;
  let done = cursor.upper === null;
  let limit = Math.min(request.maxRows, FIRST_ROWS);
  while (
    !done &&
    rows.length < request.maxRows &&
    (rows.length === 0 || bytes < request.maxBytes)
  ) {
    const fitting = await reader.fitting(cursor, limit, request.maxBytes - bytes);
    const page = await reader.read(cursor, fitting);
    for (const { row, flags, size, key } of page) {
      rows.push(decode(row));
      filters.push(parseFilters(flags));
      bytes += size;
      cursor = { ...cursor, last: key };
    }
    done = page.length < fitting || sameKey(cursor.last, cursor.upper);
    limit = Math.min(request.maxRows - rows.length, limit * 4);
  }
  return {
    layout: layout.id,
    content: { kind: "rows", rows, filters },
    cursor: JSON.stringify(cursor),
    done,
    estimatedRows: await reader.estimate(),
  };
}

/** So many rows a small table has at most, and as much text. */
const SMALL_ROWS = 256;
const SMALL_BYTES = 64 << 10;

/**
 * Reads small tables whole, in the snapshot that the session has open, with all that is asked in two ways to the server: those
 * from the first on up to one that is not small. None at all: the first is to be read by itself. When it throws, the snapshot may
 * have ended: a deadlock ends the transaction.
 */
export async function readSmall(
  session: Session,
  asked: readonly { readonly layout: StoredLayout; readonly request: ChunkRequest }[],
): Promise<readonly Chunk[]> {
  const readers: { readonly reader: TableReader; readonly layout: StoredLayout }[] = [];
  for (const { layout, request } of asked) {
    const index = KEY_INDEXES.get(layout);
    const mayBeSmall = request.after === null && request.maxRows >= SMALL_ROWS;
    if (!mayBeSmall || index === undefined || layout.key.length === 0) break;
    const reader = new TableReader(session, layout, index);
    readers.push({ reader, layout });
  }
  // One by itself takes no more ways without.
  if (readers.length < 2) return [];
  const answers = await notWaiting(session, [
    ...readers.map(({ reader }) => reader.measure(SMALL_ROWS + 1)),
    ...readers.map(({ reader }) => reader.estimation),
  ]);
  const measured = answers.slice(0, readers.length);
  const estimated = answers.slice(readers.length);
  const large = measured.findIndex(([row]) => !isSmall(row));
  const small = large === -1 ? readers : readers.slice(0, large);
  if (small.length === 0) return [];
  const found = await notWaiting(
    session,
    small.map(({ reader }) => reader.selection(BEGIN, SMALL_ROWS + 1)),
  );
  return small.map(({ reader, layout }, at) => {
    const rows = reader.readRows(found[at] ?? []);
    const decode = rowDecoder(layout.columns);
    // Whoever asks for no more than there is has read up to the highest key.
    const last = rows.at(-1)?.key ?? null;
    return {
      layout: layout.id,
      content: {
        kind: "rows",
        rows: rows.map(({ row }) => decode(row)),
        filters: rows.map(({ flags }) => parseFilters(flags)),
      },
      cursor: JSON.stringify({ last, upper: last } satisfies Cursor),
      done: true,
      estimatedRows: estimateOf(estimated[at]?.[0]?.[0]),
    };
  });
}

function isSmall([rows = "0", bytes = "0"]: Cells = []): boolean {
  return Number(rows) <= SMALL_ROWS && Number(bytes) <= SMALL_BYTES;
}

/** A flight. A table that somebody has locked is not waited for while others are held: he may want one of them next. */
async function notWaiting(
  session: Session,
  statements: readonly string[],
): Promise<readonly (readonly Cell[][])[]> {
  const wait = (seconds: number) => `SET lock_wait_timeout = ${seconds}`;
  const end = wait(TABLE_LOCK_SECONDS);
  try {
    const answers = await session.flight([wait(LOCK_SECONDS), ...statements, end]);
    return answers.slice(1, -1);
  } catch (error) {
    await session.run(end);
    throw error;
  }
}

/** Cursor of a table that was read in one go. */
const WHOLE = JSON.stringify({ whole: true });
/** Of a table that is read in one go: so much is held in memory. */
const WHOLE_PAGE = { rows: 1_000, bytes: 1 << 20 };

/**
 * All rows of a table without a key, streamed from the snapshot that the session has open; `end` is
 * called behind the last.
 */
export async function readWhole(
  session: Session,
  layout: StoredLayout,
  { after }: ChunkRequest,
  end: () => Promise<void>,
): Promise<Chunk> {
  if (after !== null) throw keyChanged(layout);
  const reader = await TableReader.open(session, layout);
  await reader.hold();
  const estimatedRows = await reader.estimate();
  const pages = wholePages(reader.all(), rowDecoder(layout.columns), end);
  const content = { kind: "pages", pages } as const;
  return { layout: layout.id, content, cursor: WHOLE, done: true, estimatedRows };
}

async function* wholePages(
  found: AsyncIterable<Omit<ReadRow, "key">>,
  decode: (row: Cell[]) => Row,
  end: () => Promise<void>,
): AsyncGenerator<{ rows: Row[]; filters: (readonly FilterAnswer[])[] }> {
  let page = { rows: [] as Row[], filters: [] as (readonly FilterAnswer[])[] };
  let bytes = 0;
  for await (const { row, flags, size } of found) {
    page.rows.push(decode(row));
    page.filters.push(parseFilters(flags));
    bytes += size;
    if (page.rows.length < WHOLE_PAGE.rows && bytes < WHOLE_PAGE.bytes) continue;
    yield page;
    page = { rows: [], filters: [] };
    bytes = 0;
  }
  await end();
  yield page;
}

function parseCursor(text: string, layout: StoredLayout): Cursor {
  const cursor = JSON.parse(text) as Cursor;
  if (cursor.last !== null && cursor.last.length !== layout.key.length) throw keyChanged(layout);
  return cursor;
}

function keyChanged({ table }: StoredLayout): TidemarkError {
  return new TidemarkError(
    "TM-SCHEMA-DRIFT",
    `The key of ${formatTable(table)} is not the one its copy began with.`,
    { fix: `${resyncCommand(table)}, then tidemark run: it is copied anew` },
  );
}

function sameKey(a: readonly string[] | null, b: readonly string[] | null): boolean {
  return a !== null && b !== null && a.every((part, index) => part === b[index]);
}

interface ReadRow {
  readonly row: Cell[];
  readonly flags: string;
  readonly size: number;
  readonly key: readonly string[];
}

class TableReader {
  readonly #session: Session;
  readonly #layout: StoredLayout;
  readonly #key: readonly LayoutColumn[];
  /** With the index of the key named, so that no plan sorts the table. */
  readonly #from: string;

  constructor(session: Session, layout: StoredLayout, index: string | null) {
    this.#session = session;
    this.#layout = layout;
    this.#key = layout.key.flatMap((each) => layout.columns[each] ?? []);
    const hint = index === null ? "" : ` FORCE INDEX (${quoteName(index)})`;
    this.#from = `${quoteName(layout.table.name)}${hint}`;
  }

  static async open(session: Session, layout: StoredLayout): Promise<TableReader> {
    let index = KEY_INDEXES.get(layout);
    if (index === undefined) {
      const facts = (await loadFacts(session, [layout.table.name])).get(layout.table.name);
      if (facts === undefined) {
        throw new TidemarkError("TM-TABLE-MISSING", `There is no table ${layout.table.name}.`);
      }
      noteKeyIndex(layout, facts);
      index = KEY_INDEXES.get(layout) ?? null;
    }
    return new TableReader(session, layout, index);
  }

  async highestKey(): Promise<readonly string[] | null> {
    const rows = await this.#session.rows(
      `SELECT ${this.#keyText()} FROM ${this.#from} ORDER BY ${this.#order("DESC")} LIMIT 1`,
    );
    const [row] = rows;
    return row === undefined ? null : row.map((cell) => cell ?? "");
  }

  /**
   * How many of the next rows fit into so many bytes, at least one. Asked only of tables whose rows
   * may be wide: reading the length of a long value does not read the value.
   */
  async fitting(cursor: Cursor, limit: number, bytes: number): Promise<number> {
    const wide = this.#layout.columns.filter(isWide);
    if (wide.length === 0) return limit;
    const length = wide.map(lengthOf).join(" + ");
    const lengths = await this.#session.rows(
      `SELECT ${length} FROM ${this.#from} WHERE ${this.#range(cursor)}
       ORDER BY ${this.#order("ASC")} LIMIT ${limit}`,
    );
    let sum = 0;
    const over = lengths.findIndex(([cell]) => {
      sum += Number(cell);
      return sum > bytes;
    });
    return over === -1 ? limit : Math.max(1, over);
  }

  async read(cursor: Cursor, limit: number): Promise<ReadRow[]> {
    const { filters } = this.#layout;
    try {
      return await this.#select(cursor, limit, filterFlags(filters));
    } catch (error) {
      if (filters.length === 0 || !isTidemarkError(error) || error.retryable) throw error;
    }
    // For some row a condition raises an error: each row is asked about by itself.
    let at = cursor;
    const rows: ReadRow[] = [];
    for (const row of await this.#select(cursor, limit, "''")) {
      rows.push({ ...row, flags: await this.#flagsOfNext(at) });
      at = { ...at, last: row.key };
    }
    return rows;
  }

  async #flagsOfNext(cursor: Cursor): Promise<string> {
    let flags = "";
    for (const filter of this.#layout.filters) {
      try {
        const [row] = await this.#select(cursor, 1, filterFlags([filter]));
        flags += row?.flags ?? "";
      } catch (error) {
        if (!isTidemarkError(error) || error.retryable) throw error;
        flags += "e";
      }
    }
    return flags;
  }

  async #select(cursor: Cursor, limit: number, flags: string): Promise<ReadRow[]> {
    return this.readRows(await this.#session.rows(this.selection(cursor, limit, flags)));
  }

  selection(cursor: Cursor, limit: number, flags = filterFlags(this.#layout.filters)): string {
    return `SELECT ${this.#rowText()}, ${flags}, ${this.#keyText()}
       FROM ${this.#from} WHERE ${this.#range(cursor)} ORDER BY ${this.#order("ASC")} LIMIT ${limit}`;
  }

  /** Answers of `selection`. */
  readRows(rows: readonly Cell[][]): ReadRow[] {
    const width = this.#layout.columns.length;
    return rows.map((cells) => ({
      ...this.#readRow(cells),
      key: cells.slice(width + 1).map((cell) => cell ?? ""),
    }));
  }

  /** How many rows the table has, counted up to a limit, and how much text they are. */
  measure(limit: number): string {
    const sizes = this.#layout.columns.map((column) => {
      const { kind } = column.type;
      const mayBeLong = ["text", "bytes", "json", "native"].includes(kind);
      return mayBeLong ? lengthOf(column) : `${SHORT_VALUE}`;
    });
    return `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM (
       SELECT ${sizes.join(" + ")} AS size FROM ${this.#from} ORDER BY ${this.#order("ASC")} LIMIT ${limit}
     ) AS few`;
  }

  /** Every row, in no order: of a table without a key, which no condition filters. */
  async *all(): AsyncGenerator<Omit<ReadRow, "key">> {
    const rows = this.#session.stream(`SELECT ${this.#rowText()}, '' FROM ${this.#from}`);
    for await (const cells of rows) yield this.#readRow(cells);
  }

  #readRow(cells: readonly Cell[]): Omit<ReadRow, "key"> {
    const width = this.#layout.columns.length;
    const row = cells.slice(0, width);
    const size = row.reduce((sum, cell) => sum + (cell?.length ?? 0) + 4, 0);
    return { row, flags: cells[width] ?? "", size };
  }

  #rowText(): string {
    const values = this.#layout.columns.map((column) =>
      captureExpression(column, quoteName(column.name)),
    );
    return values.join(", ");
  }

  /** From now on, until its transaction ends, nobody alters the table. */
  async hold(): Promise<void> {
    await this.#session.value(`SELECT 1 FROM ${quoteName(this.#layout.table.name)} LIMIT 1`);
  }

  async estimate(): Promise<number | null> {
    return estimateOf(await this.#session.value(this.estimation));
  }

  get estimation(): string {
    return `SELECT TABLE_ROWS FROM information_schema.TABLES
       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${quoteText(this.#layout.table.name)}`;
  }

  #keyText(): string {
    return this.#key.map((column) => cursorExpression(column, quoteName(column.name))).join(", ");
  }

  #order(direction: "ASC" | "DESC"): string {
    return this.#key.map((column) => `${quoteName(column.name)} ${direction}`).join(", ");
  }

  #range({ last, upper }: Cursor): string {
    const bounds = [
      ...(last === null ? [] : [this.#beyond(last, ">", false)]),
      ...(upper === null ? [] : [this.#beyond(upper, "<", true)]),
    ];
    return bounds.length === 0 ? "1 = 1" : bounds.join(" AND ");
  }

  /**
   * `(a, b) > (x, y)` spelled out, since only then is it a range of the index; the first column's
   * own bound is repeated to make that plain to the optimizer.
   */
  #beyond(key: readonly string[], operator: "<" | ">", inclusive: boolean): string {
    const columns = this.#key.map((column, index) => ({
      name: comparable(column, quoteName(column.name)),
      literal: cursorLiteral(column, key[index] ?? ""),
    }));
    const cases = columns.map(({ name, literal }, index) => {
      const equal = columns.slice(0, index).map((each) => `${each.name} = ${each.literal}`);
      const last = index === columns.length - 1;
      const sign = last && inclusive ? `${operator}=` : operator;
      return [...equal, `${name} ${sign} ${literal}`].join(" AND ");
    });
    const [first] = columns;
    const range = first === undefined ? "1 = 1" : `${first.name} ${operator}= ${first.literal}`;
    return `${range} AND (${cases.map((each) => `(${each})`).join(" OR ")})`;
  }
}

const WIDE_LENGTH = 4_096;

function isWide({ type }: LayoutColumn): boolean {
  if (type.kind === "text" || type.kind === "bytes") {
    return type.maxLength === undefined || type.maxLength > WIDE_LENGTH;
  }
  return type.kind === "json" || (type.kind === "native" && !type.name.startsWith("set("));
}

function estimateOf(rows: Cell | undefined): number | null {
  return rows === null || rows === undefined ? null : Number(rows);
}

function lengthOf(column: LayoutColumn): string {
  return `COALESCE(LENGTH(${quoteName(column.name)}), 0) * ${factor(column)}`;
}

/** The text of a number or a time is taken for so long. */
const SHORT_VALUE = 24;

/** Bytes become twice as many hex digits. */
function factor({ type }: LayoutColumn): number {
  return type.kind === "bytes" || type.kind === "native" ? 2 : 1;
}
