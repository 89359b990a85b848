import type { Finding } from "../../core/database.ts";
import type { Connection } from "./connection.ts";
import { quoteLiteral } from "./identifiers.ts";

/**
 * Which locks do not go together, by the server's manual. A prepared transaction whose lock of the table does go with ours is not
 * to be rolled back.
 */
const CONFLICTS = Object.entries({
  AccessShare: "AccessExclusive",
  RowShare: "Exclusive|AccessExclusive",
  RowExclusive: "(ShareRow|Access|)Exclusive|Share",
  ShareUpdateExclusive: "(ShareUpdate|ShareRow|Access|)Exclusive|Share",
  Share: "(Row|ShareUpdate|ShareRow|Access|)Exclusive",
  ShareRowExclusive: "(Row|ShareUpdate|ShareRow|Access|)Exclusive|Share",
  Exclusive: "(Row|ShareUpdate|ShareRow|Access|)Exclusive|(Row)?Share",
  AccessExclusive: ".*",
})
  .map(([wanted, held]) => `WHEN '${wanted}Lock' THEN '^(${held})Lock$'`)
  .join(" ");

/**
 * Sessions of ours that wait now, each with each that has what it waits for. Of a prepared transaction, which is no
 * session's any more, the server tells 0: its locks are told apart by having no session.
 */
const AWAITED = `SELECT DISTINCT a.application_name, b.pid, x.gid
  FROM pg_locks w JOIN pg_stat_activity a ON a.pid = w.pid
  CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b(pid)
  LEFT JOIN LATERAL (
    SELECT p.gid FROM pg_prepared_xacts p
    JOIN pg_locks own ON own.pid IS NULL AND own.locktype = 'transactionid' AND own.transactionid = p.transaction
    JOIN pg_locks h ON h.pid IS NULL AND h.granted AND h.virtualtransaction = own.virtualtransaction
    WHERE h.locktype = w.locktype AND h.mode ~ CASE w.mode ${CONFLICTS} END
      AND (h.database, h.relation, h.page, h.tuple, h.transactionid)
      IS NOT DISTINCT FROM (w.database, w.relation, w.page, w.tuple, w.transactionid)
  ) AS x ON b.pid = 0
  WHERE NOT w.granted AND a.datname = current_database() AND a.application_name LIKE 'tidemark %'
  ORDER BY 1, 2, 3`;

/** The sync stands still for as long as one of these lasts, and nothing else shows it. */
export async function lockFindings(connection: Connection): Promise<Finding[]> {
  const rows = await connection.rows(AWAITED);
  return rows.map(([who, pid, gid]) => {
    const isPrepared = pid === "0";
    const named = gid ?? null;
    const holder = isPrepared
      ? `a prepared transaction${named === null ? "" : `, ${quoteLiteral(named)}`}`
      : `session ${pid}`;
    return {
      check: "lock-awaited",
      severity: "warning",
      message: `A session of ours (${who}) waits for what ${holder} has locked: it goes on when that ends.`,
      fix: isPrepared
        ? `SELECT gid, prepared, owner FROM pg_prepared_xacts; ROLLBACK PREPARED ${named === null ? "'<gid>'" : quoteLiteral(named)}; -- or COMMIT PREPARED, as whoever has prepared it says`
        : `SELECT pid, usename, xact_start, query FROM pg_stat_activity WHERE pid = ${pid}; SELECT pg_terminate_backend(${pid});`,
    };
  });
}
