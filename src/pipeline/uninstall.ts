import { sleep } from "../core/async.ts";
import type { Catalog } from "../core/database.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { isTidemarkError, TidemarkError, toTidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { Mutex } from "../core/mutex.ts";
import { HEARD_WITHIN_MS } from "../core/pace.ts";
import { shellWord } from "../core/shell.ts";
import { Databases, using } from "./connect.ts";
import { openStanding } from "./queue.ts";
import { queueAdapterFor } from "./registry.ts";
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

/** Is there a queue that stays behind with what has passed through it? Other pipelines may use it, too. */
export function leavesQueue({ queue }: PipelineDefinition): boolean {
  return queueAdapterFor(queue.url).exists?.(queue.url) ?? true;
}

/** All databases at once: each waits for nothing but the way to its own server. What was begun is ended with what failed. */
async function removals(
  definition: PipelineDefinition,
  logger: Logger,
  run: boolean,
): Promise<Removal[]> {
  const databases = new Databases(definition, logger);
  const turns = new Map<string | null, Mutex>();
  const names = definition.databases.filter((entry) => "url" in entry).map(({ name }) => name);
  const removed = names.map(async (name): Promise<Removal> => {
    const statements = await using(databases.openCatalog(name), (catalog) =>
      run ? inTurn(turns, catalog) : catalog.planUninstall(),
    );
    return { name, statements };
  });
  const results = await Promise.allSettled(removed);
  return results.map((result, at) => {
    if (result.status === "fulfilled") return result.value;
    const { reason } = result;
    throw isTidemarkError(reason, "TM-CONNECT-FAILED")
      ? outOfReach(reason, definition, names[at] ?? "")
      : reason;
  });
}

/** Two names may be one database: what the first of them removes, the second has to find removed. */
async function inTurn(
  turns: Map<string | null, Mutex>,
  catalog: Catalog,
): Promise<readonly string[]> {
  const identity = await catalog.identity();
  const turn = turns.get(identity) ?? new Mutex();
  turns.set(identity, turn);
  return turn.run(() => catalog.uninstall());
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
