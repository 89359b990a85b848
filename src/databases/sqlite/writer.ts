import { setImmediate as breathe } from "node:timers/promises";
import { TidemarkError } from "../../core/errors.ts";
import type { BoundTable } from "../../core/target.ts";
import { type Row, UNCHANGED } from "../../core/value.ts";
import { type Binder, binderOf, RawText } from "./binding.ts";
import { TEXT_OF_BYTES } from "./cells.ts";
import type { Connection } from "./connection.ts";
import type { Bindable } from "./driver.ts";
import { isSchemaMismatch } from "./errors.ts";
import { readTable, type TableFacts } from "./facts.ts";
import { quoteName, sameName } from "./identifiers.ts";
import { affinityOf } from "./types.ts";

/** The event loop gets a turn at least this often. */
const SLICE_MS = 15;
const ROWS_BETWEEN_LOOKS = 64;
/** Rows of one upsert: half again as fast as one by one. */
const ROWS_PER_STATEMENT = 16;
/** Rows on their way out of a table without a key. */
const GONE = "temp.tidemark_gone";
const NO_RAW: readonly number[] = [];
const nullBinder: Binder = () => null;

/** Writes rows of one target table over one connection. */
export class TableWriter {
  readonly #connection: Connection;
  readonly #name: string;
  readonly #table: BoundTable;
  readonly #columns: readonly string[];
  readonly #key: readonly number[];
  readonly #rowid: string | null;
  /** Collation of each key column, where SQLite would take different keys for the same. */
  readonly #coarse: readonly boolean[];
  /** Key columns in which equal values are the same value: an upsert need not write them again. */
  readonly #fixed: ReadonlySet<number>;
  readonly #binders: readonly Binder[];
  /** What overrules the ON CONFLICT of its schema. */
  readonly #or: string;

  /** Throws TM-TABLE-MISSING, TM-COLUMN-MISSING. */
  constructor(connection: Connection, table: BoundTable) {
    const facts = readTable(connection, table.name.name);
    if (facts === null) throw tableMissing(connection, table);
    this.#connection = connection;
    this.#table = table;
    this.#name = quoteName(facts.name);
    this.#columns = table.columns.map(({ name }) => quoteName(columnOf(facts, name).name));
    this.#key = table.key;
    this.#rowid = facts.rowid;
    this.#or = hasConflictRules(connection, facts.name) ? " OR ABORT" : "";
    this.#coarse = table.key.map((index) => isCoarse(facts, table.columns[index]?.name ?? ""));
    const affinities = table.columns.map(({ name }) =>
      affinityOf(columnOf(facts, name).declared, facts.strict),
    );
    // 'a' and 'A' may be one key, and so may 1 and 1.0, and 0 and -0.
    this.#fixed = new Set(
      table.key.filter(
        (index, i) =>
          !this.#coarse[i] &&
          affinities[index] !== "none" &&
          table.columns[index]?.numeric !== true,
      ),
    );
    this.#binders = table.columns.map(({ name, type }, i) =>
      binderOf({
        table: facts.name,
        name,
        type,
        affinity: affinities[i] ?? "none",
        encoding: connection.encoding,
      }),
    );
  }

  async put(rows: readonly Row[]): Promise<void> {
    const many = this.#connection.prepare(this.#upsertSql([], ROWS_PER_STATEMENT));
    const full = ROWS_PER_STATEMENT * this.#columns.length;
    let params: Bindable[] = [];
    await this.#each(rows, (row) => {
      if (row.includes(UNCHANGED)) return this.#update(row);
      const { cells, raw } = this.#bindAll(row, this.#binders);
      if (raw.length > 0) return this.#connection.run(this.#upsertSql(raw), ...cells);
      for (const cell of cells) params.push(cell);
      if (params.length < full) return;
      many.run(...params);
      params = [];
    });
    const one = this.#connection.prepare(this.#upsertSql([]));
    const width = this.#columns.length;
    for (let i = 0; i < params.length; i += width) {
      this.#explained(() => one.run(...params.slice(i, i + width)));
    }
  }

  async remove(keys: readonly Row[]): Promise<void> {
    if (this.#key.length === 0) return this.#removeWhole(keys);
    const places = this.#wherePlaces();
    const binders = places.map((i) => this.#binders[this.#key[i] ?? 0] ?? nullBinder);
    const asGiven = places.length === this.#key.length;
    const remove = this.#connection.prepare(this.#removeSql([]));
    await this.#each(keys, (key) => {
      const row = asGiven ? key : places.map((i) => key[i] ?? null);
      const { cells, raw } = this.#bindAll(row, binders);
      if (raw.length === 0) remove.run(...cells);
      else this.#connection.run(this.#removeSql(raw), ...cells);
    });
  }

  /**
   * Of rows that are equal, as many as are given. They pass through a table of the same types, so that
   * they are compared as what the columns made of them; the table is read once, however many go.
   */
  async #removeWhole(rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return;
    const connection = this.#connection;
    const list = this.#columns.join(", ");
    connection.run(`DROP TABLE IF EXISTS ${GONE}`);
    connection.run(
      `CREATE TEMP TABLE ${GONE.slice("temp.".length)} AS SELECT ${list} FROM ${this.#name} LIMIT 0`,
    );
    await this.#each(rows, (row) => {
      const { cells, raw } = this.#bindAll(row, this.#binders);
      const values = this.#columns.map((_, i) => parameter(i, raw)).join(", ");
      connection.run(`INSERT INTO ${GONE} (${list}) VALUES (${values})`, ...cells);
    });
    const gone = `SELECT ${this.#rowText(GONE)} AS row, count(*) AS times FROM ${GONE} GROUP BY 1`;
    const rowid = `${this.#name}.${this.#rowid}`;
    const numbered = `SELECT ${rowid} AS id, gone.times, row_number() OVER (PARTITION BY gone.row) AS nth
      FROM (${gone}) AS gone JOIN ${this.#name} ON ${this.#rowText(this.#name)} = gone.row`;
    await this.#each([[]], () =>
      connection.run(
        `DELETE FROM ${this.#name} WHERE ${this.#rowid} IN (SELECT id FROM (${numbered}) WHERE nth <= times)`,
      ),
    );
  }

  /** A text that is equal for rows that are equal, storage classes and all. */
  #rowText(table: string): string {
    const cells = this.#columns.map((name) => {
      const cell = `${table}.${name}`;
      return `CASE typeof(${cell}) WHEN 'text' THEN 't' || hex(CAST(${cell} AS BLOB)) WHEN 'blob' THEN 'b' || hex(${cell}) ELSE quote(${cell}) END`;
    });
    return cells.join(" || ',' || ");
  }

  async clear(): Promise<void> {
    await this.#each([[]], () => this.#connection.run(`DELETE FROM ${this.#name}`));
  }

  /** Some columns stay as they are: only a row that is there can be changed so. */
  #update(row: Row): void {
    const kept = new Set(this.#key);
    const changed = row.flatMap((value, i) => (value === UNCHANGED || kept.has(i) ? [] : [i]));
    const order = [...changed, ...this.#wherePlaces().map((i) => this.#key[i] ?? 0)];
    const sql = (raw: readonly number[]) => {
      const set = changed.map((index, i) => `${this.#columns[index]} = ${parameter(i, raw)}`);
      const where = this.#where(changed.length, raw);
      // Nothing but the key is given: the row has to be there, and stays.
      if (set.length === 0) set.push(`${this.#columns[0]} = ${this.#columns[0]}`);
      return `UPDATE${this.#or} ${this.#name} SET ${set.join(", ")} WHERE ${where} RETURNING 1`;
    };
    const { cells, raw } = this.#bindAll(
      order.map((index) => row[index] ?? null),
      order.map((index) => this.#binders[index] ?? nullBinder),
    );
    if (this.#connection.value(sql(raw), ...cells) !== undefined) return;
    throw new TidemarkError(
      "TM-APPLY-CONSTRAINT",
      `${this.#name}: a row of which only some columns changed is not there.`,
      { details: { table: this.#table.name.name } },
    );
  }

  /** `raw`: places of text that is bound as bytes. */
  #bindAll(row: Row, binders: readonly Binder[]): { cells: Bindable[]; raw: readonly number[] } {
    const cells: Bindable[] = [];
    let raw: number[] | null = null;
    for (let i = 0; i < binders.length; i++) {
      const cell = binders[i]?.(row[i] ?? null) ?? null;
      if (cell instanceof RawText) {
        raw ??= [];
        raw.push(i);
        cells.push(cell.bytes);
      } else cells.push(cell);
    }
    return { cells, raw: raw ?? NO_RAW };
  }

  #upsertSql(raw: readonly number[], rows = 1): string {
    const columns = this.#columns.join(", ");
    const tuple = (row: number) =>
      this.#columns.map((_, i) => parameter(row * this.#columns.length + i, raw)).join(", ");
    const tuples = Array.from({ length: rows }, (_, row) => `(${tuple(row)})`).join(", ");
    const key = this.#key.map((index) => this.#columns[index]).join(", ");
    const set = this.#columns.flatMap((column, i) =>
      this.#fixed.has(i) ? [] : [`${column} = excluded.${column}`],
    );
    const update = set.length === 0 ? "NOTHING" : `UPDATE SET ${set.join(", ")}`;
    const insert = `INSERT${this.#or} INTO ${this.#name} (${columns}) VALUES ${tuples}`;
    if (this.#key.length === 0) return insert;
    return `${insert} ON CONFLICT (${key}) DO ${update}`;
  }

  #removeSql(raw: readonly number[]): string {
    return `DELETE FROM ${this.#name} WHERE ${this.#where(0, raw)}`;
  }

  /** What #where takes, in order: places in the key, twice where a value stands twice. */
  #wherePlaces(): number[] {
    return this.#key.flatMap((_, i) => (this.#coarse[i] ? [i, i] : [i]));
  }

  /** Found by the index, then told from a key that only compares equal. */
  #where(first: number, raw: readonly number[]): string {
    let place = first;
    return this.#key
      .flatMap((index, i) => {
        const column = this.#columns[index];
        const found = `${column} = ${parameter(place++, raw)}`;
        if (!this.#coarse[i]) return [found];
        return [found, `${column} COLLATE BINARY = ${parameter(place++, raw)}`];
      })
      .join(" AND ");
  }

  /** Row by row in slices, so that a long batch does not stop everything else in the process. */
  async #each(rows: readonly Row[], work: (row: Row) => void): Promise<void> {
    let sliceEnd = performance.now() + SLICE_MS;
    let done = 0;
    for (const row of rows) {
      this.#explained(() => work(row));
      if (++done % ROWS_BETWEEN_LOOKS !== 0 || performance.now() < sliceEnd) continue;
      await breathe();
      sliceEnd = performance.now() + SLICE_MS;
    }
  }

  #explained(work: () => unknown): void {
    try {
      work();
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** "no such column" has no code of its own: the catalog tells what is missing. */
  #explain(error: unknown): TidemarkError {
    if (isSchemaMismatch(error)) {
      const facts = readTable(this.#connection, this.#table.name.name);
      if (facts === null) return tableMissing(this.#connection, this.#table);
      for (const { name } of this.#table.columns) {
        if (!facts.columns.some((column) => sameName(column.name, name))) {
          return columnMissing(facts, name);
        }
      }
    }
    return this.#connection.classify(error);
  }
}

/** Never numbered: Node 22 binds values by place to plain `?` only. */
function parameter(place: number, raw: readonly number[]): string {
  return raw.includes(place) ? TEXT_OF_BYTES : "?";
}

function columnOf(facts: TableFacts, name: string): TableFacts["columns"][number] {
  const found = facts.columns.find((column) => sameName(column.name, name));
  if (found === undefined) throw columnMissing(facts, name);
  return found;
}

function isCoarse(facts: TableFacts, column: string): boolean {
  return [facts.key, ...facts.uniques]
    .flat()
    .some((part) => sameName(part.name, column) && part.collation.toUpperCase() !== "BINARY");
}

/**
 * With `UNIQUE ON CONFLICT REPLACE` or `IGNORE` SQLite deletes the other row, or leaves ours out, and says nothing. Only in such
 * tables is that overruled: the triggers of a target would lose what their own statements say of conflicts with it.
 */
function hasConflictRules(connection: Connection, table: string): boolean {
  const sql = connection.value(
    "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?",
    table,
  );
  return /\bON\s+CONFLICT\b/i.test(String(sql));
}

function tableMissing(connection: Connection, table: BoundTable): TidemarkError {
  return new TidemarkError(
    "TM-TABLE-MISSING",
    `${connection.name}: the table ${table.name.name} is gone.`,
    { fix: "Run again: it is created anew.", details: { table: table.name.name } },
  );
}

function columnMissing(facts: TableFacts, column: string): TidemarkError {
  return new TidemarkError("TM-COLUMN-MISSING", `${facts.name} has no column "${column}".`, {
    fix: `ALTER TABLE ${quoteName(facts.name)} ADD COLUMN ${quoteName(column)}`,
    details: { table: facts.name, column },
  });
}
