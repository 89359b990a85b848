import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import type { ParkedAnswer, ParkedOrder } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { boundParked, type ParkedEntry, type ParkedRow } from "../core/parked.ts";
import type { Queue } from "../core/queue.ts";
import type { ApplierSession, Target } from "../core/target.ts";
import { askApplier } from "./ask-applier.ts";
import { Databases, using } from "./connect.ts";

/** Rows set aside in the targets of a definition, oldest first in each. */
export async function listParked(
  definition: PipelineDefinition,
  logger: Logger,
): Promise<ParkedEntry[]> {
  const databases = new Databases(definition, logger);
  const names = new Set(definition.syncs.map(({ name }) => name));
  const found: ParkedEntry[] = [];
  for (const to of new Set(definition.syncs.map((sync) => sync.to))) {
    const entries = await using(databases.openTarget(to, null), (target) => listOf(target, null));
    found.push(...entries.filter(({ sync }) => names.has(sync)));
  }
  return found;
}

/** With the row itself; null when nothing of that id is parked. */
export async function readParked(
  definition: PipelineDefinition,
  logger: Logger,
  { sync, id }: Pick<ParkedEntry, "sync" | "id">,
): Promise<ParkedRow | null> {
  const { to } = syncNamed(definition, sync);
  return using(
    new Databases(definition, logger).openTarget(to, null),
    async (target) => (await target.parked?.read(sync, id)) ?? null,
  );
}

export interface ParkedRequest {
  readonly sync: string;
  readonly action: ParkedOrder["action"];
  /** Null: all of the sync. */
  readonly ids: readonly string[] | null;
  readonly timeoutMs: number;
}

/**
 * Has parked rows tried again or forgotten: by the applier, which alone knows the config's functions and
 * what else it is just applying. Rows are forgotten, too, when none is at work. Throws TM-WAIT-TIMEOUT.
 */
export async function orderParked(
  definition: PipelineDefinition,
  queue: Queue | null,
  request: ParkedRequest & { readonly logger: Logger },
): Promise<ParkedAnswer> {
  const { sync, action, ids, timeoutMs, logger } = request;
  if (action === "drop") {
    const { to } = syncNamed(definition, sync);
    const target = new Databases(definition, logger).openTarget(to, null);
    const dropped = await using(target, (opened) => dropUnattended(opened, request));
    if (dropped !== null) return dropped;
  }
  const order: ParkedOrder = { askedAt: new Date().toISOString(), action, ids, answer: null };
  return askApplier(queue, sync, order, timeoutMs);
}

/** Null while an applier holds the sync. */
export async function dropUnattended(
  target: Target,
  { sync, ids }: Pick<ParkedRequest, "sync" | "ids">,
): Promise<ParkedAnswer | null> {
  const standing = (await listOf(target, sync)).map(({ id }) => id);
  if (target.parked === null || standing.length === 0) {
    return { done: [], failed: [], missing: ids ?? [] };
  }
  const bound = boundParked(target.parked.table);
  const session = await target.openApplier(sync, [bound]);
  if (session === null) return null;
  return using(Promise.resolve<ApplierSession>(session), async () => {
    const done = standing.filter((id) => ids === null || ids.includes(id));
    const progress = await session.load();
    const transaction = await session.begin(progress);
    await transaction.attempt(() =>
      transaction.remove(
        bound,
        done.map((id) => [sync, id]),
      ),
    );
    await transaction.commit(progress);
    await session.flush();
    return { done, failed: [], missing: (ids ?? []).filter((id) => !standing.includes(id)) };
  });
}

async function listOf(target: Target, sync: string | null): Promise<readonly ParkedEntry[]> {
  return (await target.parked?.list(sync)) ?? [];
}

function syncNamed(definition: PipelineDefinition, name: string): SyncDefinition {
  const sync = definition.syncs.find((each) => each.name === name);
  if (sync !== undefined) return sync;
  throw new TidemarkError("TM-USAGE", `No sync is named "${name}".`, {
    fix: `Known: ${definition.syncs.map((each) => each.name).join(", ")}.`,
  });
}
