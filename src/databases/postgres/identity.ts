import { TidemarkError } from "../../core/errors.ts";
import { toldIdentity } from "../../core/told-identity.ts";
import type { Connection, Row } from "./connection.ts";

/**
 * The run of the server, to the microsecond, and the database's number in it. Not the cluster's own number
 * (pg_control_system): a snapshot of its disks that was restored elsewhere has the same, and is a target like any
 * other; nor may every role read it, and two users of one database must be told the same.
 * Throws TM-CONNECTION-LOST.
 */
export function identityOf(connection: Pick<Connection, "rows">): Promise<string | null> {
  return toldIdentity(connection.rows(IDENTITY).then(([row]) => row?.[0] ?? null));
}

/** Asked before the path is known to be closed, too: see connection.ts. */
const IDENTITY = `
SELECT ((extract(epoch FROM pg_catalog.pg_postmaster_start_time()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8)::pg_catalog.text
  OPERATOR(pg_catalog.||) '/' OPERATOR(pg_catalog.||) oid::pg_catalog.text
FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()`;

/** The cluster's own number, where the role may read it. */
export async function serverIdentity(connection: Connection): Promise<string> {
  return readServerIdentity(connection, await connection.rows(MAY_READ));
}

const MAY_READ = "SELECT has_function_privilege('pg_control_system()', 'execute')";

async function readServerIdentity(connection: Connection, [may]: readonly Row[]): Promise<string> {
  if (may?.[0] !== "t") return "";
  const [row] = await connection.rows("SELECT system_identifier FROM pg_control_system()");
  return row?.[0] ?? "";
}

/** Null where the change log, if there is one, was begun in this database of this server. */
export async function clonedLog(connection: Connection): Promise<TidemarkError | null> {
  const [[there], may] = await Promise.all([
    connection.rows("SELECT to_regclass('tidemark.source') IS NOT NULL"),
    connection.rows(MAY_READ),
  ]);
  if (there?.[0] !== "t") return null;
  const [[row], server] = await Promise.all([
    connection.rows(
      `SELECT s.server, s.database_oid = d.oid
       FROM tidemark.source s JOIN pg_database d ON d.datname = current_database()`,
    ),
    readServerIdentity(connection, may),
  ]);
  if (row === undefined) return null;
  const [stored, sameDatabase] = row;
  const sameServer = stored === server || stored === "" || server === "";
  if (sameDatabase === "t" && sameServer) return null;
  return new TidemarkError(
    "TM-SOURCE-CLONED",
    `The change log in database "${connection.database}" was made in another database or server: this one is a copy, was loaded from a dump, or came from pg_upgrade.`,
    {
      fix: "If it is a copy: with a config of its own queue and targets, tidemark uninstall --database and its name, then start again: the copy gets a timeline of its own. If it takes the original's place: see docs/errors/TM-SOURCE-CLONED.md.",
    },
  );
}
