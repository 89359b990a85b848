import type { Held } from "../core/documents.ts";
import type { ChangeLog } from "../core/source.ts";

/**
 * Is this batch one of the source's? Of what is purged, or where no hash is told, there is only the number to go by. To be asked of what was told
 * before the log was opened, or before its last cut: what another relay has cut since is not known to every log.
 */
export async function hasBatch(log: ChangeLog, { timeline, batch, hash }: Held): Promise<boolean> {
  if (timeline !== log.timeline) return false;
  if (batch === 0) return true;
  const header = await log.batches.header(batch);
  if (header !== null && hash !== null) return header.hash === hash;
  const last = await log.batches.last();
  return last !== null && batch <= last.batch;
}
