import { TidemarkError } from "../../core/errors.ts";
import { failpoint } from "../../core/failpoint.ts";
import { formatTable } from "../../core/table.ts";
import type { TableCapture } from "./capture-plan.ts";
import type { CaptureSpec } from "./capture-row.ts";
import type { Connection } from "./connection.ts";
import { assertFilters } from "./filters.ts";
import { quoteTable } from "./identifiers.ts";
import { type ColumnIdentity, insertLayout, type StoredLayout, signature } from "./layouts.ts";
import { withShortLocks } from "./locks.ts";
import { noteTriggers } from "./trigger-watch.ts";

/**
 * Runs what is to be done for one table, in one transaction, so that no trigger ever runs with a
 * layout that is not stored.
 *
 * Nobody need wait for older transactions afterwards: CREATE TRIGGER takes SHARE ROW EXCLUSIVE,
 * which waits for every transaction that has written the table and lets no other one begin to. A
 * transaction that first writes the table later sees the trigger, however old its snapshot is.
 */
export async function runCapture(connection: Connection, capture: TableCapture): Promise<void> {
  const { spec, layout } = capture;
  await assertFilters(connection, spec);
  if (!capture.isNewLayout && capture.functions.length === 0 && capture.triggers.length === 0)
    return;
  await withShortLocks(connection, `Table ${formatTable(spec.table)}`, () =>
    connection.transaction("BEGIN", async () => {
      if (capture.isNewLayout) {
        const { pin, replaces } = capture;
        const altered = replaces !== null && isAltered(replaces, capture.live, layout);
        await insertLayout(connection, layout, { pin, altered: altered ? replaces.id : null });
      }
      for (const statement of [...capture.functions, ...capture.triggers]) {
        await connection.script(statement);
        failpoint("capture-half");
      }
      await noteTriggers(connection, layout.oid);
    }),
  ).catch((error: unknown) => {
    throw withGrant(error, spec);
  });
}

function withGrant(error: unknown, spec: CaptureSpec): unknown {
  if (!(error instanceof TidemarkError) || error.code !== "TM-GRANT-MISSING") return error;
  const table = quoteTable(spec.table);
  return new TidemarkError(
    error.code,
    `Capturing ${formatTable(spec.table)} needs rights that the role of the URL lacks: ${error.message}`,
    {
      fix: `GRANT SELECT, TRIGGER ON ${table} TO <the role of the URL>; GRANT CREATE ON DATABASE … TO <the role of the URL>;`,
      cause: error,
      details: error.details,
    },
  );
}

/** Has the table been altered, so that what is logged under the layout no longer reads as it says? */
function isAltered(
  layout: StoredLayout,
  live: readonly ColumnIdentity[],
  now: StoredLayout,
): boolean {
  const { columns, wholeRow } = layout;
  const key = ({ key, columns }: StoredLayout) =>
    JSON.stringify(key.map((index) => columns[index]?.name));
  const was = JSON.parse(layout.signature) as ColumnIdentity[];
  return (
    signature(was, columns, wholeRow) !== signature(live, columns, wholeRow) ||
    // Of a table that had no key whole rows are logged, which hold the one that it has now.
    (layout.key.length > 0 && key(layout) !== key(now))
  );
}
