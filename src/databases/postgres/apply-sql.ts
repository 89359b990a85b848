import type { BoundTable } from "../../core/target.ts";
import { type Row, UNCHANGED } from "../../core/value.ts";
import { compared } from "./capture-row.ts";
import { quoteIdentifier, quoteTable } from "./identifiers.ts";
import { formatArrayText } from "./row-text.ts";
import type { TableFacts } from "./target-tables.ts";
import { toNative } from "./types.ts";

/** A bound table with the statements that write it. `name` makes prepared statements unique in a session. */
export interface WritableTable extends TableFacts {
  readonly bound: BoundTable;
  readonly name: string;
  readonly oid: string;
  /** As it stood before it was looked at; see pins.ts. */
  readonly pin: string;
  /** A foreign key of the table refers to itself: all rows must come in one statement. */
  readonly selfReferring: boolean;
}

/** All rows of a call as one array per column: one plan, however many rows. */
export function upsertSql(table: WritableTable): string {
  const { bound } = table;
  const all = bound.columns.map((_, i) => i);
  const insert = `INSERT INTO ${quoteTable(bound.name)} (${all.map((i) => column(table, i)).join(", ")})
OVERRIDING SYSTEM VALUE
SELECT ${all.map((i) => cast(table, i)).join(", ")} FROM ${unnest(table, all)}`;
  if (bound.key.length === 0) return insert;
  // A number of the key may be the same in another print.
  const rest = all.filter((i) => !bound.key.includes(i) || bound.columns[i]?.numeric === true);
  const action =
    rest.length === 0
      ? "NOTHING"
      : `UPDATE SET ${rest.map((i) => `${column(table, i)} = excluded.${column(table, i)}`).join(", ")}`;
  return `${insert}
ON CONFLICT (${bound.key.map((i) => column(table, i)).join(", ")}) DO ${action}`;
}

/** For rows whose values of some columns are not known: `given` are those that are, the key among them. */
export function updateSql(table: WritableTable, given: readonly number[]): string {
  const { bound } = table;
  const set = given.filter((i) => !bound.key.includes(i));
  return `UPDATE ${quoteTable(bound.name)} AS t
SET ${set.map((i) => `${column(table, i)} = ${cast(table, i)}`).join(", ")}
FROM ${unnest(table, given)} WHERE ${sameKey(table)}`;
}

export function deleteSql(table: WritableTable): string {
  if (table.bound.key.length === 0) return deleteWholeSql(table);
  return `DELETE FROM ${quoteTable(table.bound.name)} AS t USING ${unnest(table, table.bound.key)} WHERE ${sameKey(table)}`;
}

/**
 * Of rows that are equal, as many as are given. They are compared by their text, which every type has,
 * after the same cast that storing them was; a text also lets the server join by hash.
 */
function deleteWholeSql(table: WritableTable): string {
  const name = quoteTable(table.bound.name);
  const all = table.bound.columns.map((_, i) => i);
  const standing = all.map((i) => `s.${column(table, i)}`).join(", ");
  const given = all.map((i) => `u.c${i}::${table.exact[i]}`).join(", ");
  return `DELETE FROM ${name} AS t USING (
  SELECT part, place FROM (
    SELECT s.tableoid AS part, s.ctid AS place, gone.times,
           row_number() OVER (PARTITION BY gone.row) AS nth
    FROM ${name} AS s
    JOIN (SELECT ROW(${given})::text COLLATE "C" AS row, count(*) AS times FROM ${unnest(table, all)} GROUP BY 1) AS gone
      ON ROW(${standing})::text COLLATE "C" = gone.row
  ) AS numbered WHERE nth <= times
) AS d WHERE t.tableoid = d.part AND t.ctid = d.place`;
}

export function copySql(table: WritableTable, binary = false): string {
  const columns = table.bound.columns.map((_, i) => column(table, i)).join(", ");
  return `COPY ${quoteTable(table.bound.name)} (${columns}) FROM STDIN (FORMAT ${binary ? "binary" : "text"})`;
}

function column(table: WritableTable, i: number): string {
  return quoteIdentifier(table.bound.columns[i]?.name ?? "");
}

function unnest(table: WritableTable, columns: readonly number[]): string {
  const arrays = columns.map((i, n) => `$${n + 1}::${table.elements[i]}[]`);
  // Of several arrays it is a word of the grammar, which knows it by that name alone, and means the server's own.
  const unnested = arrays.length === 1 ? "pg_catalog.unnest" : "unnest";
  return `${unnested}(${arrays.join(", ")}) AS u(${columns.map((i) => `c${i}`).join(", ")})`;
}

function cast(table: WritableTable, i: number): string {
  return table.casts[i] === table.elements[i] ? `u.c${i}` : `u.c${i}::${table.casts[i]}`;
}

function sameKey(table: WritableTable): string {
  return table.bound.key
    .map((i) => {
      const value = compared(`t.${column(table, i)}`, { bareType: table.casts[i] ?? "" });
      return `${value} ${table.equals[i]} ${cast(table, i)}`;
    })
    .join(" AND ");
}

/** One array literal per column; `columns` index into the bound table, `at(n)` tells where in a row the n-th stands. */
export function columnArrays(
  table: BoundTable,
  columns: readonly number[],
  rows: readonly Row[],
  at: (n: number) => number,
): string[] {
  return columns.map((i, n) => {
    const type = table.columns[i]?.type;
    const position = at(n);
    return formatArrayText(
      rows.map((row) => (type ? toNative(row[position] ?? null, type) : null)),
    );
  });
}

/** Rows by their set of unknown columns; most often one group without any. */
export function groupByUnchanged(rows: readonly Row[]): ReadonlyMap<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    let key = "";
    for (let i = 0; i < row.length; i++) if (row[i] === UNCHANGED) key += `${i},`;
    const group = groups.get(key);
    if (group) group.push(row);
    else groups.set(key, [row]);
  }
  return groups;
}

/** Cuts rows into statements of bounded size. */
export function* slices(
  rows: readonly Row[],
  maxRows: number,
  maxCharacters: number,
): Generator<readonly Row[]> {
  let from = 0;
  let characters = 0;
  for (let i = 0; i < rows.length; i++) {
    characters += rowLength(rows[i] as Row);
    if (i + 1 - from < maxRows && characters < maxCharacters) continue;
    yield rows.slice(from, i + 1);
    from = i + 1;
    characters = 0;
  }
  if (from < rows.length) yield rows.slice(from);
}

function rowLength(row: Row): number {
  let length = 0;
  for (const value of row) if (typeof value === "string") length += value.length;
  return length;
}
