import type { Connection } from "./connection.ts";

/** Without the relay's lease, in a transaction. Null: no relay has begun one. */
export function storedTimeline(connection: Connection): string | null {
  const [found] = connection.rows(
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'tidemark_source'",
  );
  if (found === undefined) return null;
  const row = connection.row<{ timeline: string }>("SELECT timeline FROM tidemark_source");
  return row?.timeline ?? null;
}
