import { isGlob, matcher, matcherExcept } from "../config/patterns.ts";
import { namesOf } from "../config/topology.ts";
import type { Catalog } from "../core/database.ts";
import type { SyncDefinition, TableRule } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import type { CaptureTable } from "../core/source.ts";
import { nearest, nearestTable } from "../core/suggest.ts";
import { formatTable, type TableName, type TableSchema } from "../core/table.ts";
import type { TargetColumn, TargetTable } from "../core/target.ts";
import { refuseUnsupported } from "../core/unsupported.ts";

/** A sync with its globs expanded and its columns chosen against the source's catalog. */
export interface ResolvedSync {
  readonly definition: SyncDefinition;
  readonly tables: readonly ResolvedTable[];
}

export interface ResolvedTable {
  readonly schema: TableSchema;
  readonly rule: TableRule;
  /** Source columns sent, generated ones left out, in table order. */
  readonly columns: readonly string[];
  readonly target: TargetTable;
}

/** What resolving needs to know of the two databases. */
export interface SyncEnds {
  /** The source adapter's kind. */
  readonly sourceKind: string;
  /** The target adapter's default schema; null where it has none (or is a function). */
  readonly targetSchema: string | null;
}

/** Which tables of the source each rule means. A rule that names a table outright comes before a glob; else the first wins. */
export async function resolveSync(
  definition: SyncDefinition,
  catalog: Catalog,
  ends: SyncEnds,
): Promise<ResolvedSync> {
  const listed = await catalog.listTables();
  checkExcept(definition, listed);
  const chosen = new Map<string, { readonly name: TableName; readonly rule: TableRule }>();
  const ordered = [...definition.tables].sort(
    (a, b) => Number(isGlob(a.table)) - Number(isGlob(b.table)),
  );
  for (const rule of ordered) {
    for (const name of tablesOf(rule, listed, definition)) {
      const text = formatTable(name);
      if (!chosen.has(text)) chosen.set(text, { name, rule });
    }
  }
  const entries = [...chosen.values()];
  refuseSpelledAlike(
    entries.map(({ name }) => name),
    listed,
  );
  const described = await catalog.describe(entries.map(({ name }) => name));
  const decided = entries.map(({ rule }, index) => {
    const schema = described[index];
    if (schema === undefined) throw new TidemarkError("TM-INTERNAL", "A table was not described.");
    return { schema, rule };
  });
  for (const rule of definition.tables.filter(({ table }) => isGlob(table))) {
    const schemas = decided.flatMap((each) => (each.rule === rule ? [each.schema] : []));
    checkGlobColumns(rule, schemas);
  }
  const tables = decided.map(({ schema, rule }) => resolveTable(schema, rule, ends));
  checkDistinctTargets(tables, definition);
  return { definition, tables };
}

/** `b.c` in the schema `a`, and `c` in the schema `a.b`: by its spelling a table is known everywhere. Throws TM-TABLE-UNSUPPORTED. */
function refuseSpelledAlike(chosen: readonly TableName[], listed: readonly TableName[]): void {
  const spelledAlike = Map.groupBy(listed, formatTable);
  for (const text of chosen.map(formatTable)) {
    const [one, other] = spelledAlike.get(text) ?? [];
    if (one === undefined || other === undefined) continue;
    const quoted = [one, other].map(({ schema, name }) => `"${schema}"."${name}"`).join(" and ");
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${quoted} are both spelled ${text}: they cannot be told apart.`,
      { fix: "Rename one of them, or its schema.", details: { table: text } },
    );
  }
}

/** What a source has to capture for all its syncs: the columns and filters that any of them needs. */
export function captureTables(syncs: readonly ResolvedSync[]): CaptureTable[] {
  const byTable = new Map<string, ResolvedTable[]>();
  for (const table of syncs.flatMap((sync) => sync.tables)) {
    const name = formatTable(table.schema.name);
    byTable.set(name, [...(byTable.get(name) ?? []), table]);
  }
  return [...byTable.values()].flatMap((uses) => {
    const schema = uses[0]?.schema;
    if (schema === undefined) return [];
    const wanted = new Set(uses.flatMap((use) => use.columns));
    const columns = schema.columns.map(({ name }) => name).filter((name) => wanted.has(name));
    const filters = [...new Set(uses.flatMap((use) => use.rule.where ?? []))];
    const takesNewColumns = uses.some(({ rule }) => rule.columns === undefined);
    return [{ schema, columns, filters, takesNewColumns }];
  });
}

function tablesOf(
  rule: TableRule,
  listed: readonly TableName[],
  definition: SyncDefinition,
): readonly TableName[] {
  const { except = [] } = definition;
  const matches = matcherExcept(rule.table, except);
  const found = listed.filter((name) => matches(name));
  if (found.length > 0) return found;
  if (!isGlob(rule.table)) {
    // Named outright: the catalog knows best why it cannot be had (a view, a foreign table, missing).
    return [parseName(rule.table, listed)];
  }
  const names = listed.map(formatTable);
  throw new TidemarkError(
    "TM-TABLE-MISSING",
    `No table of "${definition.from}" matches "${rule.table}"${except.length > 0 ? ", but for those that `except` leaves out" : ""}.`,
    {
      fix:
        names.length === 0
          ? `"${definition.from}" has no tables yet: create them first.`
          : `Its tables: ${names.slice(0, 10).join(", ")}${names.length > 10 ? ", …" : ""}. To take all of them write "*".`,
      details: { sync: definition.name, table: rule.table },
    },
  );
}

/** A name that no table has is misspelt, or out of date: what it was to leave out would be sent. */
function checkExcept({ name, from, except = [] }: SyncDefinition, listed: readonly TableName[]) {
  const unknown = except.find((each) => !isGlob(each) && !listed.some(matcher(each)));
  if (unknown === undefined) return;
  const near = nearestTable(parseName(unknown, listed), listed);
  throw new TidemarkError(
    "TM-TABLE-MISSING",
    `"${from}" has no table ${unknown}, which \`except\` is to leave out.`,
    {
      fix: `${near === null ? "" : `Did you mean "${near}"? `}If it is gone, take it out of \`except\`; for a table that may come, write a glob.`,
      details: { sync: name, table: unknown },
    },
  );
}

function parseName(text: string, listed: readonly TableName[]): TableName {
  const dot = text.indexOf(".");
  const hasSchemas = listed.some(({ schema }) => schema !== null);
  if (dot > 0 && (hasSchemas || listed.length === 0)) {
    return { schema: text.slice(0, dot), name: text.slice(dot + 1) };
  }
  return { schema: hasSchemas ? "public" : null, name: text };
}

function resolveTable(schema: TableSchema, rule: TableRule, ends: SyncEnds): ResolvedTable {
  if (schema.key.length === 0) refuseCondition(schema, rule);
  checkColumns(schema, rule);
  const wanted = rule.columns === undefined ? null : new Set(rule.columns);
  const except = new Set(rule.except);
  const asked = schema.columns.filter(
    ({ name }) => !except.has(name) && (wanted === null || wanted.has(name)),
  );
  const chosen = asked.filter(({ generated }) => !generated);
  const left = asked.filter(({ generated }) => generated);
  refuseUnsupported(schema, chosen, rule);
  const columns = chosen.map(({ name }) => name);
  requireKeyColumns(schema, columns);
  // A column may be called as what every object has: `constructor`.
  const renamed = new Map(Object.entries(rule.rename ?? {}));
  const rename = (name: string) => renamed.get(name) ?? name;
  const targetColumns = chosen.map(
    ({
      name,
      type,
      nativeType,
      nullable,
      looseCollation,
      negativeZero,
      zeroDate,
    }): TargetColumn => ({
      name: rename(name),
      type,
      nativeType,
      nullable,
      sourceKind: ends.sourceKind,
      ...(looseCollation === undefined ? {} : { looseCollation }),
      ...(negativeZero === undefined ? {} : { negativeZero }),
      ...(zeroDate === undefined ? {} : { zeroDate }),
    }),
  );
  const target: TargetTable = {
    name: targetName(schema.name, rule.as, ends.targetSchema),
    columns: targetColumns,
    key: schema.key.map(rename),
    ...(left.length === 0 ? {} : { generated: left.map(({ name }) => rename(name)) }),
  };
  return { schema, rule, columns, target };
}

/** A schema name goes along where the target has schemas, and is left behind where it has none. */
function targetName(
  name: TableName,
  as: string | undefined,
  targetSchema: string | null,
): TableName {
  if (targetSchema === null) return { schema: null, name: as ?? name.name };
  const schema = name.schema ?? targetSchema;
  if (as === undefined) return { schema, name: name.name };
  const dot = as.indexOf(".");
  return dot > 0 ? { schema: as.slice(0, dot), name: as.slice(dot + 1) } : { schema, name: as };
}

/**
 * Of two rows that are equal in the columns sent, one may meet a condition over other columns and one not:
 * the target could not tell which of them went. Nor which of two was set aside.
 */
function refuseCondition(schema: TableSchema, rule: TableRule): void {
  const table = formatTable(schema.name);
  if (rule.onError === "park") {
    throw new TidemarkError(
      "TM-TABLE-NO-KEY",
      `${table} has no primary key and no unique key of not-null columns: its rows cannot be parked (onError: park).`,
      {
        fix: "Let it be onError: stop for this table; or give it a primary key, or a unique key whose columns are all NOT NULL.",
        details: { table },
      },
    );
  }
  if (rule.where === undefined) return;
  throw new TidemarkError(
    "TM-TABLE-NO-KEY",
    `${table} has no primary key and no unique key of not-null columns: where it is sent with a condition (where), its rows cannot be told apart.`,
    {
      fix: "Give it a primary key, or a unique key whose columns are all NOT NULL; or send it whole; or use a filter function, in a .ts config.",
      details: { table },
    },
  );
}

function checkColumns(schema: TableSchema, rule: TableRule): void {
  if (isGlob(rule.table)) return;
  const known = columnsOf(schema);
  for (const column of columnsNamed(rule)) {
    if (known.includes(column)) continue;
    const near = nearest(column, known);
    const table = formatTable(schema.name);
    throw new TidemarkError("TM-COLUMN-MISSING", `${table} has no column "${column}".`, {
      fix: near === null ? `Its columns: ${known.join(", ")}.` : `Did you mean "${near}"?`,
      details: { table, column },
    });
  }
}

/**
 * Beside a glob a name need not be in every table. But one that is in none is misspelt, and so is one that a table
 * has in other letters (in SQLite and MySQL that is the same column): what it was to leave out would be sent.
 */
function checkGlobColumns(rule: TableRule, schemas: readonly TableSchema[]): void {
  const named = columnsNamed(rule);
  const known = [...new Set(schemas.flatMap(columnsOf))];
  for (const column of named) {
    if (!known.includes(column)) throw columnNowhere(rule, column, known);
    for (const schema of schemas) {
      const own = columnsOf(schema);
      if (own.includes(column)) continue;
      const lower = column.toLowerCase();
      const other = own.find((name) => name.toLowerCase() === lower && !named.includes(name));
      if (other === undefined) continue;
      const table = formatTable(schema.name);
      throw new TidemarkError(
        "TM-COLUMN-MISSING",
        `${table}, which goes by "${rule.table}", has no column "${column}".`,
        {
          fix: `Did you mean "${other}"? Name each spelling that the tables have.`,
          details: { table: rule.table, column },
        },
      );
    }
  }
}

function columnNowhere(rule: TableRule, column: string, known: readonly string[]): TidemarkError {
  const near = nearest(column, known);
  const some = `${known.slice(0, 10).join(", ")}${known.length > 10 ? ", …" : ""}`;
  const fix = near === null ? `Their columns: ${some}.` : `Did you mean "${near}"?`;
  return new TidemarkError(
    "TM-COLUMN-MISSING",
    `No table that goes by "${rule.table}" has a column "${column}".`,
    {
      fix:
        known.length === 0
          ? `Every table that "${rule.table}" matches goes by its full name or by a glob before it: put "${column}" there.`
          : fix,
      details: { table: rule.table, column },
    },
  );
}

function columnsOf(schema: TableSchema): string[] {
  return schema.columns.map(({ name }) => name);
}

function columnsNamed(rule: TableRule): string[] {
  return [...(rule.columns ?? []), ...(rule.except ?? []), ...Object.keys(rule.rename ?? {})];
}

function requireKeyColumns(schema: TableSchema, columns: readonly string[]): void {
  const missing = schema.key.filter((name) => !columns.includes(name));
  if (missing.length === 0) return;
  const table = formatTable(schema.name);
  const computed = schema.columns.find(
    ({ name, generated }) => generated && missing.includes(name),
  );
  if (computed !== undefined) {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${table} has the generated column ${computed.name} in its key: generated columns are not sent.`,
      {
        fix: "Give it a primary key, or a unique key of NOT NULL columns, without it; or leave the table out.",
        details: { table, column: computed.name },
      },
    );
  }
  throw new TidemarkError(
    "TM-CONFIG-INVALID",
    `The columns chosen of ${table} lack its key: ${missing.join(", ")}.`,
    { fix: "Send the key's columns too: rows are found by them.", details: { table, missing } },
  );
}

function checkDistinctTargets(tables: readonly ResolvedTable[], sync: SyncDefinition): void {
  const seen = new Map<string, string>();
  for (const { schema, target } of tables) {
    const name = formatTable(target.name);
    const source = formatTable(schema.name);
    const other = seen.get(name);
    if (other !== undefined) throw overlap(sync.name, name, [other, source]);
    seen.set(name, source);
  }
}

/** Throws TM-CONFIG-OVERLAP when two syncs write one table of one target, whichever of its names they give it. */
export function checkOverlap(
  syncs: readonly ResolvedSync[],
  nameOf: (database: string) => string,
): void {
  const seen = new Map<string, SyncDefinition>();
  for (const { definition, tables } of syncs) {
    for (const { target } of tables) {
      const key = JSON.stringify([nameOf(definition.to), target.name]);
      const other = seen.get(key);
      if (other !== undefined) {
        const where = namesOf(other.to, definition.to);
        throw overlap(where, formatTable(target.name), [other.name, definition.name]);
      }
      seen.set(key, definition);
    }
  }
}

function overlap(where: string, table: string, writers: readonly string[]): TidemarkError {
  return new TidemarkError(
    "TM-CONFIG-OVERLAP",
    `${where}: ${writers.join(" and ")} both write the table ${table}.`,
    { fix: "Give one of them another name with `as`, or leave it out.", details: { table } },
  );
}
