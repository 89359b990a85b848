// Whether the schema of ours is ours alone, in hands that we trust, and still has its name.
import { TidemarkError } from "../../core/errors.ts";
import type { Connection } from "./connection.ts";
import { OUR_SCHEMA, quoteIdentifier, quoteLiteral } from "./identifiers.ts";
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

/** With their owners. $1: names of relations; $2: are functions among them? */
const OURS = `SELECT 'TABLE ${OUR_SCHEMA}.' || quote_ident(relname) AS name, relowner AS owner FROM pg_class
       WHERE relnamespace = to_regnamespace('${OUR_SCHEMA}') AND '${OUR_SCHEMA}.' || relname = ANY ($1::text[])
       UNION ALL
       SELECT 'ROUTINE ' || oid::regprocedure, proowner FROM pg_proc
       WHERE pronamespace = to_regnamespace('${OUR_SCHEMA}') AND $2::boolean`;

/**
 * Whoever owns the schema, or what stands in it by a name of ours, has it run with our rights: a function that triggers
 * call, a view in a table's place. So that is us, or a role that could act as us anyway (any superuser); or, where we
 * are no superuser, one that we are a member of, or the database's owner.
 *
 * @param known the relations that are used; those of the other end may be another role's
 * @param called are functions called?
 * Throws TM-GRANT-MISSING.
 */
export async function refuseOwners(
  connection: Connection,
  known: readonly string[],
  called: boolean,
): Promise<void> {
  const [stranger] = await connection.rows(
    `SELECT w.name, quote_ident(o.rolname), quote_ident(r.rolname), current_database() FROM (
       SELECT 'SCHEMA ${OUR_SCHEMA}' AS name, nspowner AS owner FROM pg_namespace WHERE nspname = '${OUR_SCHEMA}'
       UNION ALL ${OURS}
     ) w JOIN pg_roles o ON o.oid = w.owner JOIN pg_roles r ON r.rolname = current_user
     WHERE NOT pg_has_role(o.oid, r.oid, 'MEMBER') AND (r.rolsuper OR NOT (pg_has_role(r.oid, o.oid, 'MEMBER')
       OR o.rolname = 'pg_database_owner' OR o.oid = (SELECT datdba FROM pg_database WHERE datname = current_database())))
     ORDER BY w.name NOT LIKE 'SCHEMA %', 1 LIMIT 1`,
    [formatArrayText(known), String(called)],
  );
  if (stranger === undefined) return;
  const [name, owner, role, database] = stranger;
  const what = name?.replace(/^[A-Z]+/, (kind) => kind.toLowerCase());
  throw new TidemarkError(
    "TM-GRANT-MISSING",
    `In database "${database}" the ${what} belongs to the role ${owner}, who could have anything run by it with the rights of ${role}.`,
    {
      fix: `Where Tidemark works by ${owner}, give its URL. Where it did, and has another role now: ALTER ${name} OWNER TO ${role}; (of all that ${owner} owns in this database: REASSIGN OWNED BY ${owner} TO ${role};). Otherwise, as it may hold anything: DROP SCHEMA ${OUR_SCHEMA} CASCADE; or drop what is not Tidemark's. For two roles that share the schema see docs/reference/grants.md.`,
    },
  );
}

/**
 * A relay empties the tables of its log and replaces its functions, as their owners alone may. TM-GRANT-MISSING where the
 * role may not, and whether it may read them all; else null. `known`: the relations that are used.
 */
export async function logOfAnother(
  connection: Connection,
  known: readonly string[],
): Promise<{ readonly error: TidemarkError; readonly readable: boolean } | null> {
  const [found] = await connection.rows(
    `SELECT quote_ident(o.rolname), quote_ident(current_user), current_database(),
       has_schema_privilege('${OUR_SCHEMA}', 'USAGE') AND has_schema_privilege('${OUR_SCHEMA}', 'CREATE'),
       has_schema_privilege('${OUR_SCHEMA}', 'USAGE') AND NOT EXISTS (
         SELECT FROM pg_class WHERE relnamespace = to_regnamespace('${OUR_SCHEMA}')
           AND '${OUR_SCHEMA}.' || relname = ANY ($1::text[]) AND NOT has_table_privilege(oid, 'SELECT'))
     FROM (${OURS}) w JOIN pg_roles o ON o.oid = w.owner
     WHERE NOT pg_has_role(o.oid, 'USAGE') ORDER BY w.name LIMIT 1`,
    [formatArrayText(known), "true"],
  );
  if (found === undefined) return null;
  const [owner, role = "", database, mayMake, mayRead] = found as string[];
  const grant = mayMake === "t" ? "" : `GRANT USAGE, CREATE ON SCHEMA ${OUR_SCHEMA} TO ${role}; `;
  const ours = known.map((name) => `'${name.slice(OUR_SCHEMA.length + 1)}'`).join(", ");
  const give = `DO $$ DECLARE ours text; BEGIN FOR ours IN SELECT format('TABLE ${OUR_SCHEMA}.%I', relname) FROM pg_class WHERE relnamespace = '${OUR_SCHEMA}'::regnamespace AND relname IN (${ours}) UNION ALL SELECT 'ROUTINE ' || oid::regprocedure FROM pg_proc WHERE pronamespace = '${OUR_SCHEMA}'::regnamespace LOOP EXECUTE 'ALTER ' || ours || ${quoteLiteral(` OWNER TO ${role}`)}; END LOOP; END $$;`;
  const error = new TidemarkError(
    "TM-GRANT-MISSING",
    `In database "${database}" the change log belongs to the role ${owner}, and ${role} may not do with it what its owner may: empty its tables, replace its functions.`,
    { fix: `Give the URL of ${owner}; or, for ${role} to go on: ${grant}${give}` },
  );
  return { error, readable: mayRead === "t" };
}
