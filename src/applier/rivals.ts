import { sleep } from "../core/async.ts";
import { TidemarkError } from "../core/errors.ts";
import type { ApplierSession, OthersTable } from "../core/target.ts";
import type { ApplierOptions } from "./options.ts";

/** One that still works may be about to end: a sync that is given another name has its successor started first. */
const RIVAL_MS = 15_000;
const POLL_MS = 500;

/**
 * Waits until no applier of another config works for one of the syncs that have copied into the tables that this one is to
 * write: the rows of each would overwrite the other's, with nobody told. Those of this config may merely have yet to
 * forget a table that has left them. `copies`: what others have there. False when the signal aborts before. Throws
 * TM-CONFIG-OVERLAP.
 */
export async function outlastRivals(
  session: ApplierSession,
  copies: () => Promise<readonly OthersTable[]>,
  options: Pick<ApplierOptions, "sync" | "to" | "syncs" | "logger">,
  signal: AbortSignal,
): Promise<boolean> {
  const { syncs, logger } = options;
  const until = performance.now() + RIVAL_MS;
  let isSaid = false;
  while (!signal.aborted) {
    const rival = await rivalOf(session, await copies(), syncs);
    if (rival === null) return true;
    if (performance.now() > until) throw overlap(rival, options);
    if (!isSaid) {
      logger.warn(
        { table: rival.table, other: rival.sync },
        "a sync that is not in this config is at work on the same table of the target: waiting for it to end",
      );
    }
    isSaid = true;
    await sleep(POLL_MS, signal);
  }
  return false;
}

async function rivalOf(
  session: ApplierSession,
  copies: readonly OthersTable[],
  own: ReadonlySet<string>,
): Promise<OthersTable | null> {
  const isAtWork = new Map<string, boolean>();
  for (const copy of copies) {
    if (own.has(copy.sync)) continue;
    const known = isAtWork.get(copy.sync) ?? (await session.isAtWork(copy.sync));
    isAtWork.set(copy.sync, known);
    if (known) return copy;
  }
  return null;
}

function overlap(
  { sync: other, table }: OthersTable,
  { sync, to }: Pick<ApplierOptions, "sync" | "to">,
): TidemarkError {
  return new TidemarkError(
    "TM-CONFIG-OVERLAP",
    `The sync "${other}", which is not in this config, is at work and writes ${table} into the table of "${to}" that "${sync}" is to write: each would undo what the other has written.`,
    {
      fix: `Give the table another name at the target (as: other_name), or end the process that works for "${other}", then run again: this one copies the table anew. Where its machine has vanished there is none to end: the target notices within a minute.`,
      details: { table, target: to, syncs: [other, sync] },
    },
  );
}
