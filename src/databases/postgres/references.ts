import type { Finding } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import { findTables } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { quoteIdentifier, quoteTable } from "./identifiers.ts";
import { formatArrayText } from "./row-text.ts";

/** Looks at each foreign key of these tables or to them, whole. Throws TM-APPLY-CONSTRAINT. */
export async function verifyReferences(
  connection: Connection,
  tables: readonly TableName[],
): Promise<void> {
  const oids = [...(await findTables(connection, tables)).values()].map(({ oid }) => oid);
  const rows = await connection.rows(REFERENCES, [formatArrayText(oids)]);
  for (const row of rows as string[][]) {
    const reference = toReference(row);
    if ((await connection.rows(orphanQuery(reference))).length === 0) continue;
    const { name, child, parent } = reference;
    throw new TidemarkError(
      "TM-APPLY-CONSTRAINT",
      `A foreign key does not hold at the end of a batch: ${formatTable(child.name)} refers to ${formatTable(parent.name)}, constraint ${name}.`,
      {
        fix: "Sync the parent table too, or drop the foreign key at the target.",
        details: { table: formatTable(child.name), constraint: name },
      },
    );
  }
}

/** The tables among these a deletion in which some foreign key carries on to other rows. */
export async function cascadingTables(
  connection: Connection,
  oids: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await connection.rows(
    `SELECT DISTINCT confrelid::oid FROM pg_constraint
     WHERE contype = 'f' AND confrelid = ANY ($1::oid[]) AND confdeltype IN ('c', 'n', 'd')`,
    [formatArrayText(oids)],
  );
  return new Set(rows.map(([oid]) => oid as string));
}

/** Of these tables, the columns that foreign keys with an ON UPDATE action refer to, by oid. */
export async function followedColumns(
  connection: Connection,
  oids: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const rows = await connection.rows(
    `SELECT c.confrelid::oid, json_agg(DISTINCT a.attname)
     FROM pg_constraint c
     JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = ANY (c.confkey)
     WHERE c.contype = 'f' AND c.confrelid = ANY ($1::oid[]) AND c.confupdtype IN ('c', 'n', 'd')
     GROUP BY 1`,
    [formatArrayText(oids)],
  );
  return new Map(
    rows.map(([oid, names]) => [oid as string, JSON.parse(names ?? "[]") as string[]]),
  );
}

/** Foreign keys that can neither be put off nor switched off: told before one transaction needs it. */
export async function postponeFindings(
  connection: Connection,
  oids: readonly string[],
): Promise<readonly Finding[]> {
  const [row] = await connection.rows(FIXED_KEYS, [formatArrayText(oids)]);
  const [names, version, superuser, role] = row ?? [];
  if (!names || superuser === "on") return [];
  const grants = Number(version) >= 150_000;
  if (grants && (await mayBeGranted(connection))) return [];
  const grant = `GRANT SET ON PARAMETER session_replication_role TO ${quoteIdentifier(role ?? "")};`;
  const alter = "ALTER TABLE … ALTER CONSTRAINT … DEFERRABLE;";
  return [
    {
      check: "foreign-keys-fixed",
      severity: "warning",
      message: `The role cannot put off the foreign keys ${names}: a transaction that keeps them only at its end, larger than is applied at a time, would stop the sync.`,
      fix: grants ? `${grant} or ${alter}` : alter,
    },
  ];
}

async function mayBeGranted(connection: Connection): Promise<boolean> {
  const [row] = await connection.rows(
    "SELECT has_parameter_privilege('session_replication_role', 'SET')",
  );
  return row?.[0] === "t";
}

const FIXED_KEYS = `
SELECT string_agg(DISTINCT conname, ', ' ORDER BY conname), current_setting('server_version_num'),
       current_setting('is_superuser'), current_user
FROM pg_constraint
WHERE contype = 'f' AND NOT condeferrable AND conparentid = 0 AND conrelid = ANY ($1::oid[])`;

interface Side {
  readonly name: TableName;
  /** `ONLY`, where rows of tables that inherit are others. */
  readonly only: string;
  readonly columns: readonly string[];
}

interface Reference {
  readonly name: string;
  /** Those of the constraint itself, column by column: the path may find others that somebody has put there. */
  readonly equals: readonly string[];
  /** Is the last column a period, which several rows may cover together? */
  readonly ofPeriods: boolean;
  readonly child: Side;
  readonly parent: Side;
}

function toReference(row: readonly string[]): Reference {
  const [name = "", equals = "[]", ofPeriods, ...sides] = row;
  const side = ([schema = "", table = "", kind = "", columns = "[]"]: readonly string[]): Side => ({
    name: { schema, name: table },
    only: kind === "p" ? "" : "ONLY ",
    columns: JSON.parse(columns) as string[],
  });
  return {
    name,
    equals: JSON.parse(equals),
    ofPeriods: ofPeriods === "t",
    child: side(sides.slice(0, 4)),
    parent: side(sides.slice(4)),
  };
}

function orphanQuery({ child, parent, equals, ofPeriods }: Reference): string {
  const pairs = child.columns.map(
    (column, i) => [quoteIdentifier(column), quoteIdentifier(parent.columns[i] ?? "")] as const,
  );
  const join = pairs.map(([c, p], i) => `p.${p} ${equals[i]} c.${c}`).join(" AND ");
  // The constraint's own operator only asks whether the two meet.
  const [c, p] = pairs.at(-1) ?? [];
  const covered = ofPeriods
    ? ` HAVING c.${c} OPERATOR(pg_catalog.<@) pg_catalog.range_agg(p.${p})`
    : "";
  const given = pairs.map(([c]) => `c.${c} IS NOT NULL`).join(" AND ");
  return `SELECT 1 FROM ${child.only}${quoteTable(child.name)} c WHERE ${given} AND NOT EXISTS (SELECT FROM ${parent.only}${quoteTable(parent.name)} p WHERE ${join}${covered}) LIMIT 1`;
}

const COLUMNS = (keys: string, table: string) => `
  (SELECT json_agg(a.attname ORDER BY k.position)
   FROM pg_catalog.unnest(${keys}) WITH ORDINALITY AS k(number, position)
   JOIN pg_attribute a ON a.attrelid = ${table} AND a.attnum = k.number)`;

/** By text: versions before 18 lack the column. */
const OF_PERIODS =
  "coalesce((pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'conperiod')::boolean, false)";

const REFERENCES = `
SELECT c.conname,
  (SELECT json_agg(pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY k.position)
   FROM pg_catalog.unnest(c.conpfeqop) WITH ORDINALITY AS k(oid, position)
   JOIN pg_operator o ON o.oid = k.oid JOIN pg_namespace n ON n.oid = o.oprnamespace),
  ${OF_PERIODS},
  cn.nspname, cr.relname, cr.relkind, ${COLUMNS("c.conkey", "c.conrelid")},
       pn.nspname, pr.relname, pr.relkind, ${COLUMNS("c.confkey", "c.confrelid")}
FROM pg_constraint c
JOIN pg_class cr ON cr.oid = c.conrelid JOIN pg_namespace cn ON cn.oid = cr.relnamespace
JOIN pg_class pr ON pr.oid = c.confrelid JOIN pg_namespace pn ON pn.oid = pr.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0
  AND (c.conrelid = ANY ($1::oid[]) OR c.confrelid = ANY ($1::oid[]))
ORDER BY c.oid`;
