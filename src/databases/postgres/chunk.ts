import { keyChangedMeanwhile } from "../../core/altered.ts";
import type { Chunk, ChunkRequest } from "../../core/source.ts";
import { binaryType } from "./binary-types.ts";
import type { Connection, Row } from "./connection.ts";
import { type CursorState, type KeyOrder, type KeyRanges, SAMPLE_ROWS } from "./key-ranges.ts";
import type { StoredLayout } from "./layouts.ts";
import { parseRowText } from "./row-text.ts";

/** What is asked for, of a table with this layout. */
export interface AskedChunk {
  readonly layout: StoredLayout;
  readonly request: ChunkRequest;
}

/** With the statements that read it. */
export interface WantedChunk extends AskedChunk {
  readonly ranges: KeyRanges;
}

/** A chunk without its rows, and the query that gives them. */
export interface ChunkPlan {
  readonly chunk: Omit<Chunk, "content">;
  readonly filtered: boolean;
  /** Of what streams: may it come in binary? */
  readonly binary: boolean;
  /** Null when there is no row. */
  readonly select: string | null;
}

type ChunkRowsSelect = Pick<ChunkPlan, "select" | "binary">;

const NO_ROWS: ChunkRowsSelect = { select: null, binary: false };

/** What a look at a table tells of its next chunk. */
export type ChunkLook =
  /** It is all that is left of the table, and may be held in memory. */
  | { readonly kind: "small"; readonly plan: ChunkPlan }
  /** How far it goes the server is still to be asked. */
  | { readonly kind: "large"; readonly plan: () => Promise<ChunkPlan> };

/** Of the rows of a small chunk. */
const SMALL_BYTES = 64 * 1024;

/**
 * Looks at the next rows of a table, in the snapshot that the session has: what it asks leaves at once. Only keys are looked at,
 * in their index; how many rows make so many bytes is estimated from the first of them.
 * Null when the table was altered, or written anew by an ALTER since the snapshot, which then shows it empty.
 */
export async function lookAtChunk(
  connection: Connection,
  wanted: WantedChunk,
): Promise<ChunkLook | null> {
  const { layout, request, ranges } = wanted;
  if (layout.key.length === 0) return lookAtWhole(connection, wanted);
  const cursor = parseCursor(wanted);
  const [, [facts], , [standing]] = await Promise.all([
    setPath(connection, ranges.searchPath),
    connection.rows(...ranges.facts(cursor)),
    // Behind the facts, which lock the table, and by no operator but the server's own.
    setPath(connection, "pg_catalog"),
    connection.rows(ranges.standing),
  ]);
  const [width, sampled, highest] = facts as Row;
  const [estimate, asCaptured, types] = standing as Row;
  if (asCaptured !== "t") return null;
  const by: KeyOrder = { key: ranges.keyNames, types: types ?? "" };
  if (cursor?.by !== undefined && cursor.by.types !== by.types) {
    return lookAtChunk(connection, { ...wanted, request: { ...request, after: null } });
  }
  const upper = cursor?.upper ?? keyFields(highest ?? null);
  const planned = (state: Partial<CursorState>, rows: ChunkRowsSelect = NO_ROWS): ChunkPlan => ({
    chunk: {
      layout: layout.id,
      cursor: JSON.stringify(state),
      // No row lies beyond, or the very last one was given: what comes above the upper key is a change.
      done: JSON.stringify(state.after) === JSON.stringify(state.upper),
      estimatedRows: estimateOf(estimate),
    },
    filtered: layout.filters.length > 0,
    ...rows,
  });
  if (upper === null) return { kind: "small", plan: planned({}) };
  const planUpTo = (last: readonly string[], binary: boolean) =>
    planned({ after: last, upper, by }, { binary, select: ranges.rowsUpTo(cursor, last, binary) });
  const [seen, rowBytes] = [Number(sampled), Math.max(1, Number(width))];
  if (seen === 0) return { kind: "small", plan: planned({ after: upper, upper, by }) };
  const rows = Math.floor(Math.min(request.maxRows, request.maxBytes / rowBytes));
  const isAll = seen < SAMPLE_ROWS && seen <= rows;
  if (isAll && seen * rowBytes <= SMALL_BYTES)
    return { kind: "small", plan: planUpTo(upper, false) };
  const plan = async () => {
    const [, [bound]] = await Promise.all([
      setPath(connection, ranges.searchPath),
      connection.rows(...ranges.keyAt(cursor, upper, Math.max(1, rows))),
    ]);
    return planUpTo(keyFields(bound?.[0] ?? null) ?? upper, inBinary(wanted));
  };
  return { kind: "large", plan };
}

/** A table without a key comes as one chunk: COPY streams it, however large it is. */
async function lookAtWhole(connection: Connection, wanted: WantedChunk): Promise<ChunkLook | null> {
  const { layout, request, ranges } = wanted;
  if (request.after !== null) throw keyChangedMeanwhile(layout.table);
  const [facts] = await connection.rows(ranges.wholeFacts);
  const [estimate, , asCaptured] = facts as Row;
  if (asCaptured !== "t") return null;
  const estimatedRows = estimateOf(estimate);
  const binary = inBinary(wanted);
  const plan = {
    chunk: { layout: layout.id, cursor: WHOLE, done: true, estimatedRows },
    filtered: layout.filters.length > 0,
    binary,
    select: ranges.allRows(binary),
  };
  return { kind: "large", plan: async () => plan };
}

/** Rows that were asked for in binary, and can be. */
function inBinary({ layout, request }: WantedChunk): boolean {
  const { columns, filters } = layout;
  const can = columns.every(({ nativeType }) => binaryType(nativeType) !== null);
  return request.binary === true && filters.length === 0 && can;
}

/** The rows of a small chunk, in the order of its key. */
export async function readSmall(
  connection: Connection,
  { ranges }: WantedChunk,
  { select }: ChunkPlan,
): Promise<readonly Row[]> {
  if (select === null) return [];
  const [, rows] = await Promise.all([
    setPath(connection, ranges.searchPath),
    connection.rows(select),
  ]);
  return rows;
}

/** Cursor of a table that was read in one go. */
const WHOLE = JSON.stringify({ whole: true });

function setPath(connection: Connection, path: string): Promise<void> {
  return connection.script(`SET LOCAL search_path TO ${path}`);
}

/** Negative: never counted. */
function estimateOf(reltuples: string | null | undefined): number | null {
  const rows = Number(reltuples);
  return rows < 0 ? null : rows;
}

function keyFields(text: string | null): readonly string[] | null {
  return text === null ? null : (parseRowText(text) as string[]);
}

/** Null also where the key is another than the cursor's: the table is read from its beginning, over the rows that stand. */
function parseCursor({ layout, request, ranges }: WantedChunk): CursorState | null {
  if (request.after === null) return null;
  const cursor = JSON.parse(request.after) as Partial<CursorState>;
  const { by } = cursor;
  if (!cursor.after || !cursor.upper) return null;
  if (by !== undefined && JSON.stringify(by.key) !== JSON.stringify(ranges.keyNames)) return null;
  if (cursor.after.length !== layout.key.length || cursor.upper.length !== layout.key.length) {
    throw keyChangedMeanwhile(layout.table);
  }
  return { after: cursor.after, upper: cursor.upper, ...(by && { by }) };
}
