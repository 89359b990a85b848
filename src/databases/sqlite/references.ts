import type { Connection } from "./connection.ts";

/** A table with rows that refer to rows of `parent` that are not there. */
export interface BrokenReference {
  readonly table: string;
  readonly parent: string;
}

/** Reads every table that has foreign keys. */
export function brokenReferences(connection: Connection): readonly BrokenReference[] {
  return connection.rows<{ table: string; parent: string }>(
    'SELECT DISTINCT "table", parent FROM pragma_foreign_key_check',
  );
}

/** The tables a deletion in which some foreign key carries on to other rows. */
export function cascadingTables(connection: Connection): readonly string[] {
  const rows = connection.rows<{ parent: string }>(
    `SELECT DISTINCT f."table" AS parent FROM sqlite_schema s, pragma_foreign_key_list(s.name) f
     WHERE s.type = 'table' AND f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT')`,
  );
  return rows.map(({ parent }) => parent);
}

/** Columns that foreign keys with an ON UPDATE action name of their parents (not where they mean its primary key). */
export function followedColumns(
  connection: Connection,
): readonly { readonly parent: string; readonly column: string }[] {
  return connection.rows<{ parent: string; column: string }>(
    `SELECT DISTINCT f."table" AS parent, f."to" AS "column"
     FROM sqlite_schema s, pragma_foreign_key_list(s.name) f
     WHERE s.type = 'table' AND f."to" IS NOT NULL
       AND f.on_update IN ('CASCADE', 'SET NULL', 'SET DEFAULT')`,
  );
}
