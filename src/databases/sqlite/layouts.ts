import { COPY_ANEW } from "../../core/altered.ts";
import {
  type Change,
  type FilterAnswer,
  keyColumns,
  type Layout,
  type Operation,
} from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import { parseFilters } from "../../core/row-lines.ts";
import { shellWord } from "../../core/shell.ts";
import type { Row, Value } from "../../core/value.ts";
import { BrokenText, type Cell, TEXT_OF_BYTES } from "./cells.ts";
import type { Connection } from "./connection.ts";
import type { Bindable } from "./driver.ts";
import { encodeCell, tag } from "./types.ts";

interface LayoutRow {
  readonly id: bigint;
  readonly definition: string;
  readonly only_columns: bigint;
}

/** A layout as it is stored, its id apart. */
export interface Definition extends Omit<Layout, "id"> {
  /** The names of all columns, where one that comes is drift; else null. */
  readonly known: readonly string[] | null;
}

/** A layout, and how its update trigger was made. */
export interface InstalledLayout extends Definition {
  readonly id: number;
  readonly onlyColumns: boolean;
}

/** The layouts of a file, read once and kept: they never change, only new ones come. */
export class Layouts {
  readonly #connection: Connection;
  readonly #byId = new Map<number, Layout>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  all(): readonly Layout[] {
    const layouts = this.#rows("").map((row) => toLayout(this.#connection, row));
    for (const layout of layouts) this.#byId.set(layout.id, layout);
    return layouts;
  }

  /** Those that triggers log with now. */
  current(): readonly InstalledLayout[] {
    return this.#installed("WHERE current = 1");
  }

  /** The last of each table, also of one that was forgotten since: its triggers may log still. */
  newest(): readonly InstalledLayout[] {
    return this.#installed(
      "WHERE id IN (SELECT max(id) FROM tidemark_layouts GROUP BY table_name COLLATE NOCASE)",
    );
  }

  /** Makes this the layout of its table from now on; gives it its id. Within a transaction. */
  add(layout: Definition, onlyColumns: boolean): number {
    this.retire(layout.table.name);
    const id = this.#connection.value(
      "INSERT INTO tidemark_layouts (table_name, definition, only_columns, current) VALUES (?, ?, ?, 1) RETURNING id",
      layout.table.name,
      JSON.stringify(layout),
      onlyColumns ? 1n : 0n,
    );
    return Number(id);
  }

  /** No layout is the table's any more. Within a transaction. */
  retire(table: string): void {
    this.#connection.run(
      "UPDATE tidemark_layouts SET current = 0 WHERE table_name = ? COLLATE NOCASE",
      table,
    );
  }

  get(id: number): Layout {
    if (!this.#byId.has(id)) this.all();
    const layout = this.#byId.get(id);
    if (layout !== undefined) return layout;
    throw new TidemarkError(
      "TM-CAPTURE-BROKEN",
      `${this.#connection.name}: the change log names layout ${id}, which is not recorded.`,
    );
  }

  #installed(where: string): readonly InstalledLayout[] {
    return this.#rows(where).map((row) => ({
      ...definitionOf(this.#connection, row),
      id: Number(row.id),
      onlyColumns: row.only_columns === 1n,
    }));
  }

  #rows(where: string): LayoutRow[] {
    return this.#connection.rows<LayoutRow>(
      `SELECT id, definition, only_columns FROM tidemark_layouts ${where} ORDER BY id`,
    );
  }
}

function toLayout(connection: Connection, row: LayoutRow): Layout {
  const { table, columns, key, filters } = definitionOf(connection, row);
  return { id: Number(row.id), table, columns, key, filters };
}

/** The column is NOT NULL and holds what we wrote: anything else is a file that was mixed with another. Throws TM-SERVER-UNSUPPORTED. */
function definitionOf({ name, path }: Connection, { id, definition }: LayoutRow): Definition {
  try {
    const found = JSON.parse(definition) as Definition | null;
    if (found !== null && typeof found === "object") return found;
  } catch {
    // Told below.
  }
  throw new TidemarkError(
    "TM-SERVER-UNSUPPORTED",
    `${name}: ${path} is damaged: row ${id} of tidemark_layouts cannot be read. That comes of a file that was replaced while open, with the -wal of the one before beside it.`,
    {
      fix: `sqlite3 ${shellWord(path)} 'PRAGMA integrity_check'; then put the file there once more, while nobody has it open and without the old -wal and -shm.`,
      details: { database: name, path },
    },
  );
}

const OPERATIONS: Readonly<Record<string, Operation>> = {
  i: "insert",
  u: "update",
  d: "delete",
  k: "update",
};

/** One row of the change log, as its columns stand. */
export interface LogRow {
  readonly op: string;
  readonly layout: Layout;
  readonly keys: readonly Cell[];
  readonly values: readonly Cell[];
  readonly filters: Cell;
  readonly origin: Cell;
}

/** Null for an entry that says nothing. Throws TM-VALUE-REFUSED for a row without a key. */
export function toChange(row: LogRow): Change | null {
  const op = OPERATIONS[row.op];
  if (op === undefined) return null;
  const { layout } = row;
  const gone = row.op === "d" || row.op === "k";
  return {
    layout: layout.id,
    op,
    keyBefore: gone ? encodeKey(layout, row.keys) : null,
    row: gone ? null : encodeRow(layout, row.values),
    rowBefore: null,
    filters: gone ? layout.filters.map(() => false) : readFilters(row.filters),
    transaction: null,
    origin: typeof row.origin === "string" ? row.origin : null,
    hops: [],
  };
}

/** Of a row that no target could have. */
export function unreadChange({ id }: Layout): Change {
  return {
    layout: id,
    op: "update",
    ...{ keyBefore: null, row: null, rowBefore: null, filters: [] },
    ...{ transaction: null, origin: null, hops: [] },
  };
}

export function readFilters(text: Cell): readonly FilterAnswer[] {
  return parseFilters(typeof text === "string" ? text : "");
}

export function encodeRow(layout: Layout, cells: readonly Cell[]): Row {
  const row = layout.columns.map(({ type }, i) => encodeCell(cells[i] ?? null, type.kind));
  requireKey(
    layout,
    layout.key.map((index) => row[index] ?? null),
  );
  return row;
}

function encodeKey(layout: Layout, cells: readonly Cell[]): Row {
  const key = keyColumns(layout).map((index, i) => {
    const kind = layout.columns[index]?.type.kind ?? "native";
    return encodeCell(cells[i] ?? null, kind);
  });
  if (layout.key.length > 0) requireKey(layout, key);
  return key;
}

/** A NULL in a primary key (which SQLite allows) names no row: nothing could tell it from another. */
function requireKey(layout: Layout, key: readonly Value[]): void {
  if (!key.includes(null)) return;
  throw new TidemarkError(
    "TM-VALUE-REFUSED",
    `A row of ${layout.table.name} has NULL in its primary key: no target can tell it from another.`,
    {
      fix: `Give such rows a key and declare the key NOT NULL. ${COPY_ANEW}`,
      details: { table: layout.table.name },
    },
  );
}

/** Identity of a key across layouts of a table. */
export function keyText(layout: Layout, cells: readonly Cell[]): string {
  return JSON.stringify([
    layout.table.name,
    ...cells.map((cell) => (cell === null ? null : tag(cell))),
  ]);
}

/** How a cell is given back to SQL without losing anything. */
export function bindCell(cell: Cell): { readonly sql: string; readonly value: Bindable } {
  if (!(cell instanceof BrokenText)) return { sql: "?", value: cell };
  return { sql: TEXT_OF_BYTES, value: cell.bytes };
}
