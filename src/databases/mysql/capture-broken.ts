// What is wrong with the capture of a table: changes have gone by unseen, or would.

import { isTidemarkError, TidemarkError, toTidemarkError } from "../../core/errors.ts";
import { copyAnew, wrongTable } from "../../core/many-tables.ts";
import { formatTable } from "../../core/table.ts";
import { standInName } from "./capture-sql.ts";
import type { CascadeOrigin } from "./cascades.ts";
import { computedOf, foldPrint } from "./computed.ts";
import type { Session } from "./connection.ts";
import { quoteName, wholeDatabase } from "./identifiers.ts";
import { LOST, type StoredLayout } from "./layouts.ts";
import type { TableFacts } from "./table-facts.ts";
import { type FoundTrigger, goneTriggers, overtaking, unseenTriggers } from "./triggers.ts";
import { isRebuilt, type TableIds, truncated } from "./truncation.ts";

/**
 * A table whose triggers were installed, and one is gone, has let changes go by. (Dropping and making
 * anew a table drops them, too.) Installing capture again in silence would hide that.
 */
export async function assertUnbroken(
  session: Session,
  installed: StoredLayout | undefined,
  wanted: StoredLayout,
  found: readonly FoundTrigger[],
): Promise<void> {
  if (installed === undefined) return;
  if (installed.triggers === LOST) throw captureBroken(installed, LOST_MEANWHILE);
  try {
    assertNotGone(installed, found);
  } catch (error) {
    throw (await hiddenFrom(session, installed, found)) ?? error;
  }
  assertNotOvertaken(installed, found);
  assertSameOrigins(installed, wanted.origins);
}

/** Throws TM-CAPTURE-BROKEN. */
export function assertNotGone(layout: StoredLayout, found: readonly FoundTrigger[]): void {
  const [gone] = goneTriggers(layout, found);
  if (gone !== undefined) throw captureBroken(layout, `trigger ${gone} is gone`);
}

/**
 * Without the right TRIGGER on their table MySQL hides that triggers stand, MariaDB what they do. They log on, or fail and
 * with them each write: nothing is missed. TM-GRANT-MISSING; null where the server says that they are not there.
 */
export async function hiddenFrom(
  session: Session,
  layout: StoredLayout,
  found: readonly FoundTrigger[],
): Promise<TidemarkError | null> {
  for (const { name, table } of unseenTriggers(layout, found)) {
    for (const each of [name, standInName(name)]) {
      try {
        // Refused only where it stands.
        await session.rows(`SHOW CREATE TRIGGER ${quoteName(each)}`);
      } catch (error) {
        if (isTidemarkError(error, "TM-GRANT-MISSING")) return hidden(session, table);
        if (toTidemarkError(error).retryable) throw error;
      }
    }
  }
  return null;
}

/**
 * Rights on a table stay behind when it is renamed, and with them goes what hides its triggers. Of a table that is not
 * there by its name: as {@link hiddenFrom}.
 */
export async function hiddenOfGone(
  session: Session,
  layout: StoredLayout,
): Promise<TidemarkError | null> {
  const found = await hiddenFrom(session, { ...layout, origins: [] }, []);
  if (found === null) return null;
  const { name } = layout.table;
  return new TidemarkError(
    "TM-GRANT-MISSING",
    `${name} is gone, but not its triggers: it was renamed, or is hidden from user ${session.account}, which lacks the right TRIGGER on it.`,
    { fix: found.fix ?? "", details: { ...found.details } },
  );
}

function hidden({ account, database }: Session, table: string): TidemarkError {
  return new TidemarkError(
    "TM-GRANT-MISSING",
    `User ${account} lacks the right TRIGGER on ${table}: our triggers there are hidden from it, and those that it has made fail, and with them each write.`,
    {
      fix: `GRANT TRIGGER ON ${wholeDatabase(database)} TO ${account};`,
      details: { [HIDDEN]: table },
    },
  );
}

const HIDDEN = "hiddenTriggersOf";

/** Is it what {@link hiddenFrom} tells? */
export function isOfHidden(error: TidemarkError): boolean {
  return HIDDEN in error.details;
}

/** For people: see LOST. */
export const LOST_MEANWHILE =
  "rows were deleted or changed while no sync carried it, and a column of its key was dropped or renamed; or it had an engine without transactions";

/** Throws TM-CAPTURE-BROKEN. */
export function assertNotOvertaken(layout: StoredLayout, found: readonly FoundTrigger[]): void {
  const later = overtaking(found, layout);
  if (later === null) return;
  throw captureBroken(
    layout,
    `trigger ${later.name} of ${later.table} came later and runs after ours before a deletion`,
  );
}

/**
 * `layouts`: all of its table, where that was altered, and no rows can have gone by that: many an ALTER rebuilds it, and the copy that follows takes away
 * nothing that a TRUNCATE has left at the targets. Throws TM-TRUNCATE-UNSEEN.
 */
export async function assertNotTruncated(
  session: Session,
  layout: StoredLayout,
  { tableIds, layouts }: AskedOfTruncation,
): Promise<void> {
  const { table, tableId: known } = layout;
  const now = tableIds?.get(table.name, known);
  if (tableIds === null || known === null || now === undefined || now === known) return;
  const inserts = layouts === null ? null : { after: 0, layouts: layouts.map(({ id }) => id) };
  if (await isRebuilt(session, layout, { ids: { known, now, before: null, tableIds }, inserts }))
    return;
  throw truncated(layout);
}

interface AskedOfTruncation {
  readonly tableIds: TableIds | null;
  readonly layouts: readonly StoredLayout[] | null;
}

/** Until a new foreign key is known, what its action does goes by unseen. Throws TM-CAPTURE-BROKEN. */
export function assertSameOrigins(layout: StoredLayout, now: readonly CascadeOrigin[]): void {
  // What is done after a deletion goes by what is done before it.
  const acting = (origins: readonly CascadeOrigin[]) =>
    JSON.stringify(origins.filter(({ event }) => event !== "DELETED"));
  if (acting(layout.origins) === acting(now)) return;
  throw captureBroken(
    layout,
    "foreign keys that act on its rows were added, changed or dropped, or one of their tables got or lost system versioning",
  );
}

/** Of all rows that stand it is computed anew, and no trigger runs for that. Throws TM-CAPTURE-BROKEN. */
export function assertSameComputed(layout: StoredLayout, fact: TableFacts): void {
  const now = computedOf(layout, fact);
  const { computed = {}, filterColumns } = layout;
  const altered = Object.entries(computed).find(
    // An earlier build has stored it as it was printed.
    ([name, by]) => foldPrint(now[name] ?? by) !== foldPrint(by),
  );
  if (altered === undefined) return;
  const [name] = altered;
  throw captureBroken(
    layout,
    filterColumns.includes(name)
      ? `generated column ${name}, by which rows are chosen (where), is computed otherwise than it was`
      : `column ${name}, from which a generated column is computed by which rows are chosen (where), was altered`,
  );
}

/** Changes may have gone by unseen. `others`: tables of which the same is to be said. */
export function captureBroken(
  layout: StoredLayout,
  what: string,
  others: readonly StoredLayout[] = [],
): TidemarkError {
  const table = formatTable(layout.table);
  const all = [...new Set([layout, ...others].map((each) => formatTable(each.table)))];
  const message = `Capture of ${all.join(", ")} is broken: ${what}. Changes may have been missed.`;
  if (all.length === 1) return wrongTable("TM-CAPTURE-BROKEN", table, { message, mend: copyAnew });
  return new TidemarkError("TM-CAPTURE-BROKEN", message, {
    fix: copyAnew(all),
    details: { table },
  });
}
