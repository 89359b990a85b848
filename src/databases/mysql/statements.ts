import { keyNames } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { BoundTable } from "../../core/target.ts";
import { type Row, UNCHANGED, type Value } from "../../core/value.ts";
import { BLANK, BLANK_VALUE, blankColumns } from "./blank.ts";
import { captureExpression } from "./captured-text.ts";
import { columnSchema } from "./catalog.ts";
import { quoteName, quoteNames, quoteTable } from "./identifiers.ts";
import { type Literal, literalsOf } from "./literals.ts";
import type { TableFacts } from "./table-facts.ts";
import { isKey } from "./target-plan.ts";

/** Rows in one statement: beyond it nothing gets faster. */
const MAX_ROWS = 1_000;
/** Keys in one statement: more ranges cost the optimizer more than another round trip. */
const MAX_KEYS = 500;

/** The statements that write one table, with what they need to know of it. */
export class TableStatements {
  readonly table: BoundTable;
  readonly name: string;
  /** Have its rows no key? Then they are matched whole. */
  readonly keyless: boolean;
  /** Has the table no unique key but its own? Only then may an insert become an update by itself. */
  readonly soleKey: boolean;
  readonly #literals: readonly Literal[];
  /** Columns in which an empty text is the empty value of an ENUM, which is none of its labels. */
  readonly #mayBeBlank: readonly number[];
  readonly #columns: string;
  readonly #rowHash: (alias: string) => string;
  /** Of the columns that are no texts or blobs of any size; null where these are all, or none. */
  readonly #narrowHash: ((alias: string) => string) | null;
  readonly #upsertTail: string;
  /** Characters of a statement that is sure to fit: each may need four bytes. */
  readonly #maxLength: number;
  readonly #maxPacket: number;

  constructor(table: BoundTable, facts: TableFacts, maxPacket: number) {
    this.table = table;
    this.name = quoteTable(table.name);
    this.#literals = literalsOf(table, facts);
    this.#mayBeBlank = blankColumns(table, facts);
    this.#columns = quoteNames(table.columns.map((column) => column.name));
    const key = keyNames(table);
    this.keyless = key.length === 0;
    const names = table.columns.map(({ name }) => name);
    const narrow = names.filter((name) => !isWide(name, facts));
    const isParted = this.keyless && narrow.length > 0 && narrow.length < names.length;
    this.#rowHash = this.keyless ? rowHash(facts, names) : () => "";
    this.#narrowHash = isParted ? rowHash(facts, narrow) : null;
    this.soleKey = facts.uniques.every((index) => isKey(index, key));
    // The key is written too: under a collation that takes 'a' and 'A' for equal it may have changed.
    const tail = table.columns.map(({ name }) => `${quoteName(name)} = VALUES(${quoteName(name)})`);
    this.#upsertTail = ` ON DUPLICATE KEY UPDATE ${tail.join(", ")}`;
    this.#maxPacket = maxPacket;
    this.#maxLength = Math.min(1 << 20, Math.floor(maxPacket / 4) - 1_024);
  }

  /** Do the statements for these rows read {@link BLANK}? */
  needBlank(rows: readonly Row[]): boolean {
    return this.#mayBeBlank.length > 0 && rows.some((row) => this.#isBlank(row));
  }

  /** Multi-row INSERT statements. `upsert`: a row of the same key is made equal instead. */
  *inserts(rows: readonly Row[], upsert: boolean, into = this.name): Generator<string> {
    const tail = upsert ? this.#upsertTail : "";
    const head = `INSERT INTO ${into} (${this.#columns}) VALUES `;
    const blank = this.needBlank(rows) ? rows.filter((row) => this.#isBlank(row)) : [];
    yield* this.#packed(
      blank.length === 0 ? rows : rows.filter((row) => !this.#isBlank(row)),
      (row) => this.#tuple(row),
      (tuples) => head + tuples.join(",") + tail,
    );
    for (const row of blank) yield this.#checked(this.#insertBlank(row, into) + tail);
  }

  /** DELETE statements for the rows of these keys. */
  *deletes(keys: readonly Row[]): Generator<string> {
    const single = this.table.key.length === 1;
    const column = quoteName(this.#keyColumn(0));
    yield* this.#packed(
      keys,
      (key) => (single ? this.#keyLiteral(key, 0) : `(${this.#keyCondition(key)})`),
      (keys) =>
        single
          ? `DELETE FROM ${this.name} WHERE ${column} IN (${keys.join(",")})`
          : `DELETE FROM ${this.name} WHERE ${keys.join(" OR ")}`,
      MAX_KEYS,
    );
  }

  /** One UPDATE by key of the columns that are given. Null when only the key is: then it checks that the row is there. */
  update(row: Row): string {
    const key = new Set(this.table.key);
    const sets = row.flatMap((value, index) => {
      if (value === UNCHANGED) return [];
      if (key.has(index) && key.size < row.length) return [];
      return [`${quoteName(this.#column(index))} = ${this.#cell(index, value)}`];
    });
    const assignments = sets.length > 0 ? sets : this.#keyToItself();
    const where = this.#keyCondition(this.table.key.map((index) => row[index] ?? null));
    const from = this.#isBlank(row) ? `, ${BLANK}` : "";
    return this.#checked(`UPDATE ${this.name}${from} SET ${assignments.join(", ")} WHERE ${where}`);
  }

  insert(row: Row): string {
    if (this.#isBlank(row)) return this.#checked(this.#insertBlank(row, this.name));
    return this.#checked(`INSERT INTO ${this.name} (${this.#columns}) VALUES ${this.#tuple(row)}`);
  }

  /** Makes the rows that stand equal to those in `staged`, a table of the same shape. */
  updateFrom(staged: string): string {
    const key = new Set(this.table.key);
    const others = this.table.columns.filter((_, index) => !key.has(index));
    const sets = (others.length > 0 ? others : this.table.columns).map(
      ({ name }) => `t.${quoteName(name)} = s.${quoteName(name)}`,
    );
    return `UPDATE ${this.name} AS t JOIN ${staged} AS s ON ${this.#join()} SET ${sets.join(", ")}`;
  }

  /** Inserts those of `staged` that do not stand yet. */
  insertFrom(staged: string): string {
    const columns = this.table.columns.map(({ name }) => `s.${quoteName(name)}`).join(", ");
    const missing = `t.${quoteName(this.#keyColumn(0))} IS NULL`;
    return `INSERT INTO ${this.name} (${this.#columns}) SELECT ${columns} FROM ${staged} AS s LEFT JOIN ${this.name} AS t ON ${this.#join()} WHERE ${missing}`;
  }

  /** Fills `gone` with the rows of `staged`: each once, with how many of it are to go. */
  countStaged(staged: string, gone: string): string {
    return `INSERT INTO ${gone} (hash, times) SELECT ${this.#rowHash("s")}, COUNT(*) FROM ${staged} AS s GROUP BY 1`;
  }

  /** Fills `narrow` with what the rows of `staged` are without their wide columns; null where it is not needed. */
  pickNarrow(staged: string, narrow: string): string | null {
    const hash = this.#narrowHash?.("s") ?? null;
    return hash && `INSERT INTO ${narrow} (hash) SELECT DISTINCT ${hash} FROM ${staged} AS s`;
  }

  /** Of each row in `gone` that there are more of than are to go: its hash, how many are to, and its hash in `narrow`. */
  countSurplus(gone: string, narrow: string): string {
    const narrowed = this.#narrowHash === null ? "NULL" : "HEX(MAX(n.hash))";
    return `SELECT HEX(g.hash), MAX(g.times), ${narrowed} FROM ${this.#joinGone(gone, narrow)} GROUP BY g.hash HAVING COUNT(*) > MAX(g.times)`;
  }

  /** Deletes every row that is equal to one in `gone`. */
  deleteGone(gone: string, narrow: string): string {
    return `DELETE t FROM ${this.#joinGone(gone, narrow)}`;
  }

  /** Deletes so many of the rows of these hashes. */
  deleteSome(hash: string, times: number, narrow: string | null): string {
    const equal = `${this.#rowHash(this.name)} = X'${hash}'`;
    const narrowed = this.#narrowHash?.(this.name) ?? null;
    // Looked at first: see joinGone.
    const meant = narrowed && narrow ? `IF(${narrowed} = X'${narrow}', ${equal}, FALSE)` : equal;
    return `DELETE FROM ${this.name} WHERE ${meant} LIMIT ${times}`;
  }

  /**
   * The rows that stand, `t`, with what is equal in `gone`, `g`. A row of megabytes takes long to hash: only one that may
   * be meant is, so the tables are joined in this order.
   */
  #joinGone(gone: string, narrow: string): string {
    const equal = `${gone} AS g ON g.hash = ${this.#rowHash("t")}`;
    const hash = this.#narrowHash?.("t") ?? null;
    if (hash === null) return `${this.name} AS t JOIN ${equal}`;
    return `${this.name} AS t STRAIGHT_JOIN ${narrow} AS n ON n.hash = ${hash} STRAIGHT_JOIN ${equal}`;
  }

  #join(): string {
    return this.table.key
      .map((index) => quoteName(this.#column(index)))
      .map((name) => `t.${name} = s.${name}`)
      .join(" AND ");
  }

  #keyToItself(): string[] {
    return this.table.key.map((index) => {
      const name = quoteName(this.#column(index));
      return `${name} = ${name}`;
    });
  }

  #tuple(row: Row): string {
    let text = "(";
    for (let index = 0; index < row.length; index++) {
      if (index > 0) text += ",";
      text += this.#literal(index, row[index] ?? null);
    }
    return `${text})`;
  }

  #isBlank(row: Row): boolean {
    return this.#mayBeBlank.some((index) => row[index] === "");
  }

  #insertBlank(row: Row, into: string): string {
    const cells = row.map((value, index) => this.#cell(index, value));
    return `INSERT INTO ${into} (${this.#columns}) SELECT ${cells.join(", ")} FROM ${BLANK}`;
  }

  /** A value in a statement that reads {@link BLANK}. */
  #cell(index: number, value: Value): string {
    const blank = value === "" && this.#mayBeBlank.includes(index);
    return blank ? BLANK_VALUE : this.#literal(index, value);
  }

  #keyCondition(key: Row): string {
    return key
      .map(
        (_, position) =>
          `${quoteName(this.#keyColumn(position))} = ${this.#keyLiteral(key, position)}`,
      )
      .join(" AND ");
  }

  #keyLiteral(key: Row, position: number): string {
    return this.#literal(this.table.key[position] ?? 0, key[position] ?? null);
  }

  #literal(index: number, value: Value): string {
    const literal = this.#literals[index];
    if (literal === undefined) {
      throw new TidemarkError(
        "TM-INTERNAL",
        `A row of ${this.table.name.name} has too many values.`,
      );
    }
    return literal(value);
  }

  #column(index: number): string {
    return this.table.columns[index]?.name ?? "";
  }

  #keyColumn(position: number): string {
    return this.#column(this.table.key[position] ?? 0);
  }

  /** A statement that is too large would not be refused: the server would drop the connection. */
  #checked(statement: string): string {
    if (statement.length * 3 < this.#maxPacket) return statement;
    const bytes = Buffer.byteLength(statement);
    if (bytes + 1_024 < this.#maxPacket) return statement;
    const table = this.table.name.name;
    throw new TidemarkError(
      "TM-VALUE-REFUSED",
      `A row of ${bytes} bytes is larger than a packet may be. Table ${table}.`,
      { fix: "SET GLOBAL max_allowed_packet = 1073741824;", details: { table } },
    );
  }

  /** Packs items into statements of bounded length; one item is always taken. */
  *#packed(
    items: readonly Row[],
    print: (item: Row) => string,
    join: (parts: readonly string[]) => string,
    maxItems = MAX_ROWS,
  ): Generator<string> {
    let parts: string[] = [];
    let length = 0;
    for (const item of items) {
      const part = print(item);
      if (
        parts.length > 0 &&
        (length + part.length > this.#maxLength || parts.length >= maxItems)
      ) {
        yield this.#checked(join(parts));
        parts = [];
        length = 0;
      }
      parts.push(part);
      length += part.length + 1;
    }
    if (parts.length > 0) yield this.#checked(join(parts));
  }
}

/**
 * A text that is equal for rows that are equal, to the last bit and space, whatever collations say:
 * of each value the text that capture takes of it, which loses nothing.
 */
function rowHash(facts: TableFacts, names: readonly string[]): (alias: string) => string {
  const columns = names.map((name) => {
    const native = facts.columns.find((each) => each.name === name);
    return native === undefined ? null : columnSchema(native);
  });
  return (alias) => {
    const values = columns.flatMap((column) => {
      if (column === null) return [];
      const value = `${alias}.${quoteName(column.name)}`;
      const text = captureExpression(column, value);
      if (!isWide(column.name, facts)) return [text];
      // As JSON it may be larger than a packet: then the hash is NULL, and MariaDB deletes nothing and says nothing. Where
      // the text alone is, it is no NULL all the same.
      // Bytes need no text, which is twice as long.
      const bytes = column.type.kind === "bytes" ? value : text;
      return [`IF(${value} IS NULL, NULL, COALESCE(SHA2(${bytes}, 256), ''))`];
    });
    return `UNHEX(SHA2(JSON_ARRAY(${values.join(", ")}), 256))`;
  };
}

const WIDE = /blob|text|json|geometry|point|linestring|polygon|geomcollection/;

/** May a value be of megabytes? */
function isWide(name: string, facts: TableFacts): boolean {
  return facts.columns.some((each) => each.name === name && WIDE.test(each.dataType));
}
