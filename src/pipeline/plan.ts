import type { PipelineDefinition } from "../core/definition.ts";
import type { Logger } from "../core/log.ts";
import type { CapturePlan } from "../core/source.ts";
import { formatTable } from "../core/table.ts";
import type { ColumnMapping } from "../core/target.ts";
import { Ahead } from "./ahead.ts";
import { CapturePlans } from "./capture-plans.ts";
import { Databases } from "./connect.ts";
import { type Lacks, lacksOf } from "./lacks.ts";
import { logFindings } from "./log-findings.ts";
import { notesOnCopies, type PlannedCopies, plannedCopies } from "./planned-copies.ts";
import { type PreparedSource, prepare } from "./prepare.ts";
import type { ResolvedSync } from "./resolve.ts";

export interface PipelinePlan {
  readonly databases: readonly DatabasePlan[];
  readonly mappings: readonly (ColumnMapping & { readonly sync: string })[];
  /** Of syncs to databases. */
  readonly copies: readonly PlannedCopies[];
  /** How many columns are refused: with any, `run` would not start. */
  readonly refused: number;
  /** Rights that are still to be granted: with any, `run` would not start a sync that has never worked. */
  readonly lacks: readonly Lacks[];
}

export interface DatabasePlan {
  readonly name: string;
  readonly kind: string;
  /** Still to run, in order; empty: nothing to do. */
  readonly statements: readonly string[];
  readonly notes: readonly string[];
}

/** A column is logged when one sync wants it, and then stands in the messages that all of them read. */
function notesOnColumns(
  { name, capture }: PreparedSource,
  syncs: readonly ResolvedSync[],
): string[] {
  const readers = syncs.filter(({ definition }) => definition.from === name);
  return capture.flatMap(({ schema, columns }) => {
    const uses = readers.flatMap(({ definition, tables }) =>
      tables
        .filter((table) => formatTable(table.schema.name) === formatTable(schema.name))
        .map((table) => ({ sync: definition.name, columns: table.columns })),
    );
    return columns.flatMap((column) => {
      const without = uses.filter((use) => !use.columns.includes(column));
      const wanting = uses.filter((use) => use.columns.includes(column));
      if (without.length === 0) return [];
      const names = (list: typeof uses) => list.map(({ sync }) => sync).join(", ");
      return `${formatTable(schema.name)}: column ${column} is left out of ${names(without)}, yet stands in the change log and in the queue, since ${names(wanting)} takes it.`;
    });
  });
}

/** What is said of TRUNCATE for a source that does not log it. */
function notesOnTruncate(name: string, syncs: readonly ResolvedSync[]): string[] {
  return syncs.flatMap(({ definition, tables }) =>
    tables
      .filter(({ rule: { truncate = "stop" } }) => definition.from === name && truncate !== "stop")
      .map(
        ({ schema, rule }) =>
          `${formatTable(schema.name)}: truncate: ${rule.truncate} of ${definition.name} has no effect, since this source logs no TRUNCATE.`,
      ),
  );
}

/** Everything `run` would create and copy, and how each column travels. Changes nothing. */
export async function makePlan(
  definition: PipelineDefinition,
  logger: Logger,
): Promise<PipelinePlan> {
  const databases = new Databases(definition, logger);
  await using ahead = new Ahead(databases);
  using captures = new CapturePlans(ahead);
  const prepared = await prepare(definition, databases, {
    create: false,
    onResolved: captures.begin,
    ahead,
  });
  const plans = new Map<string, { statements: string[]; notes: string[] }>();
  const planOf = (name: string) => {
    const plan = plans.get(name) ?? { statements: [], notes: [] };
    plans.set(name, plan);
    return plan;
  };
  const captured = new Map<string, CapturePlan>();
  for (const source of prepared.sources) {
    const made = await captures.of(source);
    captured.set(source.name, made);
    const { statements, notes, truncate } = made;
    planOf(source.name).statements.push(...statements);
    const readers = prepared.syncs.map(({ resolved }) => resolved);
    planOf(source.name).notes.push(...notes, ...notesOnColumns(source, readers));
    if (!truncate) planOf(source.name).notes.push(...notesOnTruncate(source.name, readers));
    const findings = await logFindings(source.name, definition, databases);
    planOf(source.name).notes.push(...findings.map(({ message, fix }) => `${message} ${fix}`));
  }
  const copies: PlannedCopies[] = [];
  for (const sync of prepared.syncs) {
    const { resolved, plan } = sync;
    const into = planOf(resolved.definition.to);
    const fresh = plan.statements.filter((statement) => !into.statements.includes(statement));
    into.statements.push(...fresh);
    const notes = [...plan.notes, ...(plan.remarks ?? [])];
    into.notes.push(...notes.filter((note) => !into.notes.includes(note)));
    for (const { name } of plan.tables.filter(({ key }) => key.length === 0)) {
      into.notes.push(
        `${formatTable(name)}: has no key at the source, so rows are matched whole, and its copy empties the table first.`,
      );
    }
    const planned = await plannedCopies(sync, databases);
    if (planned === null) continue;
    copies.push(planned);
    into.notes.push(...notesOnCopies(planned));
  }
  for (const { name, from } of prepared.deferred) {
    planOf(from).notes.push(
      `${name}: some of its tables are yet to be created by another sync; they are planned when they stand.`,
    );
  }
  const mappings = prepared.syncs.flatMap(({ resolved, plan }) =>
    plan.mappings.map((mapping) => ({ ...mapping, sync: resolved.definition.name })),
  );
  return {
    databases: [...plans].map(([name, plan]) => ({ name, kind: databases.kindOf(name), ...plan })),
    mappings,
    copies,
    lacks: lacksOf(prepared, captured),
    refused: mappings.filter(({ fidelity }) => fidelity === "refused").length,
  };
}
