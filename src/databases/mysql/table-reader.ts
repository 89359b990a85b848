import type { LayoutColumn } from "../../core/change.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { filterFlags } from "./capture-sql.ts";
import { captureExpression, comparable, cursorExpression, cursorLiteral } from "./captured-text.ts";
import type { Cell, Session } from "./connection.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { keyIndex, loadFacts, type TableFacts } from "./table-facts.ts";

/** Where a copy stands, as text of the key's columns in the form of `cursorExpression`. */
export interface Cursor {
  /** The last key given; null before the first. */
  readonly last: readonly string[] | null;
  /** The highest key when the copy began; null when the table was empty then. */
  readonly upper: readonly string[] | null;
  /**
   * The columns of the key that ordered these; not told by cursors of an earlier version. Their types and collations are part of
   * what tells one copy from another.
   */
  readonly by?: readonly string[];
}

/** The index of each layout's key, looked up once: a copy is read in thousands of chunks. */
const KEY_INDEXES = new WeakMap<StoredLayout, string | null>();

/** Of a table that was looked at anyway. */
export function noteKeyIndex(layout: StoredLayout, facts: TableFacts): void {
  KEY_INDEXES.set(layout, keyIndex(facts)?.name ?? null);
}

export interface ReadRow {
  readonly row: Cell[];
  readonly flags: string;
  readonly size: number;
  readonly key: readonly string[];
}

export class TableReader {
  readonly #session: Session;
  readonly #layout: StoredLayout;
  readonly #key: readonly LayoutColumn[];
  /** With the index of the key named, so that no plan sorts the table. */
  readonly #from: string;

  private constructor(session: Session, layout: StoredLayout, index: string | null) {
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

  /** Null where the table has not been looked at yet: to open one would ask the server. */
  static ofKnown(session: Session, layout: StoredLayout): TableReader | null {
    const index = KEY_INDEXES.get(layout);
    return index === undefined ? null : new TableReader(session, layout, index);
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

export function estimateOf(rows: Cell | undefined): number | null {
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
