import type { Finding } from "../../core/database.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import { findTables } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { quoteIdentifier, quoteTable, schemaOf } from "./identifiers.ts";
import { TARGET_TABLES } from "./ours.ts";
import { partsOf } from "./partitions.ts";
import { formatArrayText } from "./row-text.ts";

/** `columns`: one to some columns of a table is taken for the right to it, as it may be all that is used. */
interface Leniency {
  readonly columns: boolean;
}

const STRICT: Leniency = { columns: false };

export interface RightsTable {
  readonly name: TableName;
  readonly oid: string;
  /** Of the types that statements name. */
  readonly typeSchemas: readonly string[];
}

interface Captured {
  /** Those on which nothing is to be done. */
  readonly intact: readonly RightsTable[];
  readonly due: readonly RightsTable[];
  /** Do our own tables stand? */
  readonly installed: boolean;
}

/** Of what capture needs, and is still to make. */
export async function captureRights(
  connection: Connection,
  captured: Captured,
  leniency = STRICT,
): Promise<Finding[]> {
  const [due, intact] = await Promise.all([
    partsIn(connection, captured.due),
    partsIn(connection, captured.intact),
  ]);
  const branches = due.filter(({ leaf }) => !leaf);
  const bare = intact.filter((part) => part.bare);
  const toCapture = [...captured.due, ...due.filter(({ leaf }) => leaf), ...bare];
  const toRead = [...captured.intact, ...intact.filter((part) => part.leaf && !part.bare)];
  const found = await Promise.all([
    captured.installed ? [] : createFindings(connection, "source"),
    schemaFindings(connection, [...toCapture, ...toRead]),
    rightsFindings(connection, toCapture, ["SELECT", "TRIGGER"], leniency),
    rightsFindings(connection, branches, ["TRIGGER"], leniency),
    rightsFindings(connection, toRead, ["SELECT"], leniency),
  ]);
  return found.flat();
}

/** Each partition gets triggers, and a leaf one that reads it: a `bare` one has yet to get that. */
async function partsIn(connection: Connection, tables: readonly RightsTable[]) {
  const oids = tables.map(({ oid }) => oid);
  return (await partsOf(connection, oids)).map(({ oid, schema, name, leaf, bare }) => {
    return { oid, name: { schema, name }, typeSchemas: [], leaf, bare };
  });
}

/** Of what applying needs, where these tables stand and those are to be made. */
export async function applyRights(
  connection: Connection,
  standing: readonly RightsTable[],
  lacking: readonly TableName[],
  leniency = STRICT,
): Promise<Finding[]> {
  const rights = ["SELECT", "INSERT", "UPDATE", "DELETE"];
  const ours = (await findTables(connection, TARGET_TABLES)).values();
  const found = await Promise.all([
    createFindings(connection, "progress"),
    schemaFindings(connection, standing, lacking),
    rightsFindings(connection, [...standing, ...ours], rights, leniency),
  ]);
  return found.flat();
}

/** Of what the role is to do with these tables. */
async function rightsFindings(
  connection: Connection,
  tables: readonly Omit<RightsTable, "typeSchemas">[],
  rights: readonly string[],
  { columns }: Leniency,
): Promise<Finding[]> {
  if (tables.length === 0) return [];
  const rows = await connection.rows(
    `SELECT w.oid, p.name, current_user FROM unnest($1::oid[]) w(oid), unnest($2::text[]) p(name)
     WHERE NOT CASE WHEN $3 AND p.name IN ('SELECT', 'INSERT', 'UPDATE')
       THEN has_any_column_privilege(w.oid, p.name) ELSE has_table_privilege(w.oid, p.name) END`,
    [
      formatArrayText(tables.map((table) => table.oid)),
      formatArrayText(rights),
      columns ? "t" : "f",
    ],
  );
  const findings: Finding[] = [];
  for (const table of tables) {
    const missing = rows.filter(([oid]) => oid === table.oid);
    if (missing.length === 0) continue;
    const list = missing.map(([, right]) => right).join(", ");
    findings.push(
      ...lack(
        `The role lacks ${list} on ${formatTable(table.name)}.`,
        `GRANT ${list} ON ${quoteTable(table.name)} TO ${quoteIdentifier(missing[0]?.[2] ?? "")};`,
      ),
    );
  }
  return findings;
}

/** Of the schemas in which these tables and their types stand, or are to be made: rights on a table are nothing without. */
async function schemaFindings(
  connection: Connection,
  standing: readonly RightsTable[],
  lacking: readonly TableName[] = [],
): Promise<Finding[]> {
  const ofStanding = standing.flatMap(({ name, typeSchemas }) => [schemaOf(name), ...typeSchemas]);
  const used = [...new Set([...ofStanding, ...lacking.map(schemaOf)])];
  const rows = await connection.rows(
    `SELECT u.name, has_schema_privilege(n.oid, 'USAGE'),
            u.name <> ALL ($2::text[]) OR has_schema_privilege(n.oid, 'CREATE'),
            has_database_privilege(current_database(), 'CREATE'), current_user, current_database()
     FROM unnest($1::text[]) u(name) LEFT JOIN pg_namespace n ON n.nspname = u.name`,
    [formatArrayText(used), formatArrayText(lacking.map(schemaOf))],
  );
  return rows.flatMap(([name, uses, creates, makes, role, database]): Finding[] => {
    const [schema, to] = [quoteIdentifier(name ?? ""), quoteIdentifier(role ?? "")];
    if (uses === null) {
      if (makes === "t") return [];
      const fix = `GRANT CREATE ON DATABASE ${quoteIdentifier(database ?? "")} TO ${to};`;
      return lack(`There is no schema ${name}, and the role may not create it.`, fix);
    }
    const missing = [uses === "t" ? [] : "USAGE", creates === "t" ? [] : "CREATE"]
      .flat()
      .join(", ");
    if (missing === "") return [];
    const why = creates === "t" ? "" : ", in which tables are to be created";
    return lack(
      `The role lacks ${missing} on the schema ${name}${why}.`,
      `GRANT ${missing} ON SCHEMA ${schema} TO ${to};`,
    );
  });
}

/** Of our own tables, which are to be made unless this one stands. The schema may be another role's: of the other end here. */
async function createFindings(
  connection: Connection,
  standing: "progress" | "source",
): Promise<Finding[]> {
  const [row] = await connection.rows(
    `SELECT n.oid IS NOT NULL, current_user, current_database(), has_database_privilege(current_database(), 'CREATE'),
            has_schema_privilege(n.oid, 'USAGE'), has_schema_privilege(n.oid, 'CREATE')
              OR EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = $1)
     FROM (VALUES ('tidemark')) ours(name) LEFT JOIN pg_namespace n ON n.nspname = ours.name`,
    [standing],
  );
  const [isThere, role, database, mayCreate, uses, makes] = row ?? [];
  const to = quoteIdentifier(role ?? "");
  if (isThere !== "t") {
    if (mayCreate === "t") return [];
    const fix = `GRANT CREATE ON DATABASE ${quoteIdentifier(database ?? "")} TO ${to};`;
    return lack("The role may not create the schema tidemark.", fix);
  }
  const missing = [uses === "t" ? [] : "USAGE", makes === "t" ? [] : "CREATE"].flat().join(", ");
  if (missing === "") return [];
  return lack(
    `The role may not ${makes === "t" ? "use" : "make tables in"} the schema tidemark, which is another role's.`,
    `GRANT ${missing} ON SCHEMA tidemark TO ${to};`,
  );
}

function lack(message: string, fix: string): Finding[] {
  return [{ check: "grant-missing", severity: "error", message, fix }];
}
