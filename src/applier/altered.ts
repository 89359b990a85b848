import type { ApplierSession, TableProgress, Target } from "../core/target.ts";
import { copiedAs, nameCopy } from "./copy-name.ts";
import type { ApplierOptions } from "./options.ts";

/**
 * What was altered at the target may have cost rows or values that no change brings again (a column that
 * was dropped, or had fewer digits for a while), and when it is mended nothing shows it any more. So the
 * tables named are noted, and copied anew when the sync goes on. So are those of which chunks came that
 * do not fit: the same copy would meet them again.
 */
export async function noteAltered(
  { sync, openTarget, logger }: Pick<ApplierOptions, "sync" | "openTarget" | "logger">,
  altered: readonly string[],
): Promise<void> {
  let target: Target | null = null;
  let session: ApplierSession | null = null;
  try {
    target = await openTarget();
    session = await target.openApplier(sync, []);
    if (session === null) return;
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

/** No table has this fingerprint: see TableStates. */
function asAltered({ table, state, copy, hasRows }: TableProgress): TableProgress {
  const going = state === "pending" ? state : "copying";
  const { target } = copiedAs(copy);
  const altered = nameCopy({ fingerprint: "altered", target });
  return { table, state: going, cursor: null, copy: altered, hasRows };
}
