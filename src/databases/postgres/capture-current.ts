// What a trigger logs of a table that has triggers of its own: the row as it stands by now.
import {
  areNameable,
  type CaptureSpec,
  keyColumns,
  keyText,
  letters,
  type NamedType,
  printTheSame,
  rowAlias,
  rowText,
  sameKey,
  schemaOid,
} from "./capture-row.ts";
import { quoteIdentifier, quoteLiteral, quoteTable, schemaOf } from "./identifiers.ts";
import { insertByName, insertPerSlot } from "./log-insert.ts";

/** Does each statement of the transaction see what others have committed before it? */
export const SEES_ALL = "current_setting('transaction_isolation') LIKE 'read %'";

/** A table that a trigger is to read: its oid, and the name or oid of its schema, in SQL. */
export interface ReadTable {
  readonly oid: string;
  readonly schema: string;
}

/** The one that the trigger is of. */
export const TRIGGERS_TABLE: ReadTable = { oid: "TG_RELID", schema: "TG_TABLE_SCHEMA" };

/**
 * Row-level security that came later hides rows from our role, whoever writes, and a right that was revoked all of them:
 * what stands could not be told from what is gone. Then that is logged, and the relay stops; the application's write
 * goes on. `types`: those that are named.
 */
export function isHidden({ oid, schema }: ReadTable, types: readonly NamedType[] = []): string {
  return [
    isSecured(oid),
    ...[
      `pg_catalog.has_table_privilege(${oid}, 'SELECT')`,
      `pg_catalog.has_schema_privilege(${schema}, 'USAGE')`,
      ...areNameable(types),
    ].map((right) => `NOT ${right}`),
  ].join(" OR ");
}

export function insertHidden(spec: CaptureSpec, { oid }: ReadTable): string {
  const why = `CASE WHEN ${isSecured(oid)} THEN '${HIDDEN}' ELSE '${FORBIDDEN}' END`;
  return insertPerSlot(`VALUES ('${spec.layout}X', ${why})`);
}

function isSecured(oid: string): string {
  return `pg_catalog.row_security_active(${oid})`;
}

/** What stands in the place of the row. */
export const HIDDEN = "row-level security";
export const FORBIDDEN = "rights";

/** A query, cut where the table's name belongs. */
type Texts = readonly string[];

/** Where a query that goes by no variables of the trigger has the keys of its row from. */
interface Given {
  /** A row of that name. */
  readonly row: string;
  /** What is written. */
  readonly operation: string;
}

/** Logs what stands by the key of a row that was written. */
export function insertWritten(spec: CaptureSpec): string {
  return insertCurrent(spec, "NEW", (given) => written(spec, given));
}

/** Logs that a row went, by the operation, or what stands by its key by now. */
export function insertGone(spec: CaptureSpec, op: string): string {
  return insertCurrent(spec, "OLD", (given) => goneUnlessTaken(spec, op, given));
}

/**
 * Logs what stands now. Its query is planned once, by the table's name. A table that has been renamed, or moved to
 * another schema, is read by the name it has: it may get its own back, and the application's writes must go on.
 */
function insertCurrent(
  spec: CaptureSpec,
  key: "OLD" | "NEW",
  textsOf: (given: Given | null) => Texts,
): string {
  const table = quoteTable(spec.table);
  const read = readTable(spec);
  const parameters = spec.key.map((name, i) => `$${i + 1} AS ${quoteIdentifier(name)}`);
  const given: Given = {
    row: `(SELECT ${parameters.join(", ")}) ${key}`,
    operation: `$${spec.key.length + 1}`,
  };
  const using = [...spec.key.map((name) => `${key}.${quoteIdentifier(name)}`), "TG_OP"];
  return `IF ${isHidden(read, keyColumns(spec))} THEN
${insertHidden(spec, read)}
ELSIF pg_catalog.to_regclass(${quoteLiteral(table)}) OPERATOR(pg_catalog.=) ${read.oid} THEN
${insertPerSlot(textsOf(null).join(table))}
ELSE
${insertByName(textsOf(given), { oid: oidByNow(spec), using })}
END IF;`;
}

function readTable({ oid, table, partitioned }: CaptureSpec): ReadTable {
  if (!partitioned) return TRIGGERS_TABLE;
  return {
    oid: `${oid}::pg_catalog.oid`,
    // Null is no obstacle.
    schema: schemaOid(schemaOf(table)),
  };
}

/**
 * In a database that was loaded from a dump tables have other oids, and ours may be another one's: there it goes by its
 * name, or is what the partition belongs to. That log is nobody's, but the application's writes must go on.
 */
function oidByNow({ oid, table, partitioned }: CaptureSpec): string {
  if (!partitioned) return TRIGGERS_TABLE.oid;
  const ours = `(SELECT relid FROM pg_catalog.pg_partition_ancestors(${TRIGGERS_TABLE.oid}) AS of(relid) WHERE relid OPERATOR(pg_catalog.=) ${oid}::pg_catalog.oid)`;
  const byName = `pg_catalog.to_regclass(${quoteLiteral(quoteTable(table))})`;
  return `coalesce(${ours}, ${byName}, pg_catalog.pg_partition_root(${TRIGGERS_TABLE.oid}))`;
}

function written(spec: CaptureSpec, given: Given | null): Texts {
  const [from, where] = currentRow(spec, "NEW", given);
  const operation = given?.operation ?? "TG_OP";
  return [
    `SELECT '${spec.layout}' || left(${operation}, 1), ${currentRowText(spec)} ${from}`,
    where,
  ];
}

/** Where another row took the key before this one left it, as a deferrable key allows, that one is what stands. */
function goneUnlessTaken(spec: CaptureSpec, op: string, given: Given | null): Texts {
  const [from, where] = currentRow(spec, "OLD", given);
  const same = printTheSame(spec, rowAlias(spec), "OLD");
  const key = `SELECT '${spec.layout}${op}', ${keyText(spec, "OLD")}${given === null ? "" : ` FROM ${given.row}`}`;
  return [
    `${key} WHERE NOT EXISTS (SELECT ${from}`,
    `${where} AND ${same})
UNION ALL SELECT '${spec.layout}U', ${currentRowText(spec)} ${from}`,
    where,
  ];
}

function currentRowText(spec: CaptureSpec): string {
  const alias = rowAlias(spec);
  return `${letters(spec, alias)}${rowText(spec, alias)}`;
}

/**
 * What stands by a key that this transaction has written, before and after the table's name. In a transaction with one
 * snapshot for all its statements a row that another has deleted since is still seen; what this one has written is told
 * by its age.
 */
function currentRow(
  spec: CaptureSpec,
  key: "OLD" | "NEW",
  given: Given | null,
): readonly [string, string] {
  const alias = rowAlias(spec);
  const others = given === null ? "" : `, ${given.row}`;
  return [
    `FROM ${spec.only ? "ONLY " : ""}`,
    ` ${alias}${others} WHERE ${sameKey(spec, alias, key)} AND (age(${alias}.xmin) <= 0 OR ${SEES_ALL})`,
  ];
}
