import { TidemarkError } from "../../core/errors.ts";
import type { CaptureSpec } from "./capture-row.ts";
import type { Connection } from "./connection.ts";
import { OUR_SCHEMA, quoteTable } from "./identifiers.ts";

/**
 * TRUNCATE of one partition fires no trigger of the table it is part of, and a trigger for TRUNCATE
 * is not inherited. So each partition has one of its own, that logs every row there as deleted,
 * unless the whole table is being truncated.
 */
const PARTITION_TRIGGER = "tidemark_partition_truncate";

export function partitionFunctionName(oid: string): string {
  return `capture_partition_${oid}`;
}

/**
 * A table and its partitions, as something to select from: `relid` and `isleaf`. The server's own pg_partition_tree
 * locks each partition: a relay would wait, with all its tables, until whoever holds one for itself ends (TRUNCATE and
 * ALTER in a long transaction, VACUUM FULL). `oid` is an SQL expression.
 */
export function partitionTree(oid: string): string {
  return `(WITH RECURSIVE tree(relid) AS (
    SELECT ${oid}::oid
    UNION ALL SELECT p.oid FROM tree
      JOIN pg_catalog.pg_inherits h ON h.inhparent = tree.relid
      JOIN pg_catalog.pg_class p ON p.oid = h.inhrelid AND p.relispartition
  ) SELECT tree.relid, k.relkind <> 'p' AS isleaf FROM tree JOIN pg_catalog.pg_class k ON k.oid = tree.relid)`;
}

/** Marks, until the statement ends, that the table as a whole is being truncated. */
export function truncatingSetting(oid: string): string {
  return `tidemark.truncating_${oid}`;
}

/** Throws TM-TABLE-UNSUPPORTED when one of these tables is a part of another: its rows would be logged twice. */
export async function refuseParts(connection: Connection, oids: readonly string[]): Promise<void> {
  const [found] = await connection.rows(
    `SELECT p.oid::regclass, a.relid::regclass
     FROM unnest($1::oid[]) AS p(oid), pg_partition_ancestors(p.oid) AS a
     WHERE a.relid <> p.oid AND a.relid = ANY ($1::oid[])`,
    [`{${oids.join(",")}}`],
  );
  if (found === undefined) return;
  const [part, whole] = found as [string, string];
  throw new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `${part} is a partition of ${whole}, and both are to be captured: its rows would be logged twice.`,
    { fix: `Leave ${part} out: ${whole} brings its rows.`, details: { table: part } },
  );
}

/** The statements that give each partition its trigger, where it is missing. */
export async function partitionStatements(
  connection: Connection,
  { oid, partitioned }: Pick<CaptureSpec, "oid" | "partitioned">,
): Promise<readonly string[]> {
  if (!partitioned) return [];
  return (await bareLeaves(connection, [oid])).flatMap(partitionTrigger);
}

export function partitionTrigger({ root, schema, name, owned }: Part): readonly string[] {
  const partition = quoteTable({ schema, name });
  const create = `CREATE TRIGGER ${PARTITION_TRIGGER} BEFORE TRUNCATE ON ${partition} FOR EACH STATEMENT EXECUTE FUNCTION ${OUR_SCHEMA}.${partitionFunctionName(root)}()`;
  const always = `ALTER TABLE ${partition} ENABLE ALWAYS TRIGGER ${PARTITION_TRIGGER}`;
  return owned ? [create, always] : [create];
}

interface Part {
  readonly root: string;
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
  /** See TableState. */
  readonly owned: boolean;
  /** Does it hold rows? Else only partitions. */
  readonly leaf: boolean;
  /** Does it hold rows, and lack the trigger? */
  readonly bare: boolean;
}

const IS_BARE = `t.isleaf AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.relid AND g.tgname = '${PARTITION_TRIGGER}')`;

/** Partitions of these tables that hold rows and lack the trigger. */
export function bareLeaves(
  connection: Connection,
  roots: readonly string[],
): Promise<readonly Part[]> {
  return partsOf(connection, roots, IS_BARE);
}

/** Partitions of these tables, and theirs. */
export async function partsOf(
  connection: Connection,
  roots: readonly string[],
  condition = "true",
): Promise<readonly Part[]> {
  if (roots.length === 0) return [];
  const rows = await connection.rows(
    `SELECT r.oid, c.oid::oid, n.nspname, c.relname, pg_has_role(c.relowner, 'USAGE'), t.isleaf, ${IS_BARE}
     FROM unnest($1::oid[]) AS r(oid)
     CROSS JOIN LATERAL ${partitionTree("r.oid")} AS t
     JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE t.relid <> r.oid AND c.relkind IN ('r', 'p') AND ${condition}
     ORDER BY 1, 3, 4`,
    [`{${roots.join(",")}}`],
  );
  return rows.map(([root, oid, schema, name, owned, leaf, bare]) => ({
    root: root as string,
    oid: oid as string,
    schema: schema as string,
    name: name as string,
    owned: owned === "t",
    leaf: leaf === "t",
    bare: bare === "t",
  }));
}
