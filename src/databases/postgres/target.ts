import { hasManyTexts } from "../../core/column-type.ts";
import type { DatabaseOptions, Finding } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import {
  type ApplierSession,
  type BoundTable,
  generatedNotes,
  type TableProgress,
  type Target,
  type TargetPlan,
  type TargetTable,
} from "../../core/target.ts";
import { triggerNotes } from "../../core/trigger-text.ts";
import { openApplierSession } from "./applier-session.ts";
import { typeSchemas } from "./capture-row.ts";
import { tableKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { diagnoseTarget } from "./doctor.ts";
import { filledOf } from "./emptiness.ts";
import { OUR_SCHEMA, quoteIdentifier, schemaOf } from "./identifiers.ts";
import { identityOf } from "./identity.ts";
import { loadMarks } from "./marks.ts";
import {
  assertTargetFits,
  createTargetObjects,
  creating,
  missingTargetObjects,
  openOwned,
  TARGET_DDL,
} from "./ours.ts";
import { PostgresParked } from "./parked.ts";
import { planMissing, planStanding } from "./planned-table.ts";
import { loadProgress } from "./progress.ts";
import { publicationNotes } from "./publications.ts";
import { applyRights, type RightsTable } from "./rights-findings.ts";
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
    return new PostgresTarget(options, await openOwned(options, "target"));
  }

  identity(): Promise<string | null> {
    return identityOf(this.#connection);
  }

  async plan(tables: readonly TargetTable[]): Promise<TargetPlan> {
    const standing = await loadStanding(
      this.#connection,
      tables.map((table) => table.name),
    );
    const lacking = tables.map(({ name }) => name).filter((name) => !standing.has(tableKey(name)));
    const [lacks, triggers, known, schemas, ours, encoding] = await Promise.all([
      applyRights(this.#connection, standingOf(tables, standing), lacking, { columns: true }),
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
      lacks,
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

function standingOf(
  tables: readonly TargetTable[],
  standing: ReadonlyMap<string, StandingTable>,
): RightsTable[] {
  return tables.flatMap(({ name, columns }) => {
    const stands = standing.get(tableKey(name));
    if (stands === undefined) return [];
    const names = columns.map((column) => column.name);
    const written = stands.columns.filter((column) => names.includes(column.name));
    return [{ name, oid: stands.oid, typeSchemas: typeSchemas(written) }];
  });
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
