import { type CopyReason, type DueCopy, dueCopies, tablesLeft } from "../applier/due-copies.ts";
import { type Databases, using } from "./connect.ts";
import type { PreparedSync } from "./prepare.ts";

/** What `run` would copy for a sync. */
export interface PlannedCopies {
  readonly sync: string;
  readonly tables: readonly DueCopy[];
  /** Source tables that have left the sync. */
  readonly left: readonly string[];
}

/** Null of a function: how far it has come stands in the queue, which a plan does not open. */
export async function plannedCopies(
  { resolved: { definition }, tables }: PreparedSync,
  databases: Databases,
): Promise<PlannedCopies | null> {
  const { name: sync, to } = definition;
  const stored = await using(databases.openTarget(to, null), (target) => target.copiesOf(sync));
  if (stored === null) return null;
  return { sync, tables: dueCopies(tables, stored), left: tablesLeft(tables, stored) };
}

const REASONS: Readonly<Record<CopyReason, string>> = {
  first: "copies for the first time",
  begun: "goes on copying",
  altered:
    "copies anew, over the rows that stand, since columns, types, filter or transform are others",
  elsewhere: "copies into another table than before, which stays as it is",
};

export function notesOnCopies({ sync, tables, left }: PlannedCopies): string[] {
  const groups = Map.groupBy(tables, ({ reason }) => reason);
  const notes = [...groups].map(
    ([reason, group]) =>
      `${sync}: ${REASONS[reason]}: ${group.map(({ table }) => table).join(", ")}.`,
  );
  if (left.length === 0) return notes;
  return [...notes, `${sync}: no longer kept in step, though its rows stay: ${left.join(", ")}.`];
}
