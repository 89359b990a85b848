import { TidemarkError } from "../../core/errors.ts";
import type { Connection } from "./connection.ts";
import { formatArrayText } from "./row-text.ts";

/** A table of which the role may not see every row; both names as SQL spells them. */
export interface HiddenTable {
  readonly table: string;
  readonly role: string;
}

export async function hiddenTables(
  connection: Connection,
  oids: readonly string[],
): Promise<readonly HiddenTable[]> {
  const rows = await connection.rows(
    `SELECT c.oid::regclass, quote_ident(current_user)
     FROM pg_class c JOIN pg_roles r ON r.rolname = current_user
     WHERE c.oid = ANY ($1::oid[]) AND c.relrowsecurity AND NOT r.rolbypassrls AND NOT r.rolsuper
       AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))`,
    [formatArrayText(oids)],
  );
  return rows.map(([table, role]) => ({ table: table as string, role: role as string }));
}

/**
 * A copy would fail, and a trigger that reads the row as it stands, with our rights in the session of
 * whoever writes, would find none and log nothing. Throws TM-GRANT-MISSING.
 */
export async function refuseHidden(connection: Connection, oids: readonly string[]): Promise<void> {
  const [hidden] = await hiddenTables(connection, oids);
  if (hidden === undefined) return;
  const { table, role } = hidden;
  throw new TidemarkError(
    "TM-GRANT-MISSING",
    `Row-level security hides rows of ${table} from ${role}: it could not capture or copy all of them.`,
    { fix: `ALTER ROLE ${role} BYPASSRLS;`, details: { table } },
  );
}
