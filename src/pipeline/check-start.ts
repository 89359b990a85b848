import type { PipelineDefinition } from "../core/definition.ts";
import { toTidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { Ahead } from "./ahead.ts";
import { CapturePlans, type SourcePlan } from "./capture-plans.ts";
import { type Databases, using } from "./connect.ts";
import { refuseAltered } from "./fit.ts";
import { type Lacks, lackError, lacksOf } from "./lacks.ts";
import { type Passed, type Passing, refuseIfNoneIsLeft } from "./passing.ts";
import { type AwayDatabases, type PrepareOptions, prepare, type WithCatalog } from "./prepare.ts";
import type { Share } from "./share.ts";

interface StartParts extends Pick<PrepareOptions, "passBy" | "standing" | "signal"> {
  /** Null where others have started already, and may be what is left to work on. */
  readonly share: Share | null;
  readonly databases: Databases;
  readonly passing: Passing;
  readonly logger: Logger;
  /** Of a start that follows at once. */
  readonly ahead?: Ahead;
}

/**
 * Looks whether all fits, as far as this process is to know. Throws what keeps it from starting, missing rights all at once; changes nothing. Gives
 * the databases that are passed by and would keep the start waiting once more, and why.
 */
export async function checkStart(
  definition: PipelineDefinition,
  { share, databases, passing, logger, ahead: given, ...options }: StartParts,
): Promise<AwayDatabases> {
  await using own = new Ahead(databases);
  const ahead = given ?? own;
  // Who ends has nothing to wait for at one that does not answer.
  const withCatalog: WithCatalog = (source, use) =>
    using(databases.openCatalog(source, options.signal), use);
  using captures = new CapturePlans(ahead);
  const asked = {
    ...{ create: false, onResolved: captures.begin, passBy: passing.ask, ahead, ...options },
    ...(options.signal && { withCatalog }),
  };
  const prepared = await prepare(definition, databases, asked);
  const passed: Passed[] = [...prepared.passed];
  for (const sync of prepared.syncs) {
    const { definition: of } = sync.resolved;
    try {
      await refuseAltered(sync, databases, { ...definition, logger });
    } catch (failure) {
      const error = toTidemarkError(failure);
      if (!(await passing.ask(of, error, "target"))) throw failure;
      passed.push({ definition: of, error });
    }
  }
  if (share !== null) refuseIfNoneIsLeft(share, prepared, passed);
  const plans = new Map<string, SourcePlan>();
  for (const source of prepared.sources) plans.set(source.name, await captures.of(source));
  await refuseLacks(lacksOf(prepared, plans), passing);
  return {
    sources: new Map(prepared.away.map(({ name, error }) => [name, error])),
    targets: prepared.awayTargets,
  };
}

/** What is waited for, or asked for by others, keeps nobody from starting. */
async function refuseLacks(lacks: readonly Lacks[], passing: Passing): Promise<void> {
  const refused: Lacks[] = [];
  for (const lack of lacks) if (!(await passing.mayWait(lack))) refused.push(lack);
  const error = lackError(refused);
  if (error !== null) throw error;
}
