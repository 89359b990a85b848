import { type CopyReason, type DueCopy, dueCopies, tablesLeft } from "../applier/due-copies.ts";
import { resyncCommand } from "../core/shell.ts";
import { type Databases, using } from "./connect.ts";
import type { PreparedSync } from "./prepare-target.ts";

/** What `run` would copy for a sync. */
export interface PlannedCopies {
  readonly sync: string;
  readonly tables: readonly DueCopy[];
  /** Source tables whose first copy finds rows in the target's table, and leaves those that the source does not have. */
  readonly over: readonly string[];
  /** Source tables that have left the sync. */
  readonly left: readonly string[];
}

/** The rows of their target's table, if any, are of somebody else, or of the sync's own earlier life. */
const LIKE_FIRST: ReadonlySet<CopyReason> = new Set(["first", "elsewhere"]);

/** Null of a function: how far it has come stands in the queue, which a plan does not open. */
export async function plannedCopies(
  { resolved: { definition }, tables }: PreparedSync,
  databases: Databases,
): Promise<PlannedCopies | null> {
  const { name: sync, to } = definition;
  return using(databases.openTarget(to, null), async (target) => {
    const stored = await target.copiesOf(sync);
    if (stored === null) return null;
    const found = await target.marksOf?.(tables.map(({ bound }) => bound));
    const marks = new Map(
      tables.flatMap(({ source, bound }) => {
        const mark = found?.get(bound);
        return mark === undefined ? [] : [[source, mark] as const];
      }),
    );
    const due = dueCopies(tables, stored, marks);
    const first = new Set(
      due.filter(({ reason }) => LIKE_FIRST.has(reason)).map(({ table }) => table),
    );
    // What has no key is emptied before it is copied.
    const fresh = tables.filter(({ source, bound }) => first.has(source) && bound.key.length > 0);
    const filled = new Set(await target.filled(fresh.map(({ bound }) => bound)));
    const over = fresh.filter(({ bound }) => filled.has(bound)).map(({ source }) => source);
    return { sync, tables: due, over, left: tablesLeft(tables, stored) };
  });
}

const REASONS: Readonly<Record<CopyReason, string>> = {
  first: "copies for the first time",
  begun: "goes on copying",
  altered:
    "copies anew, over the rows that stand, since columns, types, filter or transform are others",
  replaced:
    "copies anew, over the rows that stand, since another table of the target has taken the place of the one that was copied into",
  elsewhere: "copies into another table than before, which stays as it is",
};

export function notesOnCopies({ sync, tables, over, left }: PlannedCopies): string[] {
  const groups = Map.groupBy(tables, ({ reason }) => reason);
  const notes = [...groups].map(
    ([reason, group]) =>
      `${sync}: ${REASONS[reason]}: ${group.map(({ table }) => table).join(", ")}.`,
  );
  if (over.length > 0) {
    notes.push(
      `${sync}: copies over rows that stand already, and leaves those that the source does not have: ${over.join(", ")}. \`${resyncCommand(...over)}\` empties these tables first.`,
    );
  }
  if (left.length === 0) return notes;
  return [...notes, `${sync}: no longer kept in step, though its rows stay: ${left.join(", ")}.`];
}
