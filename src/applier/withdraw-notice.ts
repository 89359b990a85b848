import { keys, type Notice } from "../core/documents.ts";
import type { Documents } from "../core/queue.ts";
import type { ApplierSession } from "../core/target.ts";

/**
 * Takes back that the target has it all: so many tables are to be copied. Call where the session holds the lease, and no
 * applier tells anything.
 */
export async function withdrawNotice(
  session: ApplierSession,
  documents: Documents,
  { sync, tablesPending }: { readonly sync: string; readonly tablesPending: number },
): Promise<void> {
  const key = keys.progress(sync);
  const { value, revision } = await documents.read(key);
  if (value === null) return;
  // What stood while the lease is held is what an earlier holder told, and may be replaced.
  await session.load();
  const told = value as Notice;
  const pending = Math.max(tablesPending, told.tablesPending);
  await documents.replace(key, { ...told, tablesPending: pending }, revision);
}
