import type { Connection } from "./connection.ts";
import { OUR_SCHEMA } from "./identifiers.ts";
import { formatArrayText } from "./row-text.ts";

/**
 * How a table's changes are captured.
 *
 * - `statement`: one trigger run per statement, over its transition table. Half the cost of row
 *   triggers in bulk, but it logs when the statement ends: a write to the same table from inside the
 *   statement would be logged before it.
 * - `row`: one run per row. Needed where transition tables miss rows: a write straight to a
 *   partition does not fire the parent's statement triggers, and a subscription fires none at all.
 * - `row-current`: as `row`, and what is logged is the row as it stands when the trigger runs, not
 *   as the statement left it. Needed where the table can be written inside its own statement: row
 *   triggers run when all rows of the statement are written, so a nested write of a later row
 *   would be logged before the older version of that row. What stands now is never older.
 *   Needed, too, where the primary key is deferrable: the row that takes a key may be logged before
 *   the one that gives it up.
 */
export type Shape = "statement" | "row" | "row-current";

/**
 * Does what was installed log right where `needed` is asked for? A row trigger does all that a statement's does.
 */
export function isEnough(installed: Shape, needed: Shape): boolean {
  return STRENGTH[installed] >= STRENGTH[needed];
}

/** For people. */
export function insufficient(installed: Shape, { shape, reason }: ShapeChoice): string {
  return `it is captured by shape ${installed}, but now needs ${shape}, since ${reason}`;
}

const STRENGTH: Readonly<Record<Shape, number>> = { statement: 0, row: 1, "row-current": 2 };

export interface ShapeChoice {
  readonly shape: Shape;
  /** Why, for people. */
  readonly reason: string;
  /** Rows may arrive in partitions whose columns stand in another order. */
  readonly partitioned: boolean;
  /** Does a subscription of logical replication write it? */
  readonly subscribed: boolean;
  /** Does a plain scan of the table give rows of other tables, too (inheritance)? */
  readonly only: boolean;
}

/** Chooses the shape of each table, by oid. */
export async function chooseShapes(
  connection: Connection,
  oids: readonly string[],
): Promise<ReadonlyMap<string, ShapeChoice>> {
  const [tables, edges, triggers] = await Promise.all([
    connection.rows(TABLES, [formatArrayText(oids)]),
    connection.rows(ACTION_EDGES),
    connection.rows(USER_TRIGGERS),
  ]);
  const reach = new Map<string, string[]>();
  for (const [parent, child] of edges as string[][]) {
    const children = reach.get(parent as string) ?? [];
    children.push(child as string);
    reach.set(parent as string, children);
  }
  const triggered = new Map(
    (triggers as string[][]).map(([oid, names]) => [oid as string, names as string]),
  );
  return new Map(
    (tables as string[][]).map(([oid, kind, inPartition, inherits, deferrable, subscribed]) => {
      const facts = {
        subscribed: subscribed === "t",
        partitioned: kind === "p" || inPartition === "t",
        inherits: inherits === "t",
        deferrable: deferrable === "t",
      };
      return [
        oid as string,
        {
          ...choose(oid as string, facts, reach, triggered),
          partitioned: facts.partitioned,
          subscribed: facts.subscribed,
          only: kind !== "p",
        },
      ];
    }),
  );
}

function choose(
  oid: string,
  facts: {
    readonly partitioned: boolean;
    readonly inherits: boolean;
    readonly deferrable: boolean;
    readonly subscribed: boolean;
  },
  reach: ReadonlyMap<string, readonly string[]>,
  triggered: ReadonlyMap<string, string>,
): { readonly shape: Shape; readonly reason: string } {
  const own = triggered.get(oid);
  if (own)
    return { shape: "row-current", reason: `the table has triggers or rules of its own (${own})` };
  for (const table of reachable(oid, reach)) {
    if (table === oid) {
      return {
        shape: "row-current",
        reason: "a foreign key's action can write the table inside its own statement",
      };
    }
    const names = triggered.get(table);
    if (names) {
      return {
        shape: "row-current",
        reason: `a foreign key's action reaches a table with triggers (${names})`,
      };
    }
  }
  // A row may take a key before the one that had it is logged as gone.
  if (facts.deferrable) {
    return { shape: "row-current", reason: "its primary key is deferrable" };
  }
  if (facts.subscribed) {
    const reason = "a subscription writes the table, and fires no statement trigger";
    return { shape: "row", reason };
  }
  if (facts.partitioned) return { shape: "row", reason: "the table is partitioned" };
  if (facts.inherits) return { shape: "row", reason: "the table is part of an inheritance tree" };
  return {
    shape: "statement",
    reason: "no trigger, foreign key action or partition can write it inside its own statement",
  };
}

/** Tables that foreign key actions reach from this one, in one step or more. */
function reachable(oid: string, reach: ReadonlyMap<string, readonly string[]>): Set<string> {
  const seen = new Set<string>();
  const open = [...(reach.get(oid) ?? [])];
  for (let table = open.pop(); table !== undefined; table = open.pop()) {
    if (seen.has(table)) continue;
    seen.add(table);
    open.push(...(reach.get(table) ?? []));
  }
  return seen;
}

const TABLES = `
SELECT c.oid::oid, c.relkind, c.relispartition,
       c.relkind = 'r' AND NOT c.relispartition
         AND EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
       EXISTS (SELECT FROM pg_index i
               WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate),
       EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = c.oid)
FROM pg_class c WHERE c.oid = ANY ($1::oid[])`;

const ACTION_EDGES = `
SELECT DISTINCT confrelid::oid, conrelid::oid FROM pg_constraint
WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))`;

const USER_TRIGGERS = `
SELECT oid, string_agg(name, ', ' ORDER BY name) FROM (
  SELECT t.tgrelid::oid AS oid, t.tgname AS name
  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
  WHERE NOT t.tgisinternal AND p.pronamespace IS DISTINCT FROM to_regnamespace('${OUR_SCHEMA}')
  UNION ALL
  SELECT r.ev_class::oid, r.rulename FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
  WHERE c.relkind IN ('r', 'p') AND r.ev_type <> '1'
) found GROUP BY oid`;
