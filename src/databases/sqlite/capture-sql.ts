import type { Layout } from "../../core/change.ts";
import type { CaptureShape } from "./capture.ts";
import type { KeyColumn, TableFacts } from "./facts.ts";
import { quoteName } from "./identifiers.ts";
import { LOG } from "./ours.ts";

/**
 * The triggers of a captured table.
 *
 * Each log entry is a true statement about one row at the moment it is written ("this row now reads
 * so", "there is no row with this key"), read from the table itself, not from NEW and OLD. So the
 * last entry of a key is right in whatever order SQLite fires our triggers and the application's
 * own, and whatever those do to the same row (measured: 2.8x instead of 1.9x for a bulk insert,
 * nothing for single-row transactions; the order of triggers is undefined in SQLite).
 */
export interface Trigger {
  readonly name: string;
  readonly sql: string;
}

/** Those that no capture can do without. */
export function triggerNames({ table, key }: Pick<Layout, "table" | "key">): readonly string[] {
  const update = key.length > 0 ? ["update", "update_key"] : ["update_key"];
  return ["insert", ...update, "delete"].map((suffix) => `tidemark_${table.name}_${suffix}`);
}

/** The triggers of a layout. A pure function, so that what stands can be compared with what should. */
export function triggersOf(shape: CaptureShape, layout: number): readonly Trigger[] {
  const { facts } = shape;
  const table = quoteName(facts.name);
  const name = (suffix: string) => `tidemark_${facts.name}_${suffix}`;
  const trigger = (suffix: string, head: string, body: readonly string[]): Trigger => ({
    name: name(suffix),
    sql: `CREATE TRIGGER ${quoteName(name(suffix))} ${head}\nBEGIN\n${body.map((line) => `  ${line};\n`).join("")}END`,
  });
  if (facts.key.length === 0) {
    return [
      trigger("insert", `AFTER INSERT ON ${table}`, [logWhole(shape, layout, "i")]),
      trigger("update_key", `AFTER UPDATE ON ${table}`, [
        logWhole(shape, layout, "k"),
        logWhole(shape, layout, "u"),
      ]),
      trigger("delete", `AFTER DELETE ON ${table}`, [logWhole(shape, layout, "d")]),
    ];
  }
  const keyChanged = facts.key
    .map(({ name: key }) => {
      const column = quoteName(key);
      return `OLD.${column} COLLATE BINARY IS NOT NEW.${column}`;
    })
    .join(" OR ");
  const triggers = [
    trigger("insert", `AFTER INSERT ON ${table}`, [logRow(shape, layout, "i")]),
    trigger(
      "update",
      `AFTER UPDATE${shape.onlyColumns ? ` OF ${shape.columns.map(quoteName).join(", ")}` : ""} ON ${table} WHEN NOT (${keyChanged})`,
      [logRow(shape, layout, "u")],
    ),
    // The old key first: the new row may hold a unique value that the old row still holds at the target.
    trigger("update_key", `AFTER UPDATE ON ${table} WHEN ${keyChanged}`, [
      logGone(shape, layout, "k"),
      logRow(shape, layout, "i"),
    ]),
    trigger("delete", `AFTER DELETE ON ${table}`, [logGone(shape, layout, "d")]),
  ];
  const displacing = displacingKeys(facts);
  if (displacing.length > 0) {
    const unique = [...new Set(displacing.flat().map((part) => quoteName(part.name)))];
    triggers.push(
      trigger("insert_displaces", `BEFORE INSERT ON ${table}`, logDisplaced(shape, layout, "NEW")),
      trigger(
        "update_displaces",
        `BEFORE UPDATE OF ${unique.join(", ")} ON ${table}`,
        logDisplaced(shape, layout, "OLD"),
      ),
    );
  }
  return triggers;
}

/** Of a table without a key: the row before, where a key would stand, or the row after. */
function logWhole({ columns }: CaptureShape, layout: number, op: "i" | "u" | "d" | "k"): string {
  const isGone = op === "d" || op === "k";
  const targets = columns.map((_, i) => `${isGone ? "k" : "c"}${i + 1}`).join(", ");
  const values = columns.map((column) => `${isGone ? "OLD" : "NEW"}.${quoteName(column)}`);
  return `INSERT INTO ${LOG} (at, layout, op, ${targets}) VALUES (julianday('now'), ${layout}, '${op}', ${values.join(", ")})`;
}

function logRow({ facts, columns, filters }: CaptureShape, layout: number, op: "i" | "u"): string {
  const { table, from } = standing(facts);
  const targets = columns.map((_, i) => `c${i + 1}`);
  const values = columns.map((column) => `${table}.${quoteName(column)}`);
  if (filters.length > 0) {
    targets.push("filters");
    values.push(filterText(filters));
  }
  const where =
    facts.rowid === null ? sameRow(facts, "NEW") : `${table}.${facts.rowid} = NEW.${facts.rowid}`;
  return `INSERT INTO ${LOG} (at, layout, op, ${targets.join(", ")}) SELECT julianday('now'), ${layout}, '${op}', ${values.join(", ")} FROM ${from} WHERE ${where}`;
}

function logGone({ facts }: CaptureShape, layout: number, op: "d" | "k"): string {
  const keys = facts.key.map((_, i) => `k${i + 1}`).join(", ");
  const values = facts.key.map((part) => `OLD.${quoteName(part.name)}`).join(", ");
  return `INSERT INTO ${LOG} (at, layout, op, ${keys}) SELECT julianday('now'), ${layout}, '${op}', ${values} WHERE NOT EXISTS (SELECT 1 FROM ${standing(facts).from} WHERE ${sameRow(facts, "OLD")})`;
}

/**
 * The unique keys by which a REPLACE can remove a row without a statement about its key: all but
 * the key itself, and the key too where it calls different texts equal.
 */
function displacingKeys(facts: TableFacts): readonly (readonly KeyColumn[])[] {
  const coarse = facts.key.some((part) => part.collation.toUpperCase() !== "BINARY");
  return coarse ? [facts.key, ...facts.uniques] : facts.uniques;
}

/** See displaced.ts. `self`: the row about to be written is not displaced by itself. */
function logDisplaced({ facts }: CaptureShape, layout: number, self: "NEW" | "OLD"): string[] {
  const { table, from } = standing(facts);
  const targets = facts.key.map((_, i) => `k${i + 1}`).join(", ");
  const keys = facts.key.map((part) => `${table}.${quoteName(part.name)}`);
  const other = facts.key
    .map((part, i) => `${keys[i]} COLLATE BINARY IS NOT ${self}.${quoteName(part.name)}`)
    .join(" OR ");
  return displacingKeys(facts).map((unique) => {
    const same = unique.map((part) => matches(table, part, "NEW")).join(" AND ");
    return `INSERT INTO ${LOG} (at, layout, op, ${targets}) SELECT julianday('now'), ${layout}, 'x', ${keys.join(", ")} FROM ${from} WHERE ${same} AND (${other})`;
  });
}

/**
 * What stands in the table, as a trigger reads it: what to select from, and how its columns are named. One that is itself
 * called `old` or `new` would be taken for the row of the trigger, and compared with itself.
 */
function standing({ name }: TableFacts): { readonly table: string; readonly from: string } {
  const quoted = quoteName(name);
  if (!/^(old|new)$/i.test(name)) return { table: quoted, from: quoted };
  return { table: "tidemark_row", from: `${quoted} AS tidemark_row` };
}

/** The row with exactly this key: found by the key's index, then told from one that only compares equal. */
function sameRow(facts: TableFacts, row: "NEW" | "OLD"): string {
  const { table } = standing(facts);
  return facts.key
    .flatMap((part) => {
      const column = quoteName(part.name);
      const found = facts.keyIsRowid
        ? `${table}.${column} = ${row}.${column}`
        : matches(table, part, row);
      const exact = `${table}.${column} COLLATE BINARY = ${row}.${column}`;
      return part.collation.toUpperCase() === "BINARY" ? [found] : [found, exact];
    })
    .join(" AND ");
}

function matches(table: string, part: KeyColumn, row: "NEW" | "OLD"): string {
  const column = quoteName(part.name);
  return `${table}.${column} COLLATE ${part.collation} = ${row}.${column}`;
}

/** One letter per filter. */
export function filterText(filters: readonly string[]): string {
  if (filters.length === 0) return "NULL";
  return filters.map(letter).join(" || ");
}

/** It is the writer's connection that says what LIKE means: where not what it means to a copy, the row cannot be told. */
function letter(filter: string): string {
  const otherwise = /\blike\b/i.test(filter) ? "WHEN 'a' NOT LIKE 'A' THEN 'e' " : "";
  // The line break ends a comment at the end of a filter.
  return `CASE ${otherwise}WHEN (${filter}\n) THEN 't' ELSE 'f' END`;
}
