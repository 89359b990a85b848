import type { ColumnType } from "../../core/column-type.ts";
import type { TableName } from "../../core/table.ts";
import { quoteIdentifier, quoteList, quoteTable } from "./identifiers.ts";
import { LOG_TABLES, logTable } from "./ours.ts";
import type { Shape } from "./shape.ts";
import { equalsOperator } from "./types.ts";

/** Everything the DDL of one table's capture depends on. */
export interface CaptureSpec {
  readonly oid: string;
  readonly table: TableName;
  readonly layout: number;
  readonly shape: Shape;
  readonly partitioned: boolean;
  readonly only: boolean;
  /** All live columns, in table order. */
  readonly liveColumns: readonly string[];
  /** Those to log, in table order. */
  readonly columns: readonly CapturedColumn[];
  readonly key: readonly string[];
  readonly filters: readonly string[];
}

export interface CapturedColumn {
  readonly name: string;
  readonly type: ColumnType;
  readonly bareType: string;
}

/**
 * Advisory locks of ours; the first number is "tide". The wake lock: writers share it for their
 * transaction, a sleeping relay has it for itself (see wake.ts).
 */
export const WAKE_LOCK = "1953064037, 1";
export const RELAY_LOCK = "1953064037, 2";
export const WAKE_CHANNEL = "tidemark";

export function functionName(oid: string): string {
  return `tidemark.capture_${oid}`;
}

export function keyFunctionName(oid: string): string {
  return `tidemark.capture_key_${oid}`;
}

/** The text of the row as it is logged; the first field that does not fit a layout is schema drift. */
export function rowText(spec: CaptureSpec, alias: string): string {
  return isWholeRow(spec)
    ? `${alias}::text`
    : rowOf(
        spec.columns.map((column) => column.name),
        alias,
      );
}

/**
 * Is the row logged as the table has it? Then no column is named, and dropping one never breaks
 * the application's write. Otherwise columns are named: in a partition they may stand in another order.
 */
export function isWholeRow(spec: CaptureSpec): boolean {
  return !spec.partitioned && spec.columns.length === spec.liveColumns.length;
}

export function keyText(spec: CaptureSpec, alias: string): string {
  return rowOf(spec.key, alias);
}

function rowOf(names: readonly string[], alias: string): string {
  return `ROW(${names.map((name) => `${alias}.${quoteIdentifier(name)}`).join(", ")})::text`;
}

/** One letter for each filter; a condition that is null is not met. */
export function filterText(filters: readonly string[]): string {
  if (filters.length === 0) return "NULL::text";
  return filters.map((filter) => `CASE WHEN (${filter}\n) THEN 't' ELSE 'f' END`).join(" || ");
}

/** An alias that is no column's name: a bare alias must mean the whole row. */
export function rowAlias(spec: CaptureSpec): string {
  let alias = "tidemark_row";
  while (spec.liveColumns.includes(alias)) alias += "_";
  return alias;
}

/** The functions, `CREATE OR REPLACE`: needs no lock on the table. */
export function functionStatements(spec: CaptureSpec): readonly string[] {
  const functions =
    spec.shape === "statement"
      ? [
          [functionName(spec.oid), statementBody(spec)],
          [keyFunctionName(spec.oid), keyBody(spec)],
        ]
      : [[functionName(spec.oid), rowBody(spec)]];
  return functions.flatMap(([name, body]) => [
    createFunction(name as string, body as string, settings(spec)),
    `REVOKE ALL ON FUNCTION ${name}() FROM PUBLIC`,
  ]);
}

/** The body of the table's function, to see whether the one installed is this one. */
export function functionBody(spec: CaptureSpec): string {
  return spec.shape === "statement" ? statementBody(spec) : rowBody(spec);
}

/**
 * Triggers by name. The key's trigger costs nothing while statements do not set the key (a table
 * with triggers that could change it on the way has the row shape). Row triggers have a name
 * that sorts first, before foreign keys' and the application's.
 */
export function triggerStatements(spec: CaptureSpec): ReadonlyMap<string, string> {
  const table = quoteTable(spec.table);
  const run = `EXECUTE FUNCTION ${functionName(spec.oid)}()`;
  const truncate = [
    "tidemark_truncate",
    `CREATE TRIGGER tidemark_truncate AFTER TRUNCATE ON ${table} FOR EACH STATEMENT ${run}`,
  ] as const;
  if (spec.shape !== "statement") {
    return new Map([
      [
        ROW_TRIGGER,
        `CREATE TRIGGER ${quoteIdentifier(ROW_TRIGGER)} AFTER INSERT OR UPDATE OR DELETE ON ${table} FOR EACH ROW ${run}`,
      ],
      truncate,
    ]);
  }
  return new Map([
    [
      "tidemark_insert",
      `CREATE TRIGGER tidemark_insert AFTER INSERT ON ${table} REFERENCING NEW TABLE AS tidemark_new FOR EACH STATEMENT ${run}`,
    ],
    [
      "tidemark_update",
      `CREATE TRIGGER tidemark_update AFTER UPDATE ON ${table} REFERENCING NEW TABLE AS tidemark_new FOR EACH STATEMENT ${run}`,
    ],
    [
      "tidemark_delete",
      `CREATE TRIGGER tidemark_delete AFTER DELETE ON ${table} REFERENCING OLD TABLE AS tidemark_old FOR EACH STATEMENT ${run}`,
    ],
    [
      "tidemark_key",
      `CREATE TRIGGER tidemark_key AFTER UPDATE OF ${quoteList(spec.key)} ON ${table} FOR EACH ROW WHEN (${keyChanged(spec)}) EXECUTE FUNCTION ${keyFunctionName(spec.oid)}()`,
    ],
    truncate,
  ]);
}

export const ROW_TRIGGER = "!tidemark_row";

/** The triggers that each shape cannot do without. */
export function triggerNames(shape: Shape): readonly string[] {
  if (shape !== "statement") return [ROW_TRIGGER, "tidemark_truncate"];
  return [
    "tidemark_insert",
    "tidemark_update",
    "tidemark_delete",
    "tidemark_key",
    "tidemark_truncate",
  ];
}

/**
 * Statement shape. Rows of a key change are logged by row triggers, which all run before any
 * statement trigger: first all old keys go, then the rows come, so keys may be swapped in a statement.
 */
function statementBody(spec: CaptureSpec): string {
  const alias = rowAlias(spec);
  const write = (op: string) =>
    insertPerSlot(
      `(layout, op, row, filters) SELECT ${spec.layout}, '${op}', ${rowText(spec, alias)}, ${filterText(spec.filters)} FROM tidemark_new ${alias}`,
    );
  const remove = insertPerSlot(
    `(layout, op, key) SELECT ${spec.layout}, 'D', ${keyText(spec, alias)} FROM tidemark_old ${alias}`,
  );
  return body(`IF TG_OP = 'INSERT' THEN
${write("I")}
ELSIF TG_OP = 'UPDATE' THEN
${write("U")}
ELSIF TG_OP = 'DELETE' THEN
${remove}
ELSE
${truncateInsert(spec)}
END IF;
${WAKE_IF_LOGGED}`);
}

function keyBody(spec: CaptureSpec): string {
  return body(`${insertPerSlot(`(layout, op, key) VALUES (${spec.layout}, 'K', ${keyText(spec, "OLD")})`)}
${WAKE}`);
}

function rowBody(spec: CaptureSpec): string {
  const current = spec.shape === "row-current";
  const alias = rowAlias(spec);
  const from = `${spec.only ? "ONLY " : ""}${quoteTable(spec.table)} ${alias}`;
  const gone = (op: string) =>
    insertPerSlot(
      `(layout, op, key) SELECT ${spec.layout}, '${op}', ${keyText(spec, "OLD")}${
        current
          ? ` WHERE NOT EXISTS (SELECT FROM ${from} WHERE ${sameKey(spec, alias, "OLD")})`
          : ""
      }`,
    );
  return body(`IF TG_OP = 'DELETE' THEN
${gone("D")}
ELSIF TG_OP = 'TRUNCATE' THEN
${truncateInsert(spec)}
ELSE
IF TG_OP = 'UPDATE' THEN
IF ${keyChanged(spec)} THEN
${gone("K")}
END IF;
END IF;
${current ? currentRowInsert(spec, alias, from) : newRowInsert(spec, alias)}
END IF;
${WAKE}`);
}

function newRowInsert(spec: CaptureSpec, alias: string): string {
  const filters =
    spec.filters.length === 0
      ? "NULL::text"
      : `(SELECT ${filterText(spec.filters)} FROM (SELECT ${spec.liveColumns.map((name) => `NEW.${quoteIdentifier(name)}`).join(", ")}) ${alias})`;
  return insertPerSlot(
    `(layout, op, row, filters) VALUES (${spec.layout}, left(TG_OP, 1)::"char", ${rowText(spec, "NEW")}, ${filters})`,
  );
}

function currentRowInsert(spec: CaptureSpec, alias: string, from: string): string {
  return insertPerSlot(
    `(layout, op, row, filters) SELECT ${spec.layout}, left(TG_OP, 1)::"char", ${rowText(spec, alias)}, ${filterText(spec.filters)} FROM ${from} WHERE ${sameKey(spec, alias, "NEW")}`,
  );
}

function truncateInsert(spec: CaptureSpec): string {
  return insertPerSlot(`(layout, op) VALUES (${spec.layout}, 'T')`);
}

function sameKey(spec: CaptureSpec, alias: string, row: "OLD" | "NEW"): string {
  return spec.key
    .map((name) => {
      const column = quoteIdentifier(name);
      const found = columnNamed(spec, name);
      const equals = found ? equalsOperator(found.type, found.bareType) : "=";
      return `${alias}.${column} ${equals} ${row}.${column}`;
    })
    .join(" AND ");
}

/** Texts are compared byte by byte: to a target, keys that a collation holds equal may be two. */
function keyChanged(spec: CaptureSpec): string {
  return spec.key
    .map((name) => {
      const column = quoteIdentifier(name);
      const exact = columnNamed(spec, name)?.type.kind === "text" ? `::text COLLATE "C"` : "";
      return `OLD.${column}${exact} IS DISTINCT FROM NEW.${column}${exact}`;
    })
    .join(" OR ");
}

function columnNamed(spec: CaptureSpec, name: string): CapturedColumn | undefined {
  return spec.columns.find((column) => column.name === name);
}

/** Static statements, so that each is planned once per session. The slot is null until the first switch: that is slot 0. */
function insertPerSlot(rest: string): string {
  const [zero, ...others] = LOG_TABLES.map((slot) => `INSERT INTO ${logTable(slot)} ${rest};`);
  const branches = others.map(
    (insert, i) => `${i === 0 ? "IF" : "ELSIF"} tidemark_slot = ${i + 1} THEN\n${insert}`,
  );
  return `${branches.join("\n")}\nELSE\n${zero}\nEND IF;`;
}

const WAKE = `IF NOT pg_try_advisory_xact_lock_shared(${WAKE_LOCK}) THEN
PERFORM pg_notify('${WAKE_CHANNEL}', '');
END IF;
RETURN NULL;`;

/** A statement that touches no row wakes nobody. */
const WAKE_IF_LOGGED = WAKE.replace("IF NOT", "IF FOUND AND NOT");

function body(work: string): string {
  return `
#variable_conflict use_column
DECLARE
tidemark_slot bigint := pg_sequence_last_value('tidemark.log_slot');
BEGIN
${work}
END
`;
}

function createFunction(name: string, source: string, set: readonly string[]): string {
  let tag = "$tidemark$";
  while (source.includes(tag)) tag = `${tag.slice(0, -1)}_$`;
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
${set.map((each) => `SET ${each}`).join("\n")}
AS ${tag}${source}${tag}`;
}

/** Each setting costs every call, so only those are set that the table's values can feel. */
function settings(spec: CaptureSpec): readonly string[] {
  const kinds = new Set(spec.columns.map((column) => column.type.kind));
  const all = kinds.has("native") || spec.filters.length > 0;
  const needs = (...some: readonly ColumnType["kind"][]) =>
    all || some.some((kind) => kinds.has(kind));
  return [
    "search_path TO pg_catalog, pg_temp",
    ...(needs("timestamptz") ? ["TimeZone TO 'UTC'"] : []),
    ...(needs("date", "timestamp", "timestamptz") ? ["DateStyle TO 'ISO, YMD'"] : []),
    ...(needs("interval") ? ["IntervalStyle TO 'iso_8601'"] : []),
    ...(needs("bytes") ? ["bytea_output TO 'hex'"] : []),
    ...(needs("float") ? ["extra_float_digits TO 1"] : []),
    ...(all ? ["lc_monetary TO 'C'"] : []),
  ];
}
