import type { Finding } from "../../core/database.ts";
import type { Connection } from "./connection.ts";
import { OUR_SCHEMA, quoteList } from "./identifiers.ts";

/**
 * Logical replication of the application's own, which takes every table there is. PostgreSQL has no words to leave ours out, and a
 * subscriber fails at a row of a table that it has not, asked for or not: it gets nothing more, and its slot keeps the WAL.
 */
export async function publicationFindings(connection: Connection): Promise<Finding[]> {
  const rows = await connection.rows(
    "SELECT pubname FROM pg_catalog.pg_publication WHERE puballtables ORDER BY pubname",
  );
  if (rows.length === 0) return [];
  const names = quoteList(rows.map(([name]) => name ?? ""));
  return [
    {
      check: "publication-all-tables",
      severity: "warning",
      message: `Our tables are published, too, since ${names} is FOR ALL TABLES: a subscription of PostgreSQL without them stops ("logical replication target relation does not exist").`,
      fix: `Make a publication of the tables that are meant; or give each subscriber ours, empty: pg_dump --schema-only --schema=${OUR_SCHEMA} of this database; it goes on then.`,
    },
  ];
}

/** As a note, for who is about to make our tables. */
export async function publicationNotes(connection: Connection): Promise<string[]> {
  const findings = await publicationFindings(connection);
  return findings.map(({ message, fix }) => `${message} ${fix}`);
}
