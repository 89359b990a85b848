import { objectionTo } from "../../core/collation.ts";
import { hasManyTexts, isMixed } from "../../core/column-type.ts";
import type { DatabaseOptions, Finding } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import {
  type ApplierSession,
  type BoundTable,
  type ColumnMapping,
  generatedNotes,
  longKeyNote,
  type TableProgress,
  type Target,
  type TargetColumn,
  type TargetPlan,
  type TargetTable,
} from "../../core/target.ts";
import { type TargetTrigger, triggerNotes, triggerProblem } from "../../core/trigger-text.ts";
import { openApplierSession } from "./applier-session.ts";
import { type FoundColumn, OTHER_KINDS, tableKey } from "./catalog.ts";
import { Connection } from "./connection.ts";
import { diagnoseTarget } from "./doctor.ts";
import { filledOf } from "./emptiness.ts";
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
import { identityOf } from "./identity.ts";
import { loadMarks } from "./marks.ts";
import {
  assertTargetFits,
  createTargetObjects,
  creating,
  missingTargetObjects,
  TARGET_DDL,
} from "./ours.ts";
import { PostgresParked } from "./parked.ts";
import { loadProgress } from "./progress.ts";
import { publicationNotes } from "./publications.ts";
import { formatArrayText } from "./row-text.ts";
import { loadStanding, type StandingTable, sortByParents } from "./target-tables.ts";
import { targetTriggers } from "./target-triggers.ts";
import { KIND, printsEveryChar } from "./types.ts";

export class PostgresTarget implements Target {
  readonly parked: PostgresParked;
  readonly #options: DatabaseOptions;
  readonly #connection: Connection;

  private constructor(options: DatabaseOptions, connection: Connection) {
    this.parked = new PostgresParked(connection);
    this.#options = options;
    this.#connection = connection;
  }

  static async open(options: DatabaseOptions): Promise<PostgresTarget> {
    return new PostgresTarget(options, await Connection.open(options, "target"));
  }

  identity(): Promise<string | null> {
    return identityOf(this.#connection);
  }

  async plan(tables: readonly TargetTable[]): Promise<TargetPlan> {
    const standing = await loadStanding(
      this.#connection,
      tables.map((table) => table.name),
    );
    const [triggers, known, schemas, ours, encoding] = await Promise.all([
      targetTriggers(this.#connection, tables, standing),
      this.#knownTypes(tables),
      this.#missingSchemas(tables),
      missingTargetObjects(this.#connection),
      this.#encodingNotes(),
    ]);
    const planned = tables.map((table) => {
      const stands = standing.get(tableKey(table.name));
      const ours = schemaOf(table.name) === OUR_SCHEMA;
      return stands && !ours ? planStanding(table, stands, triggers) : planMissing(table, known);
    });
    return {
      statements: [
        ...ours,
        ...schemas.map((schema) => `CREATE SCHEMA IF NOT EXISTS ${quoteIdentifier(schema)}`),
        ...planned.flatMap((each) => each.statements),
      ],
      mappings: planned.flatMap((each) => each.mappings),
      notes: [
        ...encoding,
        ...triggerNotes(triggers),
        ...tables
          .filter((table) => !standing.has(tableKey(table.name)))
          .flatMap((table) => generatedNotes(table)),
        ...(ours.length > 0 ? await publicationNotes(this.#connection) : []),
      ],
      tables: sortByParents(
        tables.map((table) => toBound(table, standing.get(tableKey(table.name)))),
        standing,
      ),
    };
  }

  async #encodingNotes(): Promise<readonly string[]> {
    const [row] = await this.#connection.rows("SELECT current_setting('server_encoding')");
    const encoding = row?.[0];
    if (encoding === "UTF8") return [];
    return [
      `the target's database is in ${encoding}: a text with a character that it lacks is refused`,
    ];
  }

  async prepare(plan: TargetPlan): Promise<void> {
    const refusal = plan.mappings.find((mapping) => mapping.fidelity === "refused");
    if (refusal) {
      throw new TidemarkError(
        "TM-COLUMN-UNFIT",
        `${formatTable(refusal.table)}.${refusal.column}: ${refusal.note ?? "refused"}`,
        { details: { table: formatTable(refusal.table), column: refusal.column } },
      );
    }
    await creating(this.#connection, async () => {
      await createTargetObjects(this.#connection);
      const statements = plan.statements.filter((statement) => !TARGET_DDL.has(statement));
      for (let from = 0; from < statements.length; from += AT_ONCE) {
        await this.#connection.script(statements.slice(from, from + AT_ONCE).join(";\n"));
      }
    });
  }

  diagnose(tables: readonly TargetTable[]): Promise<readonly Finding[]> {
    return diagnoseTarget(this.#connection, tables);
  }

  async copiesOf(sync: string): Promise<readonly TableProgress[]> {
    const [found] = await this.#connection.rows("SELECT to_regclass('tidemark.progress_tables')");
    if (found?.[0] === null) return [];
    await assertTargetFits(this.#connection);
    return (await loadProgress(this.#connection, sync)).tables;
  }

  filled(tables: readonly BoundTable[]): Promise<readonly BoundTable[]> {
    return filledOf(this.#connection, tables);
  }

  marksOf(tables: readonly BoundTable[]): Promise<ReadonlyMap<BoundTable, string>> {
    return loadMarks(this.#connection, tables);
  }

  openApplier(sync: string, tables: readonly BoundTable[]): Promise<ApplierSession | null> {
    return openApplierSession(this.#options, sync, tables);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  /** Which of the source's own types stand here, too. */
  async #knownTypes(tables: readonly TargetTable[]): Promise<ReadonlySet<string>> {
    const ofOurKind = tables.flatMap((table) =>
      table.columns.filter((column) => column.sourceKind === KIND),
    );
    const names = new Set(ofOurKind.map((column) => column.nativeType));
    // Another server's is made as text there.
    if (!printsEveryChar(this.#connection.version)) names.delete('"char"');
    const asked = [...names].map(async (name) => {
      // One by one: for what is no type's syntax older versions raise an error.
      const [row] = await this.#connection
        .rows("SELECT to_regtype($1) IS NOT NULL", [name])
        .catch(() => [["f"]]);
      return row?.[0] === "t" ? [name] : [];
    });
    return new Set((await Promise.all(asked)).flat());
  }

  async #missingSchemas(tables: readonly TargetTable[]): Promise<readonly string[]> {
    const wanted = [...new Set(tables.map((table) => schemaOf(table.name)))];
    const rows = await this.#connection.rows(
      "SELECT w FROM unnest($1::text[]) w WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = w)",
      [formatArrayText(wanted)],
    );
    return rows.map(([name]) => name as string);
  }
}

/** Statements in one transaction: each table takes a few locks until its end, and a server has some thousands. */
const AT_ONCE = 100;

const MAX_COLUMNS = 1_600;
const MAX_KEY_COLUMNS = 32;

interface PlannedTable {
  readonly statements: readonly string[];
  readonly mappings: readonly ColumnMapping[];
}

function toBound(table: TargetTable, standing: StandingTable | undefined): BoundTable {
  const kinds = new Map(standing?.columns.map(({ name, type }) => [name, type.kind]));
  return {
    name: table.name,
    columns: table.columns.map(({ name, type }) => {
      const kind = kinds.get(name);
      return {
        name,
        type,
        numeric: hasManyTexts(type) && (kind === "decimal" || kind === "float"),
      };
    }),
    key: table.key.map((name) => table.columns.findIndex((column) => column.name === name)),
    parents: [],
    cascades: false,
    followed: false,
  };
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

function planMissing(table: TargetTable, known: ReadonlySet<string>): PlannedTable {
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

function planStanding(
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
