import { noteAltered } from "../applier/altered.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import { firstOf } from "../core/first-of.ts";
import type { Logger } from "../core/log.ts";
import type { Documents } from "../core/queue.ts";
import { formatTable, sameTable } from "../core/table.ts";
import type { ColumnMapping } from "../core/target.ts";
import { type Databases, using } from "./connect.ts";
import { plannedCopies } from "./planned-copies.ts";
import { type PreparedSync, refuse } from "./prepare-target.ts";
import { openQueue } from "./queue.ts";

/**
 * Throws TM-COLUMN-UNFIT. What was copied, and would not be again by what is asked for, is refused for what has become of
 * the target since: that is noted, as nothing shows it any more when a column that had gone is there again.
 */
export async function refuseAltered(
  prepared: PreparedSync,
  databases: Databases,
  { queue, logger }: { readonly queue: PipelineDefinition["queue"]; readonly logger: Logger },
): Promise<void> {
  const { resolved, plan, tables } = prepared;
  const { name: sync, to } = resolved.definition;
  try {
    refuse(resolved.definition, plan.mappings);
  } catch (error) {
    const copies = await plannedCopies(prepared, databases);
    const anew = copies?.tables.filter(({ reason }) => reason !== "begun");
    const due = new Set(anew?.map(({ table }) => table));
    const unfit = plan.mappings.filter(({ fidelity }) => fidelity === "refused");
    const altered = tables
      .filter(({ bound }) => unfit.some(({ table }) => sameTable(table, bound.name)))
      .map(({ source }) => source)
      .filter((source) => !due.has(source));
    if (copies !== null && altered.length > 0) {
      const openTarget = () => databases.openTarget(to, null);
      const withDocuments = (use: (documents: Documents) => Promise<void>) =>
        using(openQueue(queue, logger), ({ documents }) => use(documents));
      await noteAltered({ sync, openTarget, logger, withDocuments }, altered);
    }
    throw error;
  }
}

/** Throws TM-SCHEMA-DRIFT when the target has been altered since the sync was prepared, and no longer fits. */
export async function checkFit(
  { resolved, plan }: PreparedSync,
  databases: Databases,
): Promise<void> {
  const { name, to } = resolved.definition;
  const asked = resolved.tables.map(({ target }) => target);
  const now = await using(databases.openTarget(to, null), (target) => target.plan(asked));
  if (now.statements.length > 0) {
    const missing = now.statements.map((statement) => /^[^(\n]*/.exec(statement)?.[0].trim() ?? "");
    throw new TidemarkError(
      "TM-SCHEMA-DRIFT",
      `${name}: tables have gone at the target; still to run are: ${firstOf(missing, "; ")}.`,
      {
        fix: "Renamed: give the table its name back, then start again. Dropped: start again; it is created and copied anew. Where only tables of Tidemark have gone, first tidemark resync for all tables: else what the source has lost since stays.",
        details: { sync: name },
      },
    );
  }
  const refused = now.mappings.filter(({ fidelity }) => fidelity === "refused");
  if (refused.length === 0) return;
  const altered = resolved.tables.flatMap(({ schema, target }) =>
    refused.some(({ table }) => sameTable(table, target.name)) ? [formatTable(schema.name)] : [],
  );
  const before = new Map(plan.mappings.map((mapping) => [columnOf(mapping), mapping.targetType]));
  const lines = refused.map((mapping) => {
    const was = before.get(columnOf(mapping)) || "no column of the sync";
    const is = mapping.targetType || "gone";
    return `${columnOf(mapping)} was ${was}, is ${is === was ? "unfit" : is} (${mapping.note ?? "it does not fit"})`;
  });
  throw new TidemarkError(
    "TM-SCHEMA-DRIFT",
    `${name}: the target was altered: ${firstOf(lines, "; ")}.`,
    {
      fix: "Alter the target so that it fits, or leave the column out with `except`; then start again: the table is copied anew over the rows that stand, and nothing is lost.",
      details: { sync: name, refused, altered },
    },
  );
}

function columnOf({ table, column }: ColumnMapping): string {
  return `${formatTable(table)}.${column}`;
}
