import { sleep } from "../core/async.ts";
import type { Documents } from "../core/queue.ts";
import type { ApplierSession, TableProgress, Target } from "../core/target.ts";
import { copiedAs, nameCopy } from "./copy-name.ts";
import type { ApplierOptions } from "./options.ts";
import { withdrawNotice } from "./withdraw-notice.ts";

/** An applier that has just ended may be missed by its server a moment later. */
const LEASE_PATIENCE_MS = 3_000;
const LEASE_POLL_MS = 200;

interface AlteredSync extends Pick<ApplierOptions, "sync" | "openTarget" | "logger"> {
  /** Those of the queue. */
  readonly withDocuments: (use: (documents: Documents) => Promise<void>) => Promise<void>;
}

/**
 * What was altered at the target may have cost rows or values that no change brings again (a column that
 * was dropped, or had fewer digits for a while), and when it is mended nothing shows it any more. So the
 * tables named are noted, and copied anew when the sync goes on. So are those of which chunks came that
 * do not fit: the same copy would meet them again. Until then nobody who waits is told that the target has it all.
 * Where an applier is at work, it finds by itself what was altered.
 */
export async function noteAltered(
  { sync, openTarget, logger, withDocuments }: AlteredSync,
  altered: readonly string[],
): Promise<void> {
  let target: Target | null = null;
  let session: ApplierSession | null = null;
  try {
    target = await openTarget();
    session = await leased(target, sync);
    if (session === null) return;
    const holder = session;
    const tablesPending = altered.length;
    try {
      await withDocuments((queue) => withdrawNotice(holder, queue, { sync, tablesPending }));
    } catch (failure) {
      logger.warn({ err: failure }, "what was told of this sync could not be taken back");
    }
    const progress = await session.load();
    const tables = progress.tables.map((table) =>
      altered.includes(table.table) ? asAltered(table) : table,
    );
    await (await session.begin(progress)).commit({ ...progress, tables });
  } catch (failure) {
    // The sync stops all the same, with the error that says why.
    logger.warn({ err: failure }, "which tables are to be copied anew could not be noted");
  } finally {
    await session?.close();
    await target?.close();
  }
}

/** Null where an applier is at work. */
export async function leased(target: Target, sync: string): Promise<ApplierSession | null> {
  const until = performance.now() + LEASE_PATIENCE_MS;
  for (;;) {
    const session = await target.openApplier(sync, []);
    if (session !== null || performance.now() > until) return session;
    await sleep(LEASE_POLL_MS);
  }
}

/** No table has this fingerprint: see TableStates. */
function asAltered({ table, state, copy, hasRows }: TableProgress): TableProgress {
  const going = state === "pending" ? state : "copying";
  const { target } = copiedAs(copy);
  const altered = nameCopy({ fingerprint: "altered", target });
  return { table, state: going, cursor: null, copy: altered, hasRows };
}
