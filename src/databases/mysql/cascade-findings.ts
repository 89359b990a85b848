import type { Finding } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { ok, warning } from "../../core/findings.ts";
import type { CaptureTable } from "../../core/source.ts";
import { flatten, originsOf, reached, stepsFrom } from "./cascades.ts";
import type { Session } from "./connection.ts";
import { isHeldBack } from "./latecomers-sql.ts";
import type { Reference } from "./references.ts";
import { loadFacts, primaryKeyOf, type TableFacts } from "./table-facts.ts";

/** These lock no gaps: rows may be put below one that is read with a shared lock. */
const WITHOUT_GAPS = ["READ-COMMITTED", "READ-UNCOMMITTED"];

/**
 * A deletion that carries on through a table that is not captured, in a session without locks on gaps: of a row
 * there that another session moves below one on its way, at that moment, nothing tells, and so nothing of the rows
 * below it (latecomers-sql.ts). A warning where sessions lock no gaps unless they say so.
 */
export async function cascadeFindings(
  session: Session,
  tables: readonly CaptureTable[],
  references: readonly Reference[],
): Promise<readonly Finding[]> {
  const facts = await loadFacts(session, [...new Set(references.map(({ parent }) => parent))]);
  const captured = new Set(tables.map(({ schema }) => schema.name.name));
  const between = new Set([...captured].flatMap((name) => throughTables(name, references, facts)));
  const unseen = [...between].filter((name) => !captured.has(name));
  if (unseen.length === 0) return [];
  const level = (await session.value(`SELECT @@GLOBAL.${session.flavour.isolation}`)) ?? "";
  const isUnsafe = WITHOUT_GAPS.includes(level);
  const [kept, under] = [level.replace("-", " "), "READ COMMITTED"];
  const message = `Deletions carry on to captured tables through ${unseen.join(", ")}, not captured. Under ${isUnsafe ? kept : under}, a row there that another session moves (UPDATE) below one of them at that moment takes those below it along unseen, and they stay at the target.`;
  if (!isUnsafe) {
    const means = `Sync these tables too, or let sessions that delete keep ${kept}.`;
    return [ok("cascade-isolation", `${message} ${means}`)];
  }
  const fix =
    "sync these tables too; or SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ, or let sessions that delete take it";
  return [warning("cascade-isolation", message, fix)];
}

/** Those that a deletion passes on its way to this one, and that rows may be put into meanwhile. */
function throughTables(
  table: string,
  references: readonly Reference[],
  facts: ReadonlyMap<string, TableFacts>,
): string[] {
  try {
    return originsOf(table, references)
      .filter(({ event }) => event === "DELETE")
      .flatMap((origin) => flatten(stepsFrom(origin.table, "DELETE", references, new Set([table]))))
      .filter((step) => {
        const primaryKey = primaryKeyOf(facts.get(step.path[0]?.parent ?? ""));
        const isFirst = step.path.length === 1 && isHeldBack(step, primaryKey);
        return reached(step) !== table && !isFirst;
      })
      .map(reached);
  } catch (error) {
    // Refused: told by the findings on tables.
    if (error instanceof TidemarkError && error.code === "TM-TABLE-UNSUPPORTED") return [];
    throw error;
  }
}
