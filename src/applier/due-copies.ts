import type { TableProgress } from "../core/target.ts";
import { isSameCopy } from "./copy-name.ts";
import type { SyncTable } from "./mapping.ts";
import { TableStates } from "./tables.ts";

/**
 * Why a table is to be copied. `first`: nothing of it has been. `begun`: a copy goes on. `altered`: other columns, types,
 * filter or transform than it was copied with; its rows stand meanwhile. `elsewhere`: into another table of the target
 * than before, which stays as it is. `replaced`: another table has taken the place of the one that was copied into.
 */
export type CopyReason = "first" | "begun" | "altered" | "elsewhere" | "replaced";

export interface DueCopy {
  /** Source table, as formatTable gives it. */
  readonly table: string;
  readonly reason: CopyReason;
}

/**
 * What an applier of these tables would copy. `stored`: what their target keeps of the sync. `marks`: by source table, see
 * ApplierSession.markOf.
 */
export function dueCopies(
  tables: readonly SyncTable[],
  stored: readonly TableProgress[],
  marks: ReadonlyMap<string, string> = new Map(),
): readonly DueCopy[] {
  const states = new TableStates(tables, stored, new Set(), marks);
  const known = new Map(stored.map((entry) => [entry.table, entry]));
  return states.copying.map(({ table, copy }) => {
    const before = known.get(table);
    if (before === undefined || before.state === "pending") return { table, reason: "first" };
    if (states.fresh.has(table)) return { table, reason: "elsewhere" };
    if (states.replaced.has(table)) return { table, reason: "replaced" };
    return { table, reason: isSameCopy(before.copy, copy) ? "begun" : "altered" };
  });
}

/** Tables that are in the sync no longer: what was copied of them stays at the target, and is not kept in step. */
export function tablesLeft(
  tables: readonly SyncTable[],
  stored: readonly TableProgress[],
): readonly string[] {
  const named = new Set(tables.map(({ source }) => source));
  return stored
    .filter(({ state }) => state !== "pending")
    .map(({ table }) => table)
    .filter((table) => !named.has(table));
}
