import { TidemarkError } from "../../core/errors.ts";
import { resyncCommand } from "../../core/shell.ts";
import { formatTable } from "../../core/table.ts";
import type { Connection } from "./connection.ts";
import { quoteLiteral, quoteTable } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { withShortLocks } from "./locks.ts";
import { partitionTree } from "./partitions.ts";
import { formatArrayText } from "./row-text.ts";

/** A partition that holds rows itself. */
interface Leaf {
  readonly oid: string;
  readonly name: string;
  /** Was it a table before it became a partition? Else it began empty, and each of its rows was logged. */
  readonly attached: boolean;
}

/**
 * ATTACH brings rows, and DETACH and DROP take rows away, of which no trigger is told. Throws
 * TM-CAPTURE-BROKEN when partitions of these tables have come or gone so; an empty one that came is noted.
 */
export async function checkPartitions(
  connection: Connection,
  roots: readonly StoredLayout[],
): Promise<void> {
  if (roots.length === 0) return;
  const rows = await connection.rows(
    LEAVES,
    [formatArrayText(roots.map(({ id }) => String(id)))],
    "leaves",
  );
  for (const root of roots) {
    const [, stored, text] = rows.find(([id]) => id === String(root.id)) ?? [];
    const now = JSON.parse(text ?? "[]") as Leaf[];
    const known = stored == null ? null : (JSON.parse(stored) as Leaf[]);
    if (known !== null) await compare(connection, root, known, now);
    if (known === null || known.length !== now.length) {
      await connection.run("UPDATE tidemark.layouts SET partitions = $1 WHERE id = $2", [
        JSON.stringify(now),
        String(root.id),
      ]);
    }
  }
}

async function compare(
  connection: Connection,
  root: StoredLayout,
  known: readonly Leaf[],
  now: readonly Leaf[],
): Promise<void> {
  const gone = known.find(({ oid }) => !now.some((leaf) => leaf.oid === oid));
  if (gone !== undefined) {
    throw unseen(
      root,
      `its partition ${gone.name} was detached or dropped, and the targets still have its rows`,
      "Delete its rows at the targets, or leave them there",
    );
  }
  for (const came of now) {
    if (!came.attached || known.some(({ oid }) => oid === came.oid)) continue;
    if (await isEmpty(connection, came)) continue;
    const key = root.columns[root.key[0] ?? 0]?.name ?? "";
    throw unseen(
      root,
      `${came.name} was attached to it, with rows that the targets may lack`,
      `Let its rows be logged: UPDATE ${came.name} SET "${key}" = "${key}"`,
    );
  }
}

/**
 * Tools that keep partitions ready (pg_partman) make each as a table like the others, and attach it. What is empty once
 * it is attached has brought nothing that a target lacks: every row that comes is logged. Where another has it
 * locked, this fails, and is tried again with all the rest.
 */
async function isEmpty(connection: Connection, { name }: Leaf): Promise<boolean> {
  return withShortLocks(connection, async () => {
    const rows = await connection.rows(`SELECT FROM ONLY ${name} LIMIT 1`);
    return rows.length === 0;
  });
}

function unseen(root: StoredLayout, what: string, mend: string): TidemarkError {
  const table = formatTable(root.table);
  const oid = quoteLiteral(quoteTable(root.table));
  return new TidemarkError("TM-CAPTURE-BROKEN", `Capture of ${table} is broken: ${what}.`, {
    fix: `${mend}; then: UPDATE tidemark.layouts SET partitions = NULL WHERE table_oid = ${oid}::regclass; and run again. Or ${resyncCommand(table)}, then tidemark run: it is copied anew.`,
    details: { table },
  });
}

/**
 * For each layout: what is stored of its leaves, and the leaves now. ATTACH writes a table's columns anew:
 * one that was made as a partition has them from the command that made it, system columns and all.
 */
const LEAVES = `
SELECT l.id, l.partitions, (
  SELECT json_agg(json_build_object('oid', c.oid::text, 'name', c.oid::regclass::text,
    'attached', (SELECT made.xmin::text <> i.xmin::text OR made.cmin::text::bigint < (
                   SELECT min(a.cmin::text::bigint) FROM pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attnum > 0)
                 FROM pg_attribute made WHERE made.attrelid = c.oid AND made.attnum = -1)) ORDER BY c.oid)
  FROM ${partitionTree("l.table_oid")} t
  JOIN pg_class c ON c.oid = t.relid
  JOIN pg_inherits i ON i.inhrelid = c.oid
  WHERE t.isleaf AND t.relid <> l.table_oid AND c.relkind = 'r')
FROM tidemark.layouts l WHERE l.id = ANY ($1::int[])`;
