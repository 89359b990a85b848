import type { Finding } from "../../core/database.ts";
import { formatTable } from "../../core/table.ts";
import type { FoundTable } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { OUR_SCHEMA, quoteList, quoteTable } from "./identifiers.ts";
import { partitionTree } from "./partitions.ts";
import { formatArrayText } from "./row-text.ts";

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

/**
 * Tables of a target whose updates and deletes are published with nothing to tell the rows by: without a key, or with a replica
 * identity of none. The server refuses each such write, and the sync stops at the first. It goes by the partition's own
 * identity even where the table as a whole is what is published (publish_via_partition_root).
 */
export async function identityFindings(
  connection: Connection,
  tables: readonly FoundTable[],
): Promise<Finding[]> {
  const rows = await connection.rows(
    `SELECT DISTINCT ON (n.nspname, c.relname) n.nspname, c.relname, p.pubname
     FROM unnest($1::oid[]) AS w(oid)
     CROSS JOIN LATERAL ${partitionTree("w.oid")} AS part(oid)
     JOIN pg_class c ON c.oid = part.oid AND c.relkind = 'r'
     JOIN pg_namespace n ON n.oid = c.relnamespace
     CROSS JOIN pg_publication p
     WHERE (p.pubupdate OR p.pubdelete)
       AND EXISTS (SELECT FROM pg_get_publication_tables(p.pubname) AS g
         WHERE g.relid = c.oid OR g.relid IN (SELECT pg_partition_ancestors(c.oid)))
       AND (c.relreplident = 'n' OR c.relreplident <> 'f' AND NOT EXISTS (
         SELECT FROM pg_index i WHERE i.indrelid = c.oid
           AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END))
     ORDER BY n.nspname, c.relname, p.pubname`,
    [formatArrayText(tables.map(({ oid }) => oid))],
  );
  return (rows as string[][]).map(([schema = "", name = "", publication = ""]) => ({
    check: "publication-identity",
    severity: "error",
    message: `${formatTable({ schema, name })} is in the publication ${publication}, and has no replica identity: the server refuses updates and deletes of its rows.`,
    fix: `ALTER TABLE ${quoteTable({ schema, name })} REPLICA IDENTITY FULL;`,
  }));
}

/** As a note, for who is about to make our tables. */
export async function publicationNotes(connection: Connection): Promise<string[]> {
  const findings = await publicationFindings(connection);
  return findings.map(({ message, fix }) => `${message} ${fix}`);
}
