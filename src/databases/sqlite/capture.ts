import { TidemarkError } from "../../core/errors.ts";
import type { CaptureTable } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import type { Connection } from "./connection.ts";
import { isSchemaMismatch } from "./errors.ts";
import { readTable, type TableFacts } from "./facts.ts";
import { quoteName, sameName } from "./identifiers.ts";
import type { Definition } from "./layouts.ts";
import { isOurs, LOG, logWidth } from "./ours.ts";
import { ignoringTrigger, triggersOn } from "./standing-triggers.ts";

/** What is captured of a table, and how. */
export interface CaptureShape {
  readonly facts: TableFacts;
  /** As in the layout, in table order. */
  readonly columns: readonly string[];
  readonly filters: readonly string[];
  /** Does the update trigger fire for these columns only? Fixed when it is installed. */
  readonly onlyColumns: boolean;
}

/** Checks that a table can be captured. Throws TM-TABLE-NO-KEY, TM-TABLE-UNSUPPORTED, TM-SCHEMA-DRIFT. */
export function shapeOf(connection: Connection, table: CaptureTable): CaptureShape {
  const name = formatTable(table.schema.name);
  const facts = readTable(connection, table.schema.name.name);
  if (facts === null) {
    throw new TidemarkError("TM-TABLE-MISSING", `${connection.name}: there is no table ${name}.`);
  }
  if (facts.kind !== "table" || (facts.rowid === null && facts.key.length === 0)) {
    throw new TidemarkError("TM-TABLE-UNSUPPORTED", `${name} is not an ordinary table.`);
  }
  requireKey(connection, facts);
  refuseIgnoring(connection, facts);
  const columns = table.columns.map((column) => {
    const found = facts.columns.find((c) => sameName(c.name, column));
    if (found !== undefined) return found.name;
    throw new TidemarkError("TM-SCHEMA-DRIFT", `${name} has no column "${column}" any more.`);
  });
  for (const filter of table.filters) checkFilter(connection, facts, filter);
  return { facts, columns, filters: table.filters, onlyColumns: areEnough(facts, columns, table) };
}

function refuseIgnoring(connection: Connection, facts: TableFacts): void {
  const trigger = ignoringTrigger(connection, facts.name);
  if (trigger === null) return;
  throw new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `The trigger ${trigger} of ${facts.name} may end a row's triggers with RAISE(IGNORE) before the change is logged.`,
    {
      fix: `Make ${trigger} a BEFORE trigger, in which RAISE(IGNORE) leaves the row unchanged.`,
      details: { table: facts.name, trigger },
    },
  );
}

/**
 * Rows without a key are counted: each change logs the row before and the row after. So nothing may
 * remove a row unseen (REPLACE), or write one before its change is logged (triggers of the application,
 * which fire in no certain order); and while such a table is copied a snapshot of the file stays open.
 * Throws TM-TABLE-NO-KEY.
 */
export function requireCountable(connection: Connection, facts: TableFacts): void {
  const objection = whyNotCountable(connection, facts);
  if (objection === null) return;
  const index = `CREATE UNIQUE INDEX ... ON ${quoteName(facts.name)} (...), over NOT NULL columns`;
  throw new TidemarkError(
    "TM-TABLE-NO-KEY",
    `${facts.name} has neither a primary key nor a unique key of NOT NULL columns (a rowid is no lasting key: VACUUM changes it), and ${objection.why}.`,
    {
      fix: objection.fix === undefined ? index : `${objection.fix}; or ${index}`,
      details: { table: facts.name },
    },
  );
}

function whyNotCountable(
  connection: Connection,
  facts: TableFacts,
): { readonly why: string; readonly fix?: string } | null {
  if (facts.uniques.length + facts.oddUniques.length > 0) {
    return { why: "has a unique index for which REPLACE may remove a row unseen" };
  }
  const trigger = triggersOn(connection, facts.name).find(({ name }) => !isOurs(name));
  if (trigger !== undefined) {
    return { why: `has the trigger ${trigger.name}, which may write it before a change is logged` };
  }
  const mode = String(connection.value("PRAGMA journal_mode"));
  if (mode === "wal") return null;
  return {
    why: `in ${mode} mode its copy would shut out writers`,
    fix: "PRAGMA journal_mode = WAL",
  };
}

function requireKey(connection: Connection, facts: TableFacts): void {
  if (facts.key.length === 0) {
    requireCountable(connection, facts);
    return;
  }
  const collation = facts.key.find(
    (part) => !BUILT_IN_COLLATIONS.has(part.collation.toUpperCase()),
  );
  if (collation !== undefined) {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `The key of ${facts.name} is ordered by "${collation.collation}", a collation of its application.`,
      {
        fix: `Make the table anew with ${quoteName(collation.name)} COLLATE BINARY (or NOCASE, RTRIM) in its key, and "${collation.collation}" in the queries that order by it; or leave the table out.`,
        details: { table: facts.name, column: collation.name },
      },
    );
  }
  if (hasNullKey(connection, facts)) {
    throw new TidemarkError(
      "TM-TABLE-NO-KEY",
      `${facts.name} holds rows whose primary key is NULL (SQLite allows it): nothing tells them apart.`,
      { fix: nullKeyFix(facts) },
    );
  }
}

const BUILT_IN_COLLATIONS = new Set(["BINARY", "NOCASE", "RTRIM"]);

export function hasNullKey(connection: Connection, facts: TableFacts): boolean {
  if (facts.keyIsRowid) return false;
  const test = facts.key.map((part) => `${quoteName(part.name)} IS NULL`).join(" OR ");
  return connection.value(`SELECT 1 FROM ${quoteName(facts.name)} WHERE ${test} LIMIT 1`) === 1n;
}

export function nullKeyFix(facts: TableFacts): string {
  const test = facts.key.map((part) => `${quoteName(part.name)} IS NULL`).join(" OR ");
  return `SELECT * FROM ${quoteName(facts.name)} WHERE ${test}; then give each a key and declare the key NOT NULL`;
}

function checkFilter(connection: Connection, facts: TableFacts, filter: string): void {
  try {
    const program = connection.rows<{ opcode: string; p4: string | null }>(
      `EXPLAIN SELECT (${filter}\n) FROM ${quoteName(facts.name)}`,
    );
    refuseRaising(filter, facts, program);
  } catch (error) {
    if (error instanceof TidemarkError || !isSchemaMismatch(error))
      throw connection.classify(error);
    throw new TidemarkError(
      "TM-CONFIG-INVALID",
      `The condition "${filter}" cannot be evaluated over ${facts.name}: ${(error as Error).message}.`,
      { cause: error },
    );
  }
}

/**
 * A trigger of SQLite cannot catch an error: one that a condition raises would end the application's own
 * statement. So only functions are let in that never raise one, whatever the row holds; operators never do.
 */
function refuseRaising(
  filter: string,
  facts: TableFacts,
  program: readonly { readonly opcode: string; readonly p4: string | null }[],
): void {
  const calls = program.filter(({ opcode }) => CALLS.has(opcode));
  const raising = calls
    .map(({ p4 }) => (p4 ?? "").replace(/\(-?\d+\)$/, ""))
    .find((name) => !NEVER_RAISING.has(name.toLowerCase()));
  if (raising === undefined) return;
  throw new TidemarkError(
    "TM-CONFIG-INVALID",
    `The condition "${filter}" of ${facts.name} calls ${raising}(), which may raise an error: it would end the application's own statement.`,
    {
      fix: "Filter by a plain column (a STORED generated one may hold what the function gives), or use `filter` in a .ts config.",
      details: { table: facts.name, function: raising },
    },
  );
}

const CALLS = new Set(["Function", "PureFunc", "AggStep", "AggStep1"]);

/** https://sqlite.org/lang_corefunc.html; not abs (the least integer), nor any of JSON (malformed text). */
const NEVER_RAISING = new Set(
  `acos acosh asin asinh atan atan2 atanh avg ceil ceiling char coalesce concat concat_ws cos cosh count
  current_date current_time current_timestamp date datetime degrees exp floor format glob hex if ifnull iif
  instr json_valid julianday length like likelihood likely ln log log10 log2 lower ltrim max min mod nullif
  octet_length pi pow power printf quote radians replace round rtrim sign sin sinh soundex sqrt strftime
  substr substring tan tanh time timediff total trim trunc typeof unhex unicode unixepoch unlikely upper`.split(
    /\s+/,
  ),
);

/** An update of other columns is no change, unless a filter or a generated column may read them. */
function areEnough(
  facts: TableFacts,
  columns: readonly string[],
  { filters }: CaptureTable,
): boolean {
  const all = columns.length === facts.columns.length;
  const derived = facts.columns.some((column) => column.generated);
  return !all && !derived && filters.length === 0;
}

/** SQLITE_MAX_COLUMN, of a table and of a result. */
const MAX_COLUMNS = 2_000;
/** Those of the log that hold no value: see SOURCE_TABLES. */
const OWN_COLUMNS = 6;

/** Without a key each change logs the whole row before. */
function keyWidthOf({ facts, columns }: CaptureShape): number {
  return facts.key.length === 0 ? columns.length : facts.key.length;
}

/** Statements that widen the log for tables. Throws TM-TABLE-UNSUPPORTED. */
export function widenLog(connection: Connection, shapes: readonly CaptureShape[]): string[] {
  return lackingColumns(connection, shapes).map((name) => `ALTER TABLE ${LOG} ADD COLUMN ${name}`);
}

/** Columns that the log lacks for tables. Throws TM-TABLE-UNSUPPORTED. */
export function lackingColumns(connection: Connection, shapes: readonly CaptureShape[]): string[] {
  const width = logWidth(connection);
  const keys = Math.max(0, ...shapes.map(keyWidthOf));
  const values = Math.max(0, ...shapes.map((shape) => shape.columns.length));
  const [keyWidth, valueWidth] = [Math.max(keys, width.keys), Math.max(values, width.values)];
  if (OWN_COLUMNS + keyWidth + valueWidth > MAX_COLUMNS) throw tooWide(shapes, keyWidth);
  const names: string[] = [];
  for (let i = width.keys + 1; i <= keys; i++) names.push(`k${i}`);
  for (let i = width.values + 1; i <= values; i++) names.push(`c${i}`);
  return names;
}

function tooWide(shapes: readonly CaptureShape[], keyWidth: number): TidemarkError {
  const widest = shapes.reduce((a, b) => (b.columns.length > a.columns.length ? b : a));
  const most = MAX_COLUMNS - OWN_COLUMNS - keyWidth;
  const table = widest.facts.name;
  return new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `${table} has ${widest.columns.length} columns to be captured; the change log, a table of SQLite too, has room for ${most}.`,
    { fix: "Leave some out with `except`.", details: { table } },
  );
}

/** The layout of a captured table. */
export function layoutOf(table: CaptureTable, shape: CaptureShape): Definition {
  const { facts, columns, filters } = shape;
  const byName = (name: string) =>
    table.schema.columns.find((column) => sameName(column.name, name));
  return {
    table: { schema: null, name: facts.name },
    columns: columns.map((name) => {
      const column = byName(name);
      if (column === undefined)
        throw new TidemarkError("TM-SCHEMA-DRIFT", `${facts.name}: no "${name}".`);
      const { type, nativeType, nullable, generated } = column;
      return { name, type, nativeType, nullable, generated };
    }),
    key: facts.key.map((part) => {
      const index = columns.findIndex((column) => sameName(column, part.name));
      if (index >= 0) return index;
      throw new TidemarkError(
        "TM-SCHEMA-DRIFT",
        `The key column "${part.name}" of ${facts.name} is not among the captured columns.`,
      );
    }),
    filters,
    known: table.takesNewColumns ? facts.columns.map(({ name }) => name) : null,
  };
}
