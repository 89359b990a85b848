import { TidemarkError } from "../../core/errors.ts";
import type { Chunk, ChunkRequest } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import type { Row as ValueRow } from "../../core/value.ts";
import { filterText } from "./capture-sql.ts";
import type { Parameter, Row } from "./connection.ts";
import { quoteIdentifier, quoteTable } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { parseFilters, RowDecoder } from "./log-rows.ts";
import { parseRowText } from "./row-text.ts";

/** What a chunk's cursor holds: keys in PostgreSQL's own text. */
interface CursorState {
  readonly after: readonly string[];
  /** The greatest key when the copy began: rows that come later come as changes. */
  readonly upper: readonly string[];
}

export interface ChunkQuery {
  readonly text: string;
  readonly values: readonly Parameter[];
  /** Schemas whose operators the key's types need. */
  readonly searchPath: readonly string[];
}

const ALIAS = "tidemark_row";

/** The statement that reads the next rows in key order; run in the snapshot of the cut. */
export function chunkQuery(layout: StoredLayout, request: ChunkRequest): ChunkQuery {
  const cursor = parseCursor(layout, request.after);
  let alias = ALIAS;
  while (layout.columns.some((column) => column.name === alias)) alias += "_";
  const from = `${layout.only ? "ONLY " : ""}${quoteTable(layout.table)} ${alias}`;
  const keys = layout.key.map((i) => `${alias}.${quoteIdentifier(layout.columns[i]?.name ?? "")}`);
  const row = layout.wholeRow
    ? `${alias}::text`
    : `ROW(${layout.columns.map((column) => `${alias}.${quoteIdentifier(column.name)}`).join(", ")})::text`;
  const upper = `(SELECT ROW(${keys.join(", ")})::text FROM ${from} ORDER BY ${keys.map((key) => `${key} DESC`).join(", ")} LIMIT 1)`;
  const bounds = cursor
    ? `WHERE ${bound(layout, keys, ">", 0)} AND ${bound(layout, keys, "<=", keys.length)}`
    : "";
  const text = `
SELECT r.row, r.filters, r.key, r.upper, r.estimate FROM (
  SELECT c.*, sum(octet_length(c.row)) OVER (ORDER BY c.number) - octet_length(c.row) AS before
  FROM (
    SELECT ${row} AS row, ${filterText(layout.filters)} AS filters, ROW(${keys.join(", ")})::text AS key,
           ${cursor ? "NULL" : upper} AS upper,
           (SELECT reltuples::bigint FROM pg_class WHERE oid = ${Number(layout.oid)}) AS estimate,
           row_number() OVER (ORDER BY ${keys.join(", ")}) AS number
    FROM ${from} ${bounds}
    ORDER BY ${keys.join(", ")} LIMIT ${Math.max(1, Math.floor(request.maxRows))}
  ) c
) r WHERE r.before < ${Math.max(1, Math.floor(request.maxBytes))} ORDER BY r.number`;
  return {
    text,
    values: cursor ? [...cursor.after, ...cursor.upper] : [],
    searchPath: keySchemas(layout),
  };
}

function bound(
  layout: StoredLayout,
  keys: readonly string[],
  operator: string,
  firstParameter: number,
): string {
  const values = layout.key.map(
    (column, i) => `$${firstParameter + i + 1}::${layout.columns[column]?.nativeType}`,
  );
  return `(${keys.join(", ")}) ${operator} (${values.join(", ")})`;
}

/** `public.citext` is compared by operators in `public`; built-in types need none. */
function keySchemas(layout: StoredLayout): readonly string[] {
  const schemas = layout.key.flatMap((i) => {
    const match = /^("(?:[^"]|"")+"|[a-z_][\w$]*)\./.exec(layout.columns[i]?.nativeType ?? "");
    return match?.[1] ? [match[1]] : [];
  });
  return [...new Set(schemas)];
}

/** Makes the chunk of the rows that the statement gave. */
export function readChunk(
  layout: StoredLayout,
  request: ChunkRequest,
  rows: readonly Row[],
): Chunk {
  const before = parseCursor(layout, request.after);
  const decoder = new RowDecoder(layout);
  const values: ValueRow[] = [];
  const filters: (readonly boolean[])[] = [];
  for (const [row, letters] of rows) {
    values.push(decoder.row(parseRowText(row as string)));
    filters.push(parseFilters(letters ?? null));
  }
  const first = rows[0];
  const last = rows.at(-1);
  const upperText = first?.[3] ?? null;
  const upper =
    before?.upper ?? (upperText === null ? null : (parseRowText(upperText) as string[]));
  const after = last ? (parseRowText(last[2] as string) as string[]) : (before?.after ?? null);
  const estimate = Number(first?.[4] ?? -1);
  return {
    layout: layout.id,
    rows: values,
    filters,
    cursor: JSON.stringify(after && upper ? { after, upper } : {}),
    // No row, or the very last one, was given: whatever comes above the upper key is a change.
    done: !last || JSON.stringify(after) === JSON.stringify(upper),
    estimatedRows: estimate < 0 ? null : estimate,
  };
}

function parseCursor(layout: StoredLayout, text: string | null): CursorState | null {
  if (text === null) return null;
  const cursor = JSON.parse(text) as Partial<CursorState>;
  if (!cursor.after || !cursor.upper) return null;
  if (cursor.after.length !== layout.key.length || cursor.upper.length !== layout.key.length) {
    throw new TidemarkError(
      "TM-SCHEMA-DRIFT",
      `The key of ${formatTable(layout.table)} has changed since its copy began.`,
      { fix: "copy anew: tidemark uninstall, empty the tables at the targets, tidemark run" },
    );
  }
  return { after: cursor.after, upper: cursor.upper };
}
