import { setImmediate as breathe } from "node:timers/promises";
import { keyChangedMeanwhile } from "../../core/altered.ts";
import type { Layout } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { Chunk, ChunkRequest, ChunkRows } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import type { Tagged } from "../../core/value.ts";
import { hasNullKey, nullKeyFix } from "./capture.ts";
import { filterText } from "./capture-sql.ts";
import { BrokenText, bytesIn, type Cell, needsBytes, readCells } from "./cells.ts";
import type { Connection } from "./connection.ts";
import type { Bindable } from "./driver.ts";
import { readTable, type TableFacts } from "./facts.ts";
import { foldName, quoteName, sameName } from "./identifiers.ts";
import { bindCell, encodeRow, type Layouts, readFilters } from "./layouts.ts";
import { tag } from "./types.ts";

/** What a cursor holds: keys with their storage classes, since SQLite orders by class first. */
interface Cursor {
  readonly last: readonly Tagged[];
  readonly upper: readonly Tagged[];
  readonly estimatedRows: number | null;
  /**
   * The columns of the key that ordered these; not told by cursors of an earlier version. Their collations stand in the triggers,
   * which are broken where one is another.
   */
  readonly by?: readonly string[];
}

/**
 * The next rows of a table in the order of its key, as SQLite compares keys, up to the key that was
 * the highest when the copy began: rows that come beyond it are in the log anyway.
 * Runs in the snapshot of a cut.
 */
export function readChunk(connection: Connection, layouts: Layouts, request: ChunkRequest): Chunk {
  const { layout, facts } = captured(connection, layouts, request);
  if (layout.key.length === 0 || request.after === WHOLE) throw keyChangedMeanwhile(layout.table);
  const begun = request.after === null ? null : parse(request.after, facts);
  const cursor = begun ?? firstCursor(connection, facts);
  if (cursor === null) {
    const empty: Cursor = { last: [], upper: [], estimatedRows: 0 };
    const content = { kind: "rows", rows: [], filters: [] } as const;
    return { ...base(layout, empty), content, done: true };
  }
  return readRows(connection, layout, facts, cursor, request);
}

/** Cursor of a table that was read in one go. */
const WHOLE = JSON.stringify({ whole: true });
/** Of a table that is read in one go: so much is held in memory. */
const WHOLE_PAGE = { rows: 1_000, bytes: 1 << 20 };

/** Is this a table without a key, which is given in one go? */
export function isKeyless(layouts: Layouts, { table }: ChunkRequest): boolean {
  const layout = layouts.current().find((each) => sameName(each.table.name, table.name));
  return layout?.key.length === 0;
}

/**
 * All rows of a table without a key, in the snapshot that the connection keeps; `end` is called behind
 * the last. The rowid, which is lasting enough within a snapshot, tells where the next page begins.
 */
export function readWhole(
  connection: Connection,
  layouts: Layouts,
  request: ChunkRequest,
  end: () => Promise<void>,
): Chunk {
  const { layout, facts } = captured(connection, layouts, request);
  if (request.after !== null) throw keyChangedMeanwhile(layout.table);
  return {
    layout: layout.id,
    content: { kind: "pages", pages: wholePages(connection, layout, facts, end) },
    cursor: WHOLE,
    done: true,
    estimatedRows: estimateRows(connection, facts),
  };
}

async function* wholePages(
  connection: Connection,
  layout: Layout,
  facts: TableFacts,
  end: () => Promise<void>,
): AsyncGenerator<Omit<ChunkRows, "kind">> {
  const table = quoteName(facts.name);
  const rowid = `${table}.${facts.rowid}`;
  const columns = layout.columns.map(({ name }) => `${table}.${quoteName(name)}`);
  const cells = [filterText(layout.filters), rowid, ...columns];
  for (let last: Cell | undefined, more = true; more; ) {
    const [where, params] = last === undefined ? ["", []] : [`WHERE ${rowid} > ?`, [last]];
    const from = `FROM ${table} ${where} ORDER BY ${rowid} LIMIT ${WHOLE_PAGE.rows + 1}`;
    const page = readCells(connection, { cells, from }, params as Bindable[], WHOLE_PAGE);
    last = page.rows.at(-1)?.[1];
    more = page.cut;
    yield {
      rows: page.rows.map((row) => encodeRow(layout, row.slice(2))),
      filters: page.rows.map((row) => readFilters(row[0] ?? null)),
    };
    await breathe();
  }
  await end();
}

function captured(
  connection: Connection,
  layouts: Layouts,
  { table }: ChunkRequest,
): { readonly layout: Layout; readonly facts: TableFacts } {
  const layout = layouts.current().find((each) => sameName(each.table.name, table.name));
  const facts = readTable(connection, table.name);
  if (layout !== undefined && facts !== null) return { layout, facts };
  throw new TidemarkError(
    "TM-CAPTURE-MISSING",
    `${connection.name}: ${formatTable(table)} is not captured.`,
  );
}

function readRows(
  connection: Connection,
  layout: Layout,
  facts: TableFacts,
  cursor: Cursor,
  request: ChunkRequest,
): Chunk {
  const table = quoteName(facts.name);
  const keys = facts.key.map((part) => quoteName(part.name));
  const order = keyExpressions(facts);
  const params: Bindable[] = [];
  const compare = (operator: string, key: readonly Tagged[]) => {
    const bound = key.map((part) => bindCell(fromTag(part, connection.encoding)));
    params.push(...bound.map(({ value }) => value));
    return `(${order.join(", ")}) ${operator} (${bound.map(({ sql }) => sql).join(", ")})`;
  };
  const bounds = [compare("<=", cursor.upper)];
  if (cursor.last.length > 0) bounds.push(compare(">", cursor.last));
  const cells = [filterText(layout.filters), ...keys];
  for (const { name } of layout.columns) cells.push(quoteName(name));
  const page = readCells(
    connection,
    {
      cells: cells.map((sql, i) => (i === 0 ? sql : `${table}.${sql}`)),
      from: `FROM ${table} WHERE ${bounds.join(" AND ")} ORDER BY ${order.join(", ")} LIMIT ${request.maxRows + 1}`,
    },
    params,
    { rows: request.maxRows, bytes: request.maxBytes },
  );
  const width = 1 + keys.length;
  const lastRow = page.rows.at(-1);
  const last = lastRow === undefined ? cursor.last : lastRow.slice(1, width).map(toTag);
  return {
    ...base(layout, { ...cursor, last }),
    content: {
      kind: "rows",
      rows: page.rows.map((row) => encodeRow(layout, row.slice(width))),
      filters: page.rows.map((row) => readFilters(row[0] ?? null)),
    },
    done: !page.cut,
  };
}

function base(layout: Layout, cursor: Cursor): Pick<Chunk, "layout" | "cursor" | "estimatedRows"> {
  return {
    layout: layout.id,
    cursor: JSON.stringify(cursor),
    estimatedRows: cursor.estimatedRows,
  };
}

/** Null when the table is empty. A NULL in a key would be passed over by every comparison: refused. */
function firstCursor(connection: Connection, facts: TableFacts): Cursor | null {
  if (hasNullKey(connection, facts)) {
    throw new TidemarkError("TM-TABLE-NO-KEY", `${facts.name} holds rows whose key is NULL.`, {
      fix: nullKeyFix(facts),
    });
  }
  const table = quoteName(facts.name);
  const order = keyExpressions(facts).map((key) => `${key} DESC`);
  const { rows } = readCells(
    connection,
    {
      cells: facts.key.map((part) => quoteName(part.name)),
      from: `FROM ${table} ORDER BY ${order.join(", ")} LIMIT 1`,
    },
    [],
    { rows: 1, bytes: 1 },
  );
  const upper = rows[0]?.map(toTag);
  if (upper === undefined) return null;
  return { last: [], upper, estimatedRows: estimateRows(connection, facts), by: keyNames(facts) };
}

/** The rowids' span: exact for a table that only grows, and read without touching its rows. */
function estimateRows(connection: Connection, facts: TableFacts): number | null {
  if (facts.rowid === null) return null;
  const table = quoteName(facts.name);
  const span = connection.value(
    `SELECT (SELECT max(${facts.rowid}) FROM ${table}) - (SELECT min(${facts.rowid}) FROM ${table}) + 1`,
  );
  return typeof span === "bigint" && span > 0n ? Number(span) : null;
}

function keyExpressions(facts: TableFacts): string[] {
  const table = quoteName(facts.name);
  return facts.key.map((part) => {
    const column = `${table}.${quoteName(part.name)}`;
    return facts.keyIsRowid ? column : `${column} COLLATE ${part.collation}`;
  });
}

/** Null where the key is another than the cursor's: the table is read from its beginning, over the rows that stand. */
function parse(text: string, facts: TableFacts): Cursor | null {
  const cursor = JSON.parse(text) as Cursor;
  const { by } = cursor;
  const isOther = by !== undefined && JSON.stringify(by) !== JSON.stringify(keyNames(facts));
  return isOther ? null : cursor;
}

function keyNames({ key }: TableFacts): readonly string[] {
  return key.map(({ name }) => foldName(name));
}

function toTag(cell: Cell): Tagged {
  if (cell !== null) return tag(cell);
  throw new TidemarkError("TM-TABLE-NO-KEY", "A row has NULL in its key.");
}

function fromTag([storage, text]: Tagged, encoding: string): Cell {
  if (storage === "integer") return BigInt(text);
  if (storage === "real") return Number(text);
  if (storage === "blob") return Buffer.from(text, "hex");
  const bytes = needsBytes(encoding, text) ? bytesIn(encoding, text) : null;
  return bytes === null ? text : new BrokenText(bytes, text);
}
