import { keyNames } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import { failpoint } from "../../core/failpoint.ts";
import type { Logger } from "../../core/log.ts";
import { formatTable } from "../../core/table.ts";
import type { TableCapture } from "./capture-plan.ts";
import type { CaptureSpec } from "./capture-row.ts";
import type { Connection } from "./connection.ts";
import { assertFilters } from "./filters.ts";
import { quoteTable } from "./identifiers.ts";
import { type ColumnIdentity, insertLayout, type StoredLayout, signature } from "./layouts.ts";
import { againWhileLocked, BEGIN_SHORT_LOCKS } from "./locks.ts";
import { noteTriggers } from "./trigger-watch.ts";

/** Tables of which all leaves at once: more only make what is under way larger. */
const TOGETHER = 20;

/** Gives each as it is installed; throws the first failure once those beside it have ended. */
export async function* runCaptures(
  connection: Connection,
  captures: readonly TableCapture[],
  logger: Logger,
): AsyncGenerator<TableCapture> {
  for (let from = 0; from < captures.length; from += TOGETHER) {
    const group = captures.slice(from, from + TOGETHER);
    const results = await Promise.allSettled(
      group.map((each) => runCapture(connection, each, logger)),
    );
    for (const [index, { status }] of results.entries()) {
      if (status === "fulfilled") yield group[index] as TableCapture;
    }
    const failed = results.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
  }
}

/**
 * Runs what is to be done for one table, in one transaction, so that no trigger ever runs with a
 * layout that is not stored.
 *
 * Nobody need wait for older transactions afterwards: CREATE TRIGGER takes SHARE ROW EXCLUSIVE,
 * which waits for every transaction that has written the table and lets no other one begin to. A
 * transaction that first writes the table later sees the trigger, however old its snapshot is.
 */
async function runCapture(
  connection: Connection,
  capture: TableCapture,
  logger: Logger,
): Promise<void> {
  const { spec } = capture;
  // Its key is gone, and without it nothing can be logged.
  if (capture.layout.key.includes(-1)) return;
  await assertFilters(connection, spec);
  if (!capture.isNewLayout && capture.functions.length === 0 && capture.triggers.length === 0)
    return;
  const asked = { what: `Table ${formatTable(spec.table)}`, logger };
  await againWhileLocked(asked, () => install(connection, capture)).catch((error: unknown) => {
    throw withGrant(error, spec);
  });
}

/**
 * The whole transaction leaves at once. Answer by answer its lock would keep the application from writing the table for
 * some thirty ways to the server and back; and others may send theirs behind it. Behind a statement that fails the
 * server runs nothing more, and takes COMMIT for ROLLBACK.
 */
async function install(connection: Connection, capture: TableCapture): Promise<void> {
  const { layout, isNewLayout, pin, replaces } = capture;
  const results = await connection.together(() => {
    const sent = [connection.script(BEGIN_SHORT_LOCKS)];
    if (isNewLayout) {
      const altered = replaces !== null && isAltered(replaces, capture.live, layout);
      sent.push(insertLayout(connection, layout, { pin, altered: altered ? replaces.id : null }));
    }
    for (const statement of [...capture.functions, ...capture.triggers]) {
      sent.push(connection.script(statement).then(() => failpoint("capture-half")));
    }
    sent.push(noteTriggers(connection, layout.oid), connection.commit());
    return Promise.allSettled(sent);
  });
  // Those behind it only say that the transaction has failed.
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
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
  const key = (each: StoredLayout) => JSON.stringify(keyNames(each));
  const was = JSON.parse(layout.signature) as ColumnIdentity[];
  return (
    signature(was, columns, wholeRow) !== signature(live, columns, wholeRow) ||
    // Of a table that had no key whole rows are logged, which hold the one that it has now.
    (layout.key.length > 0 && key(layout) !== key(now))
  );
}
