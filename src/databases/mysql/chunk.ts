import { keyChangedMeanwhile } from "../../core/altered.ts";
import { type FilterAnswer, keyNames } from "../../core/change.ts";
import { parseFilters } from "../../core/row-lines.ts";
import type { Chunk, ChunkRequest } from "../../core/source.ts";
import type { Row } from "../../core/value.ts";
import { rowDecoder } from "./captured-text.ts";
import { type Cell, type Cells, type Session, TABLE_LOCK_SECONDS } from "./connection.ts";
import type { StoredLayout } from "./layouts.ts";
import { LOCK_SECONDS } from "./locks.ts";
import { type Cursor, estimateOf, type ReadRow, TableReader } from "./table-reader.ts";

const BEGIN: Cursor = { last: null, upper: null };

/** Rows read at a time: enough to bound memory when the rows turn out wide. */
const FIRST_ROWS = 256;

/** Reads the next rows of a table in key order, in the snapshot that the session has open. */
export async function readChunk(
  session: Session,
  layout: StoredLayout,
  request: ChunkRequest,
): Promise<Chunk> {
  if (layout.key.length === 0 || request.after === WHOLE) throw keyChangedMeanwhile(layout.table);
  const reader = await TableReader.open(session, layout);
  const begun = request.after === null ? null : parseCursor(request.after, layout);
  let cursor = begun ?? { last: null, upper: await reader.highestKey(), by: keyNames(layout) };
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
    const reader = TableReader.ofKnown(session, layout);
    const mayBeSmall = request.after === null && request.maxRows >= SMALL_ROWS;
    if (!mayBeSmall || reader === null || layout.key.length === 0) break;
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
  if (after !== null) throw keyChangedMeanwhile(layout.table);
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

/**
 * Null where the key is another than the cursor's: rows that had come before it by then, and are behind it now, would never
 * come. So the table is read from its beginning, over the rows that stand.
 */
function parseCursor(text: string, layout: StoredLayout): Cursor | null {
  const cursor = JSON.parse(text) as Cursor;
  const { by } = cursor;
  if (by !== undefined && JSON.stringify(by) !== JSON.stringify(keyNames(layout))) return null;
  if (cursor.last !== null && cursor.last.length !== layout.key.length)
    throw keyChangedMeanwhile(layout.table);
  return cursor;
}

function sameKey(a: readonly string[] | null, b: readonly string[] | null): boolean {
  return a !== null && b !== null && a.every((part, index) => part === b[index]);
}
