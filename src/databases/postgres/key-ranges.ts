import { keyNames } from "../../core/change.ts";
import { compared, filterLetters } from "./capture-row.ts";
import type { Connection, Parameter } from "./connection.ts";
import { quoteIdentifier, quoteLiteral, quoteTable } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { pinSql } from "./pins.ts";
import { formatArrayText } from "./row-text.ts";
import { isBytes } from "./types.ts";

/** What a chunk's cursor holds: keys in PostgreSQL's own text. */
export interface CursorState {
  readonly after: readonly string[];
  /** The greatest key when the copy began: rows that come later come as changes. */
  readonly upper: readonly string[];
  /** What ordered these: see {@link KeyOrder}. Cursors that an earlier version has made do not tell. */
  readonly by?: KeyOrder;
}

/**
 * The columns of the key, in its order, and the server's numbers of their types and collations. Behind a cursor lie other rows once
 * one of these is another: those that had come before it by then, and are behind it now, were passed by and would never come.
 */
export interface KeyOrder {
  readonly key: readonly string[];
  readonly types: string;
}

/** So many rows from the cursor on tell how wide the next ones are. */
export const SAMPLE_ROWS = 100;

type Query = [text: string, values: readonly Parameter[]];

const ALIAS = "tidemark_row";
/** Strategy number of the operator `>`: https://www.postgresql.org/docs/current/xindex.html */
const BTREE_GREATER = 5;

/** The statements over ranges of one table's key. */
export class KeyRanges {
  readonly #layout: StoredLayout;
  readonly #alias: string;
  readonly #from: string;
  readonly #keys: readonly string[];
  readonly #schemas: readonly string[];

  static async of(connection: Connection, layout: StoredLayout): Promise<KeyRanges> {
    return new KeyRanges(layout, await loadSchemas(connection, layout));
  }

  /** `schemas`: of the operators that the columns of the key are ordered by, quoted. */
  private constructor(layout: StoredLayout, schemas: readonly string[]) {
    this.#schemas = schemas;
    let alias = ALIAS;
    while (layout.columns.some((column) => column.name === alias)) alias += "_";
    this.#layout = layout;
    this.#alias = alias;
    this.#from = `${layout.only ? "ONLY " : ""}${quoteTable(layout.table)} ${alias}`;
    this.#keys = layout.key.map((i) =>
      // Not by a cast, which whoever has made a type of that name may have made, too: it would run with our rights.
      isOrderedAsText(layout, i)
        ? `(pg_catalog.format('%s', ${this.#column(i)}) COLLATE "C")`
        : this.#column(i),
    );
  }

  /**
   * Closed, where one word can name the operators: what else stands in their schema (and who may create there) must not
   * be taken for one of the server's own. Keys of several schemas are compared by operators of a btree alone, which
   * only a superuser can make; their statements ask for nothing else that a schema could hide.
   */
  get searchPath(): string {
    return ["pg_catalog", ...(this.#schemas.length > 1 ? this.#schemas : [])].join(", ");
  }

  /** One row: the width of the next ones, how many that is the width of (at most SAMPLE_ROWS), the greatest key. */
  facts(cursor: CursorState | null): Query {
    const values = cursor === null ? [] : [...cursor.after, ...cursor.upper];
    const where = cursor === null ? "" : `WHERE ${this.#range("$", cursor)}`;
    const descending = this.#keys.map((key) => `${key} DESC`).join(", ");
    const highest = `(SELECT ROW(${this.#keyList})::text FROM ${this.#from} ORDER BY ${descending} LIMIT 1)`;
    return [
      `SELECT ceil(avg(octet_length(row))), count(*), ${cursor === null ? highest : "NULL"}
       FROM (SELECT ROW(${this.#columns.join(", ")})::text AS row FROM ${this.#from} ${where}
             ORDER BY ${this.#keyList} LIMIT ${SAMPLE_ROWS}) sample`,
      values,
    ];
  }

  /** One row: how many the server believes there are, whether they stand as they were captured, `types` of their order. */
  get standing(): string {
    const names = this.keyNames.map(quoteLiteral).join(", ");
    const types = `(SELECT string_agg(concat(a.atttypid, ':', a.attcollation), ',' ORDER BY a.attnum)
      FROM pg_attribute a WHERE a.attrelid = ${Number(this.#layout.oid)} AND a.attname IN (${names}))`;
    return `SELECT ${this.#estimate}, ${this.#asCaptured}, ${types}`;
  }

  get keyNames(): readonly string[] {
    return keyNames(this.#layout);
  }

  /** Of a table without a key: how many rows the server believes there are, whether there is one. */
  get wholeFacts(): string {
    return `SELECT ${this.#estimate}, EXISTS (SELECT FROM ${this.#from}), ${this.#asCaptured}`;
  }

  get #estimate(): string {
    return `(SELECT reltuples::bigint FROM pg_class WHERE oid = ${Number(this.#layout.oid)})`;
  }

  /**
   * Does the snapshot show the table as it was captured, and in the files that it has now? (A table that was
   * written anew by ALTER is empty to every snapshot from before. The function tells what stands now, the
   * column what the snapshot shows; who has come so far holds a lock that lets no other ALTER in.) The same of its
   * unique indexes: a column that is collated otherwise keeps the table's files, and not those.
   */
  get #asCaptured(): string {
    const oid = Number(this.#layout.oid);
    const tables = `SELECT ${oid} UNION ALL SELECT relid FROM pg_partition_tree(${oid})`;
    return `(SELECT l.pin IS NULL OR l.pin = ${pinSql("l.table_oid")} FROM tidemark.layouts l WHERE l.id = ${this.#layout.id})
         AND NOT EXISTS (SELECT FROM pg_class c
           WHERE c.oid IN (${tables} UNION ALL
               SELECT i.indexrelid FROM pg_index i WHERE i.indrelid IN (${tables}) AND i.indisunique)
             AND c.relfilenode <> 0 AND pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode)`;
  }

  /** The key of the row that is number `rows` behind the cursor; no row when there are fewer. */
  keyAt(cursor: CursorState | null, upper: readonly string[], rows: number): Query {
    const after = cursor?.after ?? null;
    const values = [...(after ?? []), ...upper];
    const named = this.keyNames.map((name, i) => `${this.#keys[i]} AS ${quoteIdentifier(name)}`);
    return [
      // The inner one first: the rows passed over would be printed as well.
      `SELECT ROW(${this.#keyList})::text FROM (
         SELECT ${named.join(", ")} FROM ${this.#from} WHERE ${this.#range("$", { after, upper })}
         ORDER BY ${this.#keyList} OFFSET ${rows - 1} LIMIT 1) ${this.#alias}`,
      values,
    ];
  }

  /** The rows up to this key, in its order; without parameters, which COPY does not take. */
  rowsUpTo(cursor: CursorState | null, last: readonly string[], binary: boolean): string {
    const range = this.#range("literal", { after: cursor?.after ?? null, upper: last });
    return `${this.allRows(binary)} WHERE ${range} ORDER BY ${this.#keyList}`;
  }

  /** In no order. Each begins with a field for its filters, where there are any. */
  allRows(binary: boolean): string {
    const { filters, oid } = this.#layout;
    const fields = filters.length === 0 ? [] : [filterLetters(oid, this.#alias)];
    const columns = binary ? this.#layout.columns.map((_, i) => this.#column(i)) : this.#columns;
    return `SELECT ${[...fields, ...columns].join(", ")}\nFROM ${this.#from}`;
  }

  get #keyList(): string {
    return this.#keys.join(", ");
  }

  /** Canonical text is PostgreSQL's own, in the session's settings; only bytes differ. */
  get #columns(): readonly string[] {
    return this.#layout.columns.map(({ type }, i) =>
      isBytes(type) ? `encode(${this.#column(i)}, 'hex')` : this.#column(i),
    );
  }

  #column(i: number): string {
    return `${this.#alias}.${quoteIdentifier(this.#layout.columns[i]?.name ?? "")}`;
  }

  /** Behind `after`, where there is one, up to `upper`; as parameters in that order, or as literals. */
  #range(
    as: "$" | "literal",
    {
      after,
      upper,
    }: { readonly after: readonly string[] | null; readonly upper: readonly string[] },
  ): string {
    let parameters = 0;
    const [schema = "pg_catalog", ...others] = this.#schemas;
    const compare = (operator: string, key: readonly string[]) => {
      const values = key.map((text, i) => {
        const value = as === "$" ? `$${++parameters}` : quoteLiteral(text);
        const at = this.#layout.key[i] ?? 0;
        const isText = isOrderedAsText(this.#layout, at);
        return `${value}::${isText ? "text" : this.#layout.columns[at]?.nativeType}`;
      });
      const named = others.length > 0 ? operator : `OPERATOR(${schema}.${operator})`;
      const keys = this.#keys.map((key, i) => {
        const at = this.#layout.key[i] ?? 0;
        const { nativeType = "" } = this.#layout.columns[at] ?? {};
        return isOrderedAsText(this.#layout, at) ? key : compared(key, { bareType: nativeType });
      });
      return `(${keys.join(", ")}) ${named} (${values.join(", ")})`;
    };
    const lower = after === null ? [] : [compare(">", after)];
    return [...lower, compare("<=", upper)].join(" AND ");
  }
}

/** `public.citext` is ordered by operators in `public`; built-in types, enums, arrays and composite ones by the server's. */
async function loadSchemas(
  connection: Connection,
  layout: StoredLayout,
): Promise<readonly string[]> {
  const types = layout.key.map((at) =>
    isOrderedAsText(layout, at) ? "text" : (layout.columns[at]?.nativeType ?? ""),
  );
  if (!types.some((type) => type.includes("."))) return ["pg_catalog"];
  const rows = await connection.rows(
    `SELECT DISTINCT coalesce((
       SELECT quote_ident(n.nspname)
       FROM pg_opclass c
       JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = ${BTREE_GREATER}
                     AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
       JOIN pg_operator o ON o.oid = m.amopopr
       JOIN pg_namespace n ON n.oid = o.oprnamespace
       WHERE c.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree') AND c.opcdefault
         AND c.opcintype = to_regtype(w.type)), 'pg_catalog')
     FROM unnest($1::text[]) AS w(type)`,
    [formatArrayText(types)],
  );
  return rows.map(([schema]) => schema as string);
}

/** Comparing operators of hstore have names of their own (`#<=#`), in which rows are not compared. */
function isOrderedAsText({ columns }: StoredLayout, at: number): boolean {
  const type = columns[at]?.type;
  return type?.kind === "native" && /(^|\.)hstore$/.test(type.name);
}
