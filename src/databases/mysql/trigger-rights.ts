// Triggers run with the rights of the account that made them: where it has lost one, writes of the application fail.
import type { Finding } from "../../core/database.ts";
import { isTidemarkError } from "../../core/errors.ts";
import { failure } from "../../core/findings.ts";
import { hiddenFrom } from "./capture-broken.ts";
import { namedColumns } from "./capture-sql.ts";
import { accountName, type Session } from "./connection.ts";
import { asTriggers } from "./grants.ts";
import { quoteName } from "./identifiers.ts";
import { loadLayouts, type StoredLayout } from "./layouts.ts";
import { DELETIONS, isOurs, LAYOUTS, LOG, standingTables } from "./ours.ts";
import { type FoundTrigger, loadTriggers, triggeredTables } from "./triggers.ts";

/** Without the right TRIGGER MariaDB hides what triggers do, MySQL that they stand. */
export function areShown(found: readonly FoundTrigger[]): boolean {
  return found.some(({ name, definer }) => isOurs(name) && definer !== "");
}

/** What the account of the session has lost that triggers need which stand by it. */
export async function lostRights(session: Session): Promise<Finding[]> {
  if (!(await standingTables(session)).has(LAYOUTS)) return [];
  const layouts = (await loadLayouts(session)).filter((layout) => layout.active);
  const found = await loadTriggers(session, triggeredTables(layouts));
  const findings = await triggerRightFindings(session, layouts, found);
  for (const layout of layouts) {
    const hidden = await hiddenFrom(session, layout, found);
    if (hidden === null) continue;
    // One statement mends them all.
    return [...findings, failure("trigger-right", hidden.message, hidden.fix)];
  }
  return findings;
}

/** `layouts`: those in force; `found`: the triggers on their tables. */
export async function triggerRightFindings(
  session: Session,
  layouts: readonly StoredLayout[],
  found: readonly FoundTrigger[],
): Promise<Finding[]> {
  const isOfThis = ({ name, definer }: FoundTrigger) =>
    isOurs(name) && accountName(definer) === session.account;
  const ownOn = [...new Set(found.filter(isOfThis).map(({ table }) => table))];
  if (ownOn.length === 0) return [];
  const byTable = new Map(layouts.map((layout) => [layout.table.name, layout]));
  const reads = ownOn.map((table) => readingOf(table, byTable.get(table)));
  return asTriggers(session, async () => [
    ...(await logRightFindings(session)),
    ...(await readRightFindings(session, reads)),
  ]);
}

/** The server looks for the rights of a statement, too, where it is only to explain it. */
async function logRightFindings(session: Session): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const table of [LOG, DELETIONS]) {
    try {
      await session.rows(`EXPLAIN INSERT INTO ${quoteName(table)} (id) VALUES (0)`);
    } catch (error) {
      if (!isTidemarkError(error, "TM-GRANT-MISSING")) throw error;
      const message = `${error.message} The triggers write it with the rights of ${session.account}: writes to captured tables fail.`;
      findings.push(failure("log-right", message, error.fix));
    }
  }
  return findings;
}

/**
 * They read their own table, and what its foreign keys reach. As in {@link logRightFindings}, of all tables at once; where
 * that is refused each half by itself.
 */
async function readRightFindings(session: Session, reads: readonly string[]): Promise<Finding[]> {
  if (reads.length > MOST_READ) {
    const found: Finding[] = [];
    for (let i = 0; i < reads.length; i += MOST_READ)
      found.push(...(await readRightFindings(session, reads.slice(i, i + MOST_READ))));
    return found;
  }
  if (reads.length === 0) return [];
  try {
    await session.rows(`EXPLAIN ${reads.join(" UNION ALL ")}`);
    return [];
  } catch (error) {
    if (!isTidemarkError(error, "TM-GRANT-MISSING", "TM-COLUMN-MISSING")) throw error;
    const middle = reads.length >> 1;
    if (middle > 0) {
      return [
        ...(await readRightFindings(session, reads.slice(0, middle))),
        ...(await readRightFindings(session, reads.slice(middle))),
      ];
    }
    // Of a table that was altered since it was captured other findings tell.
    if (error.code === "TM-COLUMN-MISSING") return [];
    const message = `${error.message} The triggers read it with the rights of ${session.account}: writes to it, and to tables that refer to it, fail.`;
    return [failure("read-right", message, error.fix)];
  }
}

const MOST_READ = 50;

/** Names what the triggers read of a table: a right may be one to some columns only. Without a layout, that there is any. */
function readingOf(table: string, layout: StoredLayout | undefined): string {
  const from = quoteName(table);
  if (layout === undefined) return `SELECT 1 FROM ${from}`;
  const named = namedColumns(layout).map((column) => `${quoteName(column)} IS NULL`);
  return `SELECT 1 FROM ${from} WHERE ${named.join(" OR ")}`;
}
