import type { Finding } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { CaptureTable } from "../../core/source.ts";
import { flatten, originsOf, stepsFrom } from "./cascades.ts";
import type { Session } from "./connection.ts";
import { ok, warning } from "./findings.ts";
import { loadReferences, type Reference } from "./references.ts";

const ISOLATION = ["tx_isolation", "transaction_isolation"];
/** These lock no gaps: rows may be added below one that is read with a shared lock. */
const WITHOUT_GAPS = ["READ-COMMITTED", "READ-UNCOMMITTED"];

/**
 * A deletion that carries on through several levels, in a session without locks on gaps: a row that is added
 * below a row on its way goes with it unseen, between our trigger, which has logged that row, and the
 * action. A trigger cannot lock it any further (error 1442).
 */
export async function cascadeFindings(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<Finding[]> {
  const references = await loadReferences(session);
  const names = tables.map(({ schema }) => schema.name.name);
  const deep = names.filter((name) => isReachedInSteps(name, references));
  if (deep.length === 0) return [];
  const [row] = await session.rows(
    `SHOW GLOBAL VARIABLES WHERE Variable_name IN (${ISOLATION.map((name) => `'${name}'`).join(", ")})`,
  );
  const level = row?.[1] ?? "";
  const what = `Deletions carry on to ${deep.join(", ")} through several levels.`;
  return [
    WITHOUT_GAPS.includes(level)
      ? warning(
          "cascade-isolation",
          `${what} Under ${level.replace("-", " ")}, a row that another session adds below one of them at that moment may go unseen, and stay at the target.`,
          "SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ, or let sessions that delete take it",
        )
      : ok("cascade-isolation", `${what} Sessions that delete must keep REPEATABLE READ.`),
  ];
}

function isReachedInSteps(table: string, references: readonly Reference[]): boolean {
  try {
    return originsOf(table, references)
      .filter(({ event }) => event === "DELETE")
      .flatMap((origin) => flatten(stepsFrom(origin.table, "DELETE", references, new Set([table]))))
      .some(({ path, again }) => path.length > 1 || again !== null);
  } catch (error) {
    // Refused: told by the findings on tables.
    if (error instanceof TidemarkError && error.code === "TM-TABLE-UNSUPPORTED") return false;
    throw error;
  }
}
