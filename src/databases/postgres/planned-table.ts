import { objectionTo } from "../../core/collation.ts";
import { isMixed } from "../../core/column-type.ts";
import { formatTable } from "../../core/table.ts";
import {
  type ColumnMapping,
  longKeyNote,
  type TargetColumn,
  type TargetTable,
} from "../../core/target.ts";
import { type TargetTrigger, triggerProblem } from "../../core/trigger-text.ts";
import { type FoundColumn, OTHER_KINDS } from "./catalog.ts";
import { createdType, type Fit, fitOf, MIXED_KEY } from "./fit.ts";
import {
  columnProblem,
  nameProblem,
  OUR_SCHEMA,
  quoteIdentifier,
  quoteList,
  quoteTable,
  schemaOf,
  schemaProblem,
} from "./identifiers.ts";
import type { StandingTable } from "./target-tables.ts";
import { KIND } from "./types.ts";

const MAX_COLUMNS = 1_600;
const MAX_KEY_COLUMNS = 32;

export interface PlannedTable {
  readonly statements: readonly string[];
  readonly mappings: readonly ColumnMapping[];
}

/** Null when the server takes the names of the table and the column as they are. */
function refusedName(table: TargetTable, column: TargetColumn): Fit | null {
  const { name } = table;
  const ours = schemaOf(name) === OUR_SCHEMA;
  const problem = ours
    ? `the schema ${OUR_SCHEMA} is Tidemark's own: give the table another place with \`as\``
    : (schemaProblem(schemaOf(name)) ??
      nameProblem(name.name, "`as`") ??
      columnProblem(column.name));
  return problem === null ? null : { fidelity: "refused", note: problem };
}

export function planMissing(table: TargetTable, known: ReadonlySet<string>): PlannedTable {
  const mappings = table.columns.map((column) => {
    const refused = refusedName(table, column);
    if (refused !== null) return mapping(table, column, "", refused);
    const { nativeType, ...rest } = createdType(column, (name) => known.has(name));
    // No index takes json, and its text is what is compared at the source.
    const targetType =
      nativeType === "json" && table.key.includes(column.name) ? "text" : nativeType;
    return mapping(table, column, targetType, isMixedKey(table, column) ? MIXED_KEY : rest);
  });
  const [first] = mappings;
  const note =
    table.columns.length > MAX_COLUMNS
      ? `a table of PostgreSQL has at most ${MAX_COLUMNS} columns, this one would have ${table.columns.length}: leave some out with except`
      : table.key.length > MAX_KEY_COLUMNS
        ? longKeyNote("PostgreSQL", MAX_KEY_COLUMNS, table.key.length)
        : null;
  if (first !== undefined && note !== null) {
    return {
      statements: [],
      mappings: [{ ...first, fidelity: "refused", note }, ...mappings.slice(1)],
    };
  }
  const columns = table.columns.map((column, i) => {
    const notNull = column.nullable && !table.key.includes(column.name) ? "" : " NOT NULL";
    return `  ${quoteIdentifier(column.name)} ${mappings[i]?.targetType}${notNull}`;
  });
  const key = table.key.length === 0 ? [] : [`  PRIMARY KEY (${quoteList(table.key)})`];
  return {
    statements: [
      `CREATE TABLE IF NOT EXISTS ${quoteTable(table.name)} (\n${[...columns, ...key].join(",\n")}\n)`,
    ],
    mappings,
  };
}

export function planStanding(
  table: TargetTable,
  standing: StandingTable,
  triggers: readonly TargetTrigger[],
): PlannedTable {
  const other = OTHER_KINDS[standing.kind];
  if (other !== undefined) {
    const note = `${formatTable(table.name)} is ${other}, not a table: rename it, or give the table another name with \`as\``;
    return {
      statements: [],
      mappings: table.columns.map((column) =>
        mapping(table, column, "nothing", { fidelity: "refused", note }),
      ),
    };
  }
  const problem = tableProblem(table, standing) ?? triggerProblem(triggers, table);
  const mappings = table.columns.map((column) => {
    const stands = standing.columns.find((each) => each.name === column.name);
    const fit = fitUniques(table, column, standing) ?? fitColumn(table, column, stands);
    return mapping(table, column, stands?.nativeType ?? "", fit);
  });
  const unfed = standing.columns.filter(
    (column) =>
      !column.nullable &&
      !column.hasDefault &&
      !column.identity &&
      !column.generated &&
      !table.columns.some((each) => each.name === column.name),
  );
  const more = unfed.map((column) => ({
    table: table.name,
    column: column.name,
    sourceType: "",
    targetType: column.nativeType,
    fidelity: "refused" as const,
    note: `the column is NOT NULL, has no default and the source does not feed it: ALTER TABLE ${quoteTable(table.name)} ALTER ${quoteIdentifier(column.name)} DROP NOT NULL`,
  }));
  const first = mappings.find((each) => each.column === table.key[0]) ?? mappings[0];
  if (problem !== null && first) {
    const i = mappings.indexOf(first);
    mappings[i] = { ...first, fidelity: "refused", note: problem };
  }
  return { statements: [], mappings: [...mappings, ...more] };
}

/** What makes the table as a whole unfit; told at its key's first column. */
function tableProblem(table: TargetTable, standing: StandingTable): string | null {
  const [rule] = standing.rules;
  if (rule !== undefined) {
    const disable = `ALTER TABLE ${quoteTable(table.name)} DISABLE RULE ${quoteIdentifier(rule)}`;
    return `the rule ${rule} rewrites what is written, and nothing tells which rows it leaves out or adds: ${disable}`;
  }
  if (standing.unlogged !== null) {
    const partition = formatTable(standing.unlogged);
    return `its partition ${partition} is unlogged, and nothing tells of the rows that go when a crash of the server empties it alone: ALTER TABLE ${quoteTable(standing.unlogged)} SET LOGGED`;
  }
  if (table.key.length === 0) return null;
  const wanted = [...table.key].sort();
  const exact = standing.uniques.filter(
    ({ columns }) => JSON.stringify([...columns].sort()) === JSON.stringify(wanted),
  );
  const [name, key] = [quoteTable(table.name), quoteList(table.key)];
  // ON CONFLICT refuses it even where another index on the same columns would do.
  const late = exact.find((each) => !each.immediate);
  if (late !== undefined) {
    return `the key ${late.name} is deferrable, and no row can be written over another by such a one: ALTER TABLE ${name} DROP CONSTRAINT ${late.name}, ADD ${late.primary ? "PRIMARY KEY" : "UNIQUE"} (${key})`;
  }
  return exact.some((each) => !each.withoutOverlaps)
    ? null
    : `no unique index on exactly the key: CREATE UNIQUE INDEX ON ${name} (${key})`;
}

/** Two texts that the source tells apart must not be one in an index here. */
function fitUniques(
  table: TargetTable,
  column: TargetColumn,
  { uniques }: StandingTable,
): Fit | null {
  for (const { name, loose } of uniques) {
    const collation = loose.get(column.name);
    if (collation === undefined) continue;
    const objection = objectionTo(column, { index: name, collation, kind: KIND });
    if (objection === null) continue;
    const alter = `ALTER COLUMN ${quoteIdentifier(column.name)} TYPE text COLLATE "default"`;
    return {
      fidelity: "refused",
      note: `${objection}: ALTER TABLE ${quoteTable(table.name)} ${alter}`,
    };
  }
  return null;
}

function fitColumn(
  table: TargetTable,
  column: TargetColumn,
  stands: FoundColumn | undefined,
): Omit<ReturnType<typeof createdType>, "nativeType"> {
  if (!stands) {
    const { nativeType } = createdType(
      column,
      () => column.type.kind !== "native" && column.type.kind !== "enum",
    );
    return {
      fidelity: "refused",
      note: `the column is missing: ALTER TABLE ${quoteTable(table.name)} ADD COLUMN ${quoteIdentifier(column.name)} ${nativeType}`,
    };
  }
  if (stands.generated) {
    return {
      fidelity: "refused",
      note: "the target computes this column: leave it out with except",
    };
  }
  if (stands.always && table.key.length > 0 && !table.key.includes(column.name)) {
    return {
      fidelity: "refused",
      note: `the target lets nobody change it: ALTER TABLE ${quoteTable(table.name)} ALTER ${quoteIdentifier(column.name)} SET GENERATED BY DEFAULT`,
    };
  }
  if ((stands.type as unknown) === null)
    return { fidelity: "refused", note: `type ${stands.nativeType} cannot be written` };
  if (stands.ambiguous !== null && table.key.includes(column.name)) {
    return {
      fidelity: "refused",
      note: `keys of the type are compared otherwise here, or not at all ("operator is not unique"), by an implicit cast: DROP ${stands.ambiguous}`,
    };
  }
  if (isMixedKey(table, column)) return MIXED_KEY;
  const fitting = fitOf(column, stands);
  const strict = !stands.nullable && column.nullable && !table.key.includes(column.name);
  if (fitting.fidelity === "refused" || !strict) return fitting;
  return {
    fidelity: "by-rule",
    note: `the source allows NULL, the target does not: a NULL stops the sync. ALTER TABLE ${quoteTable(table.name)} ALTER ${quoteIdentifier(column.name)} DROP NOT NULL`,
  };
}

function isMixedKey(table: TargetTable, column: TargetColumn): boolean {
  return isMixed(column.type) && table.key.includes(column.name);
}

const ZERO_DATE =
  "its default is a zero date, which PostgreSQL lacks: a row that has it stops the sync (TM-VALUE-REFUSED). Give it another default, and such rows another value, at the source, or make the target's column text";

function mapping(
  table: TargetTable,
  column: TargetColumn,
  targetType: string,
  fitting: { readonly fidelity: ColumnMapping["fidelity"]; readonly note?: string },
): ColumnMapping {
  const { fidelity } = fitting;
  const stops = column.zeroDate && fidelity !== "refused" && /^(date|timestamp)/.test(targetType);
  const notes = [fitting.note, stops ? ZERO_DATE : undefined].filter((note) => note !== undefined);
  return {
    table: table.name,
    column: column.name,
    sourceType: column.nativeType,
    targetType,
    fidelity,
    ...(notes.length === 0 ? {} : { note: notes.join("; ") }),
  };
}
