import type { Connection } from "./connection.ts";

/** Without the relay's lease. Null: no relay has begun one. */
export async function storedTimeline(connection: Connection): Promise<string | null> {
  const [found] = await connection.rows("SELECT to_regclass('tidemark.source')");
  if (found?.[0] === null) return null;
  const [row] = await connection.rows("SELECT timeline FROM tidemark.source");
  return row?.[0] ?? null;
}
