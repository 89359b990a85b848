import { objectionTo } from "../../core/collation.ts";
import { type ColumnType, describeType } from "../../core/column-type.ts";
import type { ColumnMapping, TargetColumn, TargetTable } from "../../core/target.ts";
import { type ColumnFacts, isExact, type TableFacts } from "./facts.ts";
import { quoteName, sameName } from "./identifiers.ts";
import { type Affinity, affinityOf } from "./types.ts";

/** How a column of a target holds a type. */
export interface Fit {
  readonly fidelity: ColumnMapping["fidelity"];
  readonly note?: string;
}

const EXACT: Fit = { fidelity: "exact" };
const AS_TEXT: Fit = { fidelity: "by-rule", note: "stored as its exact text" };
const refused = (note: string): Fit => ({ fidelity: "refused", note });

const FLOAT_RULE = "NaN, which a REAL cannot hold, is the text 'NaN'; -0 becomes 0";

const SQLITE = "sqlite";

/**
 * The type a created column is declared with. From another SQLite it is the source's own; else the
 * storage class that holds every value. Digits that SQLite's numbers cannot hold go as text.
 */
function declaredTypeFor(column: TargetColumn): string {
  const { type } = column;
  if (column.sourceKind === SQLITE) return declaredAsSource(column);
  switch (type.kind) {
    case "boolean":
      return "BOOLEAN";
    case "integer":
      return isUnsigned64(type) ? "TEXT" : "INTEGER";
    case "float":
      return "REAL";
    case "bytes":
      return "BLOB";
    case "native":
      return type.database === SQLITE ? "" : "TEXT";
    default:
      return "TEXT";
  }
}

/** A plain type name stands as it is; anything else is quoted, which gives the same affinity. */
function declaredAsSource({ nativeType }: TargetColumn): string {
  const word = nativeType.trim();
  // ANY means "converts nothing" only in a STRICT table; without a type that holds everywhere.
  if (word === "" || word.toUpperCase() === "ANY") return "";
  const isPlain = /^[A-Za-z_][\w ]*(\( *[+-]?\d+ *(, *[+-]?\d+ *)?\))?$/.test(word);
  return isPlain && !RESERVED.test(word) ? word : quoteName(word);
}

/** Words that a statement takes for a part of itself, so that only in quotes are they of a type's name. */
const RESERVED = new RegExp(
  `\\b(${[
    ...["add", "all", "alter", "always", "and", "as", "autoincrement", "between", "case"],
    ...["check", "collate", "commit", "constraint", "create", "cross", "default", "deferrable"],
    ...["delete", "distinct", "drop", "else", "escape", "except", "exists", "foreign", "from"],
    ...["full", "generated", "group", "having", "in", "index", "indexed", "inner", "insert"],
    ...["intersect", "into", "is", "isnull", "join", "left", "limit", "natural", "not"],
    ...["nothing", "notnull", "null", "on", "or", "order", "outer", "primary", "references"],
    ...["returning", "right", "select", "set", "table", "then", "to", "transaction", "union"],
    ...["unique", "update", "using", "values", "when", "where"],
  ].join("|")})\\b`,
  "i",
);

/** Does a column with this affinity give the value back as it was? */
function fitOf(column: TargetColumn, affinity: Affinity): Fit {
  const { type } = column;
  if (column.sourceKind === SQLITE && affinity === sourceAffinity(column)) return EXACT;
  const holdsText = affinity === "text" || affinity === "none";
  switch (type.kind) {
    case "boolean":
      return affinity === "text" || affinity === "real"
        ? refused("a BOOLEAN or INTEGER column holds it")
        : { fidelity: "exact", note: "0 and 1" };
    case "integer":
      if (isUnsigned64(type)) return holdsText ? AS_TEXT : refused("a TEXT column holds it");
      if (affinity === "text") return AS_TEXT;
      return affinity === "real" ? refused("an INTEGER column holds it") : EXACT;
    case "float":
      if (affinity === "text") return AS_TEXT;
      return affinity === "real" || affinity === "none"
        ? { fidelity: "by-rule", note: FLOAT_RULE }
        : refused("a REAL column holds it");
    case "bytes":
      return EXACT;
    case "text":
    case "enum":
      return holdsText ? EXACT : refused("a TEXT column holds it");
    case "date":
    case "time":
    case "timetz":
    case "timestamp":
    case "timestamptz":
    case "interval":
    case "uuid":
      // Never looks like a number, so no affinity converts it.
      return AS_TEXT;
    case "native":
      if (type.database === SQLITE) {
        return affinity === "none" ? EXACT : refused("a column without a type holds it");
      }
      return holdsText ? AS_TEXT : refused("a TEXT column holds it");
    default:
      return holdsText ? AS_TEXT : refused("a TEXT column holds it: others would drop digits");
  }
}

function sourceAffinity(column: TargetColumn): Affinity {
  return affinityOf(declaredAsSource(column));
}

export function isUnsigned64(type: ColumnType): boolean {
  return type.kind === "integer" && type.bits === 64 && type.unsigned === true;
}

/** How each column of a table that is still to be created travels. */
export function mapNew(table: TargetTable): ColumnMapping[] {
  return table.columns.map((column) => {
    const targetType = declaredTypeFor(column);
    return mapping(table, column, targetType || "no type", fitOf(column, affinityOf(targetType)));
  });
}

/** How each column of a table that stands travels. */
export function mapStanding(table: TargetTable, facts: TableFacts): ColumnMapping[] {
  return table.columns.map((column) => {
    const there = facts.columns.find((candidate) => sameName(candidate.name, column.name));
    if (there === undefined) {
      const ddl = `ALTER TABLE ${quoteName(facts.name)} ADD COLUMN ${quoteName(column.name)} ${declaredTypeFor(column)}`;
      return mapping(table, column, "", refused(`there is no such column: ${ddl}`));
    }
    return mapping(table, column, there.declared || "no type", standingFit(column, there, facts));
  });
}

function standingFit(column: TargetColumn, there: ColumnFacts, facts: TableFacts): Fit {
  if (there.generated) return refused("the column is computed here and cannot be written");
  const loose = [facts.key, ...facts.uniques]
    .flatMap((index) => index.map((part) => ({ ...part, index })))
    .find(({ name, collation }) => sameName(name, column.name) && !isExact(collation));
  if (loose !== undefined) {
    const index = `(${loose.index.map(({ name }) => name).join(", ")})`;
    const collation = loose.collation.toUpperCase();
    const objection = objectionTo(column, { index, collation, kind: SQLITE });
    if (objection !== null) return refused(`${objection}: make the index anew with COLLATE BINARY`);
  }
  return fitOf(column, affinityOf(there.declared, facts.strict));
}

export function mapping(
  table: TargetTable,
  column: TargetColumn,
  targetType: string,
  fit: Fit,
): ColumnMapping {
  return {
    table: table.name,
    column: column.name,
    sourceType: column.nativeType || describeType(column.type),
    targetType,
    fidelity: fit.fidelity,
    ...(fit.note === undefined ? {} : { note: fit.note }),
  };
}

export function createStatement(table: TargetTable): string {
  const key = new Set(table.key);
  const columns = table.columns.map((column) => {
    const rule = key.has(column.name) || !column.nullable ? " NOT NULL" : "";
    return `  ${quoteName(column.name)} ${declaredTypeFor(column)}${rule}`;
  });
  const primary =
    table.key.length === 0 ? [] : [`  PRIMARY KEY (${table.key.map(quoteName).join(", ")})`];
  return `CREATE TABLE IF NOT EXISTS ${quoteName(table.name.name)} (\n${[...columns, ...primary].join(",\n")}\n)`;
}
