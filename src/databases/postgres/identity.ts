import type { Connection } from "./connection.ts";

/**
 * The run of the server, to the microsecond, and the database's number in it. Not the cluster's own number
 * (pg_control_system): a snapshot of its disks that was restored elsewhere has the same, and is a target like any
 * other; nor may every role read it, and two users of one database must be told the same.
 */
export async function identityOf(connection: Connection): Promise<string | null> {
  const rows = await connection.rows(IDENTITY).catch(() => []);
  return rows[0]?.[0] ?? null;
}

const IDENTITY = `
SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint || '/' || oid
FROM pg_database WHERE datname = current_database()`;
