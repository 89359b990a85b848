// Whether the schema of ours is ours alone, and still has its name.
import { TidemarkError } from "../../core/errors.ts";
import type { Connection } from "./connection.ts";
import { OUR_SCHEMA, quoteIdentifier } from "./identifiers.ts";
import { formatArrayText } from "./row-text.ts";

/** `known`: the relations that are ours. Throws TM-TABLE-UNSUPPORTED, TM-CAPTURE-BROKEN. */
export async function refuseSchema(
  connection: Connection,
  known: readonly string[],
): Promise<void> {
  await Promise.all([refuseForeign(connection, known), refuseRenamed(connection)]);
}

/** What is somebody else's would go with uninstall. */
async function refuseForeign(connection: Connection, known: readonly string[]): Promise<void> {
  const [foreign] = await connection.rows(
    `SELECT w.name, w.kind, bool_or(w.name = ANY ($1::text[])) OVER () FROM (
       SELECT n.nspname || '.' || quote_ident(c.relname) AS name,
         CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = '${OUR_SCHEMA}' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
     ) w ORDER BY w.name = ANY ($1::text[]), 1 LIMIT 1`,
    [formatArrayText(known)],
  );
  const [name, kind, isOurs] = foreign ?? [];
  if (name === undefined || name === null || known.includes(name)) return;
  throw new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `The schema ${OUR_SCHEMA}, in which Tidemark keeps what is its own, holds ${name}, which is not.`,
    {
      // Triggers look for what is ours by the schema's name: writes of the application would fail once it had another.
      fix:
        isOurs === "t"
          ? `ALTER ${kind} ${name} SET SCHEMA …`
          : `ALTER SCHEMA ${OUR_SCHEMA} RENAME TO …`,
    },
  );
}

/** Triggers go with their functions, and look for the log by the name that its schema had. */
async function refuseRenamed(connection: Connection): Promise<void> {
  const [renamed] = await connection.rows(
    `SELECT current_database(), n.nspname, to_regnamespace('${OUR_SCHEMA}') IS NULL FROM pg_namespace n
     WHERE n.nspname <> '${OUR_SCHEMA}' AND EXISTS (
       SELECT FROM pg_proc p JOIN pg_trigger t ON t.tgfoid = p.oid
       WHERE p.pronamespace = n.oid AND p.proname ~ '^capture_([a-z]+_)?[0-9]+$'
         AND t.tgname IN ('tidemark_truncate', 'tidemark_insert', '!tidemark_row')) LIMIT 1`,
  );
  const [database, name, isFree] = renamed ?? [];
  if (name === undefined || name === null) return;
  const schema = quoteIdentifier(name);
  throw new TidemarkError(
    "TM-CAPTURE-BROKEN",
    `In database "${database}" the schema ${OUR_SCHEMA} was renamed to ${schema}: triggers no longer find their log, and writes of the application to captured tables fail.`,
    {
      fix:
        isFree === "t"
          ? `ALTER SCHEMA ${schema} RENAME TO ${OUR_SCHEMA}; then start again: nothing is lost.`
          : `DROP SCHEMA ${schema} CASCADE, which takes those triggers away; then start again, which says how to go on.`,
    },
  );
}
