import type { Session } from "./connection.ts";
import { SOURCE, standingTables } from "./ours.ts";

/** Without the relay's lease. Null: no relay has begun one. */
export async function storedTimeline(session: Session): Promise<string | null> {
  if (!(await standingTables(session)).has(SOURCE)) return null;
  return session.value(`SELECT timeline FROM ${SOURCE} WHERE id = 1`);
}
