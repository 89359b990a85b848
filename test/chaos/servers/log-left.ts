import type { Dialect, SqlClient } from "../../support/sql-client.ts";

/** Is nothing left of the change log that all have confirmed? */
export async function isPurged(source: SqlClient): Promise<boolean> {
  const [row] = await source.rows(LEFT[source.dialect]);
  return Number(row?.kept ?? 0) === 0;
}

/** PostgreSQL gives the space back some time after (rotation), but forgets at once. */
const LEFT: Readonly<Record<Dialect, string>> = {
  postgres: `SELECT (SELECT MAX(n) FROM tidemark.batches) - purged AS kept FROM tidemark.source`,
  mariadb: "SELECT COUNT(*) AS kept FROM tidemark_change_log WHERE id > 0",
  // The newest stays, emptied.
  sqlite: `SELECT COUNT(*) AS kept FROM tidemark_change_log
    WHERE NOT (op = '-' AND id = (SELECT MAX(id) FROM tidemark_change_log))`,
};
