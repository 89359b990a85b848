import { sleep } from "../core/async.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { isTidemarkError, TidemarkError, toTidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { HEARD_WITHIN_MS } from "../core/pace.ts";
import { shellWord } from "../core/shell.ts";
import { Databases, using } from "./connect.ts";
import { openStanding } from "./queue.ts";
import { type PipelineStatus, readStatus } from "./status.ts";

const LISTEN_MS = 250;

export interface Removal {
  readonly name: string;
  readonly statements: readonly string[];
}

/** What `uninstall` would run in each database of the definition. */
export function planUninstall(definition: PipelineDefinition, logger: Logger): Promise<Removal[]> {
  return removals(definition, logger, false);
}

/** Removes every trigger, function, table and schema of ours from each database. */
export function uninstall(definition: PipelineDefinition, logger: Logger): Promise<Removal[]> {
  return removals(definition, logger, true);
}

/**
 * Throws TM-USAGE where a relay or applier of these databases is at work: what it has captured would go under its hands, and
 * its syncs stop. One that was killed has said just as well that it works: it is listened to. A queue that is away keeps nobody from
 * uninstalling.
 */
export async function refuseAtWork(definition: PipelineDefinition, logger: Logger): Promise<void> {
  const queue = await openStanding(definition.queue, logger).catch(() => null);
  if (queue === null) return;
  await using(Promise.resolve(queue), async (opened) => {
    const first = heardOf(definition, await readStatus(definition, opened));
    const until = performance.now() + HEARD_WITHIN_MS;
    while (first.size > 0 && performance.now() < until) {
      await sleep(LISTEN_MS);
      const now = heardOf(definition, await readStatus(definition, opened));
      const alive = [...now].find(([name, at]) => first.has(name) && first.get(name) !== at);
      if (alive !== undefined) throw atWork(alive[0]);
    }
  }).catch((error: unknown) => {
    if (isTidemarkError(error, "TM-USAGE")) throw error;
    logger.warn({ err: toTidemarkError(error) }, "could not look whether a run is at work");
  });
}

/** Those that say that they work with one of the databases, and when they last did. */
function heardOf(
  { databases }: PipelineDefinition,
  { sources, syncs }: PipelineStatus,
): Map<string, string | null> {
  const names = new Set(databases.map(({ name }) => name));
  const works = [
    ...sources.filter(({ name }) => names.has(name)),
    ...syncs.filter(({ from, to }) => names.has(from) || names.has(to)),
  ].filter(({ state }) => state === "running" || state === "copying");
  return new Map(works.map(({ name, heartbeatAt }) => [name, heartbeatAt]));
}

function atWork(name: string): TidemarkError {
  return new TidemarkError(
    "TM-USAGE",
    `A tidemark run is at work with ${name}: it would stop with an error, and what it has yet to bring over would be lost to it.`,
    {
      fix: "End every tidemark run of this config first, then uninstall again.",
      details: { name },
    },
  );
}

async function removals(
  definition: PipelineDefinition,
  logger: Logger,
  run: boolean,
): Promise<Removal[]> {
  const databases = new Databases(definition, logger);
  const done: Removal[] = [];
  for (const entry of definition.databases) {
    if (!("url" in entry)) continue;
    const { name } = entry;
    try {
      const statements = await using(databases.openCatalog(name), async (catalog) => {
        const planned = await catalog.planUninstall();
        if (run && planned.length > 0) await catalog.uninstall();
        return planned;
      });
      done.push({ name, statements });
    } catch (error) {
      throw isTidemarkError(error, "TM-CONNECT-FAILED")
        ? outOfReach(error, definition, name)
        : error;
    }
  }
  return done;
}

/** One that is gone for good must not keep the others. */
function outOfReach(
  error: TidemarkError,
  { databases }: PipelineDefinition,
  name: string,
): TidemarkError {
  const others = databases.filter((entry) => "url" in entry && entry.name !== name);
  if (others.length === 0) return error;
  const command = `tidemark uninstall --database ${others.map((entry) => shellWord(entry.name)).join(" ")}`;
  const fix = `${error.fix ?? "Make it reachable."} Or leave it out: ${command}`;
  return new TidemarkError(error.code, error.message, {
    cause: error,
    fix,
    details: error.details,
  });
}
