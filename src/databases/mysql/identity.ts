import { toldIdentity } from "../../core/told-identity.ts";
import type { Session } from "./connection.ts";

/**
 * What names the server, the second it was started in, and the database. The first alone is the same for every MariaDB
 * that nobody has numbered, and for a MySQL that was restored from a copy of another's disks.
 * Throws TM-CONNECTION-LOST.
 */
export function identityOf(session: Pick<Session, "flavour" | "value">): Promise<string | null> {
  const { identity, startedAt } = session.flavour;
  const parts = [identity, "@@hostname", startedAt, DATABASE];
  return toldIdentity(session.value(`SELECT CONCAT_WS('/', ${parts.join(", ")})`));
}

/** Where names are kept as they were made, and yet are found in any case, a session has the case of its URL. */
const DATABASE = "IF(@@lower_case_table_names = 0, DATABASE(), LOWER(DATABASE()))";
