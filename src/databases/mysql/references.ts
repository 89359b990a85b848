import { TidemarkError } from "../../core/errors.ts";
import type { Cell, Session } from "./connection.ts";
import { quoteName, quoteText } from "./identifiers.ts";

/** System versioning of a table; of a reference its child's. Known where {@link loadVersions} or {@link withVersions} has looked. */
export interface Versions {
  readonly versioned?: boolean;
  /** Where that goes by transactions: the column of the one that ended a row. */
  readonly endedBy?: string;
  /** Where it goes by time: the column of when a row ended. Not of a reference. */
  readonly until?: string;
}

/** A foreign key with the columns on both sides, in order. */
export interface Reference extends Versions {
  readonly name: string;
  readonly child: string;
  /** With its database where that is another. */
  readonly parent: string;
  readonly outside: boolean;
  readonly pairs: readonly (readonly [child: string, parent: string])[];
  readonly onDelete: string;
  readonly onUpdate: string;
}

/** Looks at each foreign key of these tables or to them, whole. Throws TM-APPLY-CONSTRAINT. */
export async function verifyReferences(session: Session, tables: readonly string[]): Promise<void> {
  const touched = new Set(tables);
  for (const reference of await loadReferences(session)) {
    const { child, parent, name } = reference;
    if (!touched.has(child) && !touched.has(parent)) continue;
    if ((await session.rows(orphanQuery(reference))).length === 0) continue;
    throw new TidemarkError(
      "TM-APPLY-CONSTRAINT",
      `A foreign key does not hold at the end of a batch: ${child} refers to ${parent}. Constraint ${name}.`,
      {
        fix: "sync the parent table too, or drop the foreign key at the target",
        details: { table: child, constraint: name },
      },
    );
  }
}

/** The tables among these a deletion in which some foreign key carries on to other rows. */
export async function cascadingTables(
  session: Session,
  tables: readonly string[],
): Promise<ReadonlySet<string>> {
  if (tables.length === 0) return new Set();
  const rows = await session.rows(
    `SELECT DISTINCT REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS
     WHERE UNIQUE_CONSTRAINT_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IN (${list(tables)})
       AND DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION')`,
  );
  return new Set(rows.map(([name]) => name ?? ""));
}

/** Of these tables, the columns that foreign keys with an ON UPDATE action refer to, by table. */
export async function followedColumns(
  session: Session,
  tables: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  if (tables.length === 0) return new Map();
  const rows = await session.rows(
    `SELECT k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME
     FROM information_schema.REFERENTIAL_CONSTRAINTS r
     JOIN information_schema.KEY_COLUMN_USAGE k
       ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME
      AND k.TABLE_NAME = r.TABLE_NAME
     WHERE r.UNIQUE_CONSTRAINT_SCHEMA = DATABASE() AND r.REFERENCED_TABLE_NAME IN (${list(tables)})
       AND r.UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION')`,
  );
  const found = new Map<string, string[]>();
  for (const [parent, column] of rows) {
    found.set(parent ?? "", [...(found.get(parent ?? "") ?? []), column ?? ""]);
  }
  return found;
}

function orphanQuery({ child, parent, pairs }: Reference): string {
  const join = pairs.map(([c, p]) => `p.${quoteName(p)} = c.${quoteName(c)}`).join(" AND ");
  const given = pairs.map(([c]) => `c.${quoteName(c)} IS NOT NULL`).join(" AND ");
  const missing = `p.${quoteName(pairs[0]?.[1] ?? "")} IS NULL`;
  return `SELECT 1 FROM ${quoteName(child)} AS c LEFT JOIN ${quoteName(parent)} AS p ON ${join} WHERE ${missing} AND ${given} LIMIT 1`;
}

/** All foreign keys of the database. */
export async function loadReferences(session: Session): Promise<readonly Reference[]> {
  const rows = await session.rows(
    `SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME,
       IF(k.REFERENCED_TABLE_SCHEMA = DATABASE(), k.REFERENCED_TABLE_NAME,
          CONCAT(k.REFERENCED_TABLE_SCHEMA, '.', k.REFERENCED_TABLE_NAME)),
       k.REFERENCED_COLUMN_NAME, r.DELETE_RULE, r.UPDATE_RULE, k.REFERENCED_TABLE_SCHEMA = DATABASE()
     FROM information_schema.KEY_COLUMN_USAGE k
     JOIN information_schema.REFERENTIAL_CONSTRAINTS r
       ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
      AND r.TABLE_NAME = k.TABLE_NAME
     WHERE k.TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL
     ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION`,
  );
  const found = new Map<string, Reference & { pairs: [string, string][] }>();
  for (const cells of rows) {
    const [child = "", name = "", column = "", parent = "", referred = "", ...rules] = cells.map(
      (cell: Cell) => cell ?? "",
    );
    const [onDelete = "", onUpdate = "", inside] = rules;
    const outside = inside !== "1";
    const key = JSON.stringify([child, name]);
    const known = found.get(key) ?? { name, child, parent, outside, pairs: [], onDelete, onUpdate };
    known.pairs.push([column, referred]);
    found.set(key, known);
  }
  return [...found.values()];
}

/** Of those tables that have any. */
export async function loadVersions(
  session: Session,
  tables: readonly string[],
): Promise<ReadonlyMap<string, Versions>> {
  if (tables.length === 0) return new Map();
  const rows = await session.rows(
    `SELECT TABLE_NAME FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${list(tables)}) AND TABLE_TYPE = 'SYSTEM VERSIONED'`,
  );
  const versioned = rows.map(([name]) => name ?? "");
  if (versioned.length === 0) return new Map();
  const ends = await session.rows(
    `SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE = 'bigint' FROM information_schema.COLUMNS
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${list(versioned)})
       AND GENERATION_EXPRESSION = 'ROW END'`,
  );
  const until = (column: string) => ({ versioned: true, until: column });
  return new Map<string, Versions>([
    ...versioned.map((name) => [name, until(UNDECLARED)] as const),
    ...ends.map(([name, column, byTransaction]) => {
      const end = column ?? "";
      const versions = byTransaction === "1" ? { versioned: true, endedBy: end } : until(end);
      return [name ?? "", versions] as const;
    }),
  ]);
}

/** What the server calls the end of a row's time where the table declares none; no catalog has it. */
const UNDECLARED = "row_end";
/** Until when a row stands that has not ended, in seconds: up to MariaDB 11.4, and from 11.5 on. */
const STANDS = "2147483647.999999, 4294967295.999999";

/**
 * Does the row that is inserted stand? Under `system_versioning_insert_history`, as a dump with its history is loaded, rows are
 * inserted that have ended. Null where none can: into a table without versions, and one that goes by transactions.
 */
export function insertedStands({ until }: Versions): string | null {
  return until === undefined ? null : `UNIX_TIMESTAMP(NEW.${quoteName(until)}) IN (${STANDS})`;
}

/** The same, with the versions of the children. */
export async function withVersions(
  session: Session,
  references: readonly Reference[],
): Promise<readonly Reference[]> {
  const children = [...new Set(references.map(({ child }) => child))];
  const versions = await loadVersions(session, children);
  return references.map((each) => {
    const { until: _, ...known } = versions.get(each.child) ?? {};
    return { ...each, ...known };
  });
}

/**
 * What stands. Left to itself, MariaDB asks for that in the time zone of the session that was the first to run the trigger,
 * and in another one finds nothing (10.11); and it asks for what stood when `system_versioning_asof` says.
 */
const STANDING = " FOR SYSTEM_TIME AS OF FROM_UNIXTIME(2147483647)";
/** Of transactions it would look for each that has written a row, and fail for the one that is under way. */
const EVER = " FOR SYSTEM_TIME ALL";
const NOT_ENDED = "18446744073709551615";
/** It is asked of a table that has no system versioning any more, or one that goes by transactions by now. */
export const VERSIONED_OTHERWISE = "4124, 4129";

function list(tables: readonly string[]): string {
  return tables.map(quoteText).join(", ");
}

/** What stands in a table, for FROM, and the conditions that this needs. */
export function standingIn(
  table: string,
  alias: string,
  { versioned, endedBy }: Versions,
): { readonly from: string; readonly where: readonly string[] } {
  const versions = versioned ? (endedBy === undefined ? STANDING : EVER) : "";
  const where = endedBy === undefined ? [] : [`${alias}.${quoteName(endedBy)} = ${NOT_ENDED}`];
  return { from: `${quoteName(table)}${versions} AS ${alias}`, where };
}

/** A limit, else the session's sql_select_limit would hold, which no action knows (`mysql --safe-updates` sets it). */
export const ALL_ROWS = "18446744073709551615";

/** What SQL is to be put for an expression of the row that a trigger runs for, which is compared to this column. */
export type Hold = (expression: string, table?: string, column?: string) => string;

/** The tables of a path, joined, down from the row that the trigger runs for; the last is named `t` and its number. */
export function fromPath(
  path: readonly Reference[],
  side: "OLD" | "NEW",
  hold: Hold = (expression) => expression,
  as = "t",
): string {
  const joins = path.map((reference, i) => {
    const { from, where } = standingIn(reference.child, `${as}${i + 1}`, reference);
    const on = reference.pairs.map(
      ([column, referred]) =>
        `${as}${i + 1}.${quoteName(column)} = ${i === 0 ? hold(`${side}.${quoteName(referred)}`, reference.child, column) : `${as}${i}.${quoteName(referred)}`}`,
    );
    return { table: from, on: [...on, ...where].join(" AND ") };
  });
  const [first, ...rest] = joins;
  const more = rest.map(({ table, on }) => ` JOIN ${table} ON ${on}`).join("");
  return `${first?.table}${more} WHERE ${first?.on}`;
}
