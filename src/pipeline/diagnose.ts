import type { Finding } from "../core/database.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { isTidemarkError, toTidemarkError } from "../core/errors.ts";
import { firstOf } from "../core/first-of.ts";
import type { Logger } from "../core/log.ts";
import { formatTable } from "../core/table.ts";
import type { TargetPlan } from "../core/target.ts";
import { Databases, using } from "./connect.ts";
import { logFindings } from "./log-findings.ts";
import { AT_TARGET } from "./passing.ts";
import { type PassBy, prepare } from "./prepare.ts";
import { misfit } from "./prepare-target.ts";
import { checkMakeable, openStanding } from "./queue.ts";
import { type PipelineStatus, readStatus } from "./status.ts";

export interface Diagnosis {
  /** Name of the database, or `queue`. */
  readonly database: string;
  readonly findings: readonly Finding[];
}

/** Checks every precondition of a definition; what cannot even be reached is a finding too. */
export async function diagnose(
  definition: PipelineDefinition,
  logger: Logger,
): Promise<Diagnosis[]> {
  const databases = new Databases(definition, logger);
  const queue = await findingsOf("queue", () => queueFindings(definition, logger));
  const reached = await reach(definition, databases);
  if (reached.some(({ findings }) => findings.some(({ severity }) => severity === "error"))) {
    return [queue, ...reached];
  }
  const named = definition.databases.filter((entry) => "url" in entry);
  const logs = await Promise.all(
    named.map(({ name }) =>
      findingsOf(name, () =>
        logFindings(name, definition, databases).catch((error: unknown) => {
          // Reached above all the same: a file that `run` will make, and in which no log stands yet.
          if (isWritten(name, definition) && isTidemarkError(error, "TM-CONNECT-FAILED")) return [];
          // The log of another role, which reads that database. What this one lacks of its own is found above.
          const isRead = definition.syncs.some(({ from }) => from === name);
          if (!isRead && isTidemarkError(error, "TM-GRANT-MISSING")) return [];
          throw error;
        }),
      ),
    ),
  );
  return [queue, ...byDatabase([...(await diagnoseSyncs(definition, databases)), ...logs])];
}

async function queueFindings(definition: PipelineDefinition, logger: Logger): Promise<Finding[]> {
  const queue = await openStanding(definition.queue, logger);
  if (queue === null) {
    checkMakeable(definition.queue);
    const message = "There is no queue yet: the first tidemark run makes it.";
    return [{ check: "queue-to-come", severity: "ok", message }];
  }
  const answers = { check: "queue-reachable", message: "The queue answers." } as const;
  const found = await using(Promise.resolve(queue), async (opened) => [
    ...(opened.diagnose?.() ?? []),
    ...failuresIn(await readStatus(definition, opened)),
  ]);
  return [{ ...answers, severity: "ok" }, ...found];
}

/**
 * What does not work now. A warning: it may have been mended since, and nobody have started it again; and what ails it
 * is found below where it still does.
 */
function failuresIn({ sources, syncs }: PipelineStatus): Finding[] {
  return [...sources, ...syncs].flatMap(({ name, state, error }): Finding[] => {
    if (error === null) return [];
    const stopped = state === "stopped";
    const message = `${name} ${stopped ? "has stopped" : "is held up"}: ${error.code} ${error.message}`;
    const fix = [error.fix ?? [], stopped ? "Once mended: start tidemark run again." : []].flat();
    return [
      {
        ...{ check: stopped ? "stopped" : "retrying", severity: "warning", message },
        ...(fix.length === 0 ? {} : { fix: fix.join(" ") }),
      },
    ];
  });
}

/** A sync that has never copied anything lacks its tables by right. */
function goneFindings(sync: string, plan: TargetPlan, copies: readonly unknown[]): Finding[] {
  if (copies.length === 0 || plan.statements.length === 0) return [];
  const lacks = plan.statements.map((statement) => /^[^(\n]*/.exec(statement)?.[0].trim() ?? "");
  return [
    {
      ...{ check: "tables-gone", severity: "warning" },
      message: `${sync}: tables have gone at the target. The next start runs: ${firstOf(lacks, "; ")}, and copies anew what it finds empty.`,
      fix: "Renamed: give the table its name back before. Dropped: start tidemark run again.",
    },
  ];
}

/** A database that is source and target, or several syncs' target, is told of once. */
function byDatabase(diagnoses: readonly Diagnosis[]): Diagnosis[] {
  const names = new Set(diagnoses.map(({ database }) => database));
  return [...names].map((name) => {
    const all = diagnoses.filter(({ database }) => database === name);
    // What holds for the server is found by each of them in the same words.
    const findings = new Map(
      all.flatMap((each) => each.findings).map((found) => [JSON.stringify(found), found]),
    );
    return { database: name, findings: [...findings.values()] };
  });
}

function isWritten(name: string, { syncs }: PipelineDefinition): boolean {
  return syncs.some(({ to }) => to === name);
}

/** Can each database be connected to at all? The file of a target need not be there: `run` makes it. */
async function reach(definition: PipelineDefinition, databases: Databases): Promise<Diagnosis[]> {
  const named = definition.databases.filter((entry) => "url" in entry);
  return Promise.all(
    named.map(({ name }) =>
      findingsOf(name, async () => {
        if (isWritten(name, definition)) {
          await using(databases.openTarget(name, null), async () => {});
        } else await using(databases.openCatalog(name), (catalog) => catalog.listTables());
        return [];
      }),
    ),
  );
}

async function diagnoseSyncs(
  definition: PipelineDefinition,
  databases: Databases,
): Promise<Diagnosis[]> {
  const unfit: Diagnosis[] = [];
  // What ails one target is told as that one's, and the others are looked at all the same.
  const passBy: PassBy = async ({ to }, error, end) => {
    const isPassed = end === "target" && AT_TARGET.includes(error.code);
    if (isPassed) unfit.push({ database: to, findings: [toFinding(error)] });
    return isPassed;
  };
  try {
    const prepared = await prepare(definition, databases, { create: false, passBy });
    const sources = prepared.sources.map((source) =>
      findingsOf(source.name, () =>
        using(databases.openSource(source.name), (opened) => opened.diagnose(source.capture)),
      ),
    );
    const targets = prepared.syncs.map(({ resolved, plan }) =>
      findingsOf(resolved.definition.to, () =>
        using(databases.openTarget(resolved.definition.to, null), async (target) => {
          const asked = resolved.tables.map((table) => table.target);
          const refused = plan.mappings.filter(({ fidelity }) => fidelity === "refused");
          const { name } = resolved.definition;
          return [
            ...(await target.diagnose(asked)),
            ...goneFindings(name, plan, (await target.copiesOf(name)) ?? []),
            ...refused.map(
              (mapping): Finding => ({
                check: "column-unfit",
                severity: "error",
                message: `${resolved.definition.name}: ${formatTable(mapping.table)}.${mapping.column}: ${misfit(mapping)}.`,
                ...(mapping.note === undefined ? {} : { fix: mapping.note }),
              }),
            ),
          ];
        }),
      ),
    );
    return [...(await Promise.all(sources)), ...unfit, ...(await Promise.all(targets))];
  } catch (error) {
    return [...unfit, { database: "config", findings: [toFinding(error)] }];
  }
}

async function findingsOf(
  database: string,
  check: () => Promise<readonly Finding[]>,
): Promise<Diagnosis> {
  try {
    return { database, findings: await check() };
  } catch (error) {
    return { database, findings: [toFinding(error)] };
  }
}

function toFinding(error: unknown): Finding {
  const { code, message, fix } = toTidemarkError(error);
  return {
    check: code.toLowerCase(),
    severity: "error",
    message: `${code}: ${message}`,
    ...(fix === undefined ? {} : { fix }),
  };
}
