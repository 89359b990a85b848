import type { SyncTable } from "../applier/mapping.ts";
import type { SyncDefinition } from "../core/definition.ts";
import type { Notice } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import { firstOf } from "../core/first-of.ts";
import { formatTable } from "../core/table.ts";
import type { ColumnMapping, Target, TargetPlan } from "../core/target.ts";
import type { Databases } from "./connect.ts";
import { fingerprint, fingerprintOfAll } from "./fingerprint.ts";
import { lackError } from "./lacks.ts";
import { checkOverlap, type ResolvedSync, type ResolvedTable } from "./resolve.ts";

export interface PreparedSync {
  readonly resolved: ResolvedSync;
  readonly plan: TargetPlan;
  readonly tables: readonly SyncTable[];
  /** Of all its tables: see {@link Notice.fingerprint}. */
  readonly fingerprint: string;
}

/** Plans one sync at its target, and checks that it fits; with `create`, makes what the target lacks. */
export async function prepareTarget(
  resolved: ResolvedSync,
  {
    target,
    databases,
    create,
    all,
  }: {
    readonly target: Target;
    readonly databases: Databases;
    readonly create: boolean;
    readonly all: readonly ResolvedSync[];
  },
): Promise<PreparedSync> {
  const asked = resolved.tables.map(({ target }) => target);
  const { identities } = databases;
  const isAlias = await identities.ask(resolved.definition.to, target);
  if (isAlias) checkOverlap(all, (name) => identities.nameOf(name));
  await refuseTwins(resolved, { target, all, databases });
  let plan = await target.plan(asked);
  if (create && plan.statements.length > 0) {
    refuse(resolved.definition, plan.mappings);
    const missing = lackError([{ database: resolved.definition.to, findings: plan.lacks ?? [] }]);
    if (missing !== null) throw missing;
    await target.prepare(plan);
    failpoint("tables-created");
    // Another process, with another config, may have been quicker.
    plan = await target.plan(asked);
  }
  if (create) refuse(resolved.definition, plan.mappings);
  checkParking(resolved, plan, target);
  refuseReferred(resolved.definition, plan);
  const tables = syncTables(resolved, plan);
  return { resolved, plan, tables, fingerprint: fingerprintOfAll(resolved) };
}

/**
 * Tables of two syncs whose names differ in case alone: the target tells whether they are one for it. Throws
 * TM-COLUMN-UNFIT.
 */
async function refuseTwins(
  { definition, tables }: ResolvedSync,
  {
    target,
    all,
    databases: { identities },
  }: {
    readonly target: Target;
    readonly all: readonly ResolvedSync[];
    readonly databases: Databases;
  },
): Promise<void> {
  const folded = (table: ResolvedTable) => formatTable(table.target.name).toLowerCase();
  const own = Map.groupBy(tables, folded);
  const database = identities.nameOf(definition.to);
  const theirs = all
    .filter((other) => other.definition !== definition)
    .filter((other) => identities.nameOf(other.definition.to) === database)
    .flatMap((other) => other.tables.filter((table) => own.has(folded(table))));
  if (theirs.length === 0) return;
  const met = new Set(theirs.map(folded));
  const ours = tables.filter((table) => met.has(folded(table)));
  const plan = await target.plan([...ours, ...theirs].map((table) => table.target));
  refuse(definition, plan.mappings);
}

/** Why a column is refused. There may be none at the target; of one of the very type, or of what is no table, the note tells what is in the way. */
export function misfit({ sourceType, targetType, note }: ColumnMapping): string {
  const isColumn = sourceType !== targetType && targetType !== "nothing";
  if (!isColumn && note !== undefined) return "cannot be written";
  return targetType === ""
    ? `no column for ${sourceType}`
    : `${sourceType === "" ? "what has no type" : sourceType} does not fit ${targetType}`;
}

/** Throws TM-COLUMN-UNFIT with every refused column of the sync. */
export function refuse(sync: SyncDefinition, mappings: readonly ColumnMapping[]): void {
  const refused = mappings.filter(({ fidelity }) => fidelity === "refused");
  if (refused.length === 0) return;
  const lines = refused.map(
    (mapping) =>
      `${formatTable(mapping.table)}.${mapping.column}: ${misfit(mapping)}${mapping.note === undefined ? "" : ` (${mapping.note})`}`,
  );
  throw new TidemarkError("TM-COLUMN-UNFIT", `${sync.name}: ${firstOf(lines, "; ")}.`, {
    fix: "Do at the target what stands in brackets, or leave the column out of the sync with `except`. `tidemark plan` names all.",
    details: { sync: sync.name, refused },
  });
}

/** A row set aside is missing at the target: nothing there may count on it. Throws TM-CONFIG-INVALID. */
function checkParking(
  { definition, tables }: ResolvedSync,
  plan: TargetPlan,
  { parked }: Target,
): void {
  const parking = new Map(
    tables
      .filter(({ rule }) => rule.onError === "park")
      .map(({ rule, target }) => [formatTable(target.name), rule.table]),
  );
  const refuseParking = (table: string, why: string, fix: string) =>
    new TidemarkError(
      "TM-CONFIG-INVALID",
      `${definition.name}: rows of ${table} cannot be parked (onError: park): ${why}.`,
      { fix, details: { sync: definition.name, table } },
    );
  const [first] = parking.values();
  if (parked === null && first !== undefined) {
    const why = "the target is a function, and keeps nothing";
    throw refuseParking(first, why, "Let it be onError: stop.");
  }
  for (const child of plan.tables) {
    for (const index of child.parents) {
      const parent = plan.tables[index];
      const table = parent === undefined ? undefined : parking.get(formatTable(parent.name));
      if (table === undefined) continue;
      const name = formatTable(child.name);
      throw refuseParking(
        table,
        `${name} refers to it by a foreign key of the target, which would refuse the rows of a parked one`,
        "Let it be onError: stop for this table, or drop the foreign key at the target.",
      );
    }
  }
}

/** An update of a row without a key is a deletion and an insert: what refers to the row would see it go. */
function refuseReferred({ name, to }: SyncDefinition, { tables }: TargetPlan): void {
  for (const [index, { name: table, key, cascades }] of tables.entries()) {
    if (key.length > 0) continue;
    if (!cascades && !tables.some(({ parents }) => parents.includes(index))) continue;
    throw new TidemarkError(
      "TM-TABLE-NO-KEY",
      `${name}: a foreign key in "${to}" refers to ${formatTable(table)}, which has no key at the source.`,
      {
        fix: "Give the source's table a primary key, or a unique key whose columns are all NOT NULL; or drop the foreign key at the target.",
        details: { table: formatTable(table) },
      },
    );
  }
}

/** In the plan's order: parents before children. */
function syncTables(resolved: ResolvedSync, plan: TargetPlan): SyncTable[] {
  const byTarget = new Map(resolved.tables.map((table) => [formatTable(table.target.name), table]));
  return plan.tables.flatMap((bound) => {
    const table = byTarget.get(formatTable(bound.name));
    if (table === undefined) return [];
    const { schema, rule, columns } = table;
    const source = formatTable(schema.name);
    const types = table.target.columns.map(({ nativeType }) => nativeType);
    const common = { source, rule, columns, types, key: schema.key, bound };
    return [{ ...common, fingerprint: fingerprint(table) }];
  });
}
