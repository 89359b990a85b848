import type { Finding } from "../core/database.ts";
import { TidemarkError } from "../core/errors.ts";
import { firstOf } from "../core/first-of.ts";
import type { CapturePlan } from "../core/source.ts";
import type { TargetPlan } from "../core/target.ts";
import type { Prepared } from "./prepare.ts";

/** Rights that a database lacks, as its plan tells them. */
export interface Lacks {
  readonly database: string;
  readonly end: "source" | "target";
  readonly findings: readonly Finding[];
  /** That need them. */
  readonly syncs: readonly string[];
}

/** All that is to be granted before anything is made; of a sync of which all stands, at both ends, nothing is asked. */
export function lacksOf(
  { sources, syncs }: Pick<Prepared, "sources" | "syncs">,
  plans: ReadonlyMap<string, CapturePlan>,
): Lacks[] {
  const makes = (plan: CapturePlan | TargetPlan | undefined) => (plan?.statements.length ?? 0) > 0;
  const ofSources = sources.map(({ name, syncs: readers }) => {
    const plan = plans.get(name);
    const isMade =
      makes(plan) ||
      syncs.some(({ resolved, plan }) => readers.has(resolved.definition.name) && makes(plan));
    return {
      ...{ database: name, end: "source" as const, syncs: [...readers.keys()] },
      findings: isMade ? plan?.lacks : [],
    };
  });
  const ofTargets = syncs.map(({ resolved: { definition }, plan }) => {
    const isMade = makes(plan) || makes(plans.get(definition.from));
    return {
      ...{ database: definition.to, end: "target" as const, syncs: [definition.name] },
      findings: isMade ? plan.lacks : [],
    };
  });
  return [...ofSources, ...ofTargets].flatMap(({ findings = [], ...rest }) =>
    findings.length === 0 ? [] : { ...rest, findings },
  );
}

/** TM-GRANT-MISSING that names all of them, each with its statement; null where there are none. */
export function lackError(
  lacks: readonly Pick<Lacks, "database" | "findings">[],
): TidemarkError | null {
  const byDatabase = Map.groupBy(lacks, ({ database }) => database);
  const all = [...byDatabase].flatMap(([database, each]) => {
    const findings = each.flatMap((one) => one.findings);
    // Several syncs lack the same; one statement may mend two things.
    const told = (what: "message" | "fix") => [
      ...new Set(findings.flatMap((finding) => finding[what] ?? [])),
    ];
    if (findings.length === 0) return [];
    return { database, messages: told("message"), fixes: told("fix") };
  });
  if (all.length === 0) return null;
  const where = (database: string) => (all.length > 1 ? `In "${database}": ` : "");
  const fixes = all.map(({ database, fixes }) => `${where(database)}${firstOf(fixes, " ")}`);
  return new TidemarkError(
    "TM-GRANT-MISSING",
    all.map(({ database, messages }) => `${database}: ${firstOf(messages, " ")}`).join(" "),
    {
      fix: fixes.join(" "),
      details: {
        lacks: all.flatMap(({ database, fixes }) => fixes.map((fix) => ({ database, fix }))),
      },
    },
  );
}
