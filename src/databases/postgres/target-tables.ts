import { keyNames } from "../../core/change.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import type { BoundTable } from "../../core/target.ts";
import { operatorOf } from "./capture-row.ts";
import {
  type FoundColumn,
  findTables,
  loadColumns,
  loadUniques,
  NAMED,
  tableKey,
  type UniqueKey,
  withSomeType,
} from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { partitionTree } from "./partitions.ts";
import { cascadingTables, followedColumns } from "./references.ts";
import { formatArrayText } from "./row-text.ts";

/** A table that stands at the target. */
export interface StandingTable {
  readonly oid: string;
  readonly kind: string;
  readonly columns: readonly FoundColumn[];
  readonly uniques: readonly UniqueKey[];
  /** Oids of the tables its foreign keys refer to. */
  readonly parents: readonly string[];
  /** Does some foreign key carry a deletion on to other rows? */
  readonly cascades: boolean;
  /** Columns that foreign keys follow when they change. */
  readonly followed: readonly string[];
  /** Names of the rules that put something in place of what is written, or beside it, as far as they are on. */
  readonly rules: readonly string[];
  /** A partition that a crash of the server empties, where others keep their rows. */
  readonly unlogged: TableName | null;
}

/** By tableKey; absent ones are missing. */
export async function loadStanding(
  connection: Connection,
  tables: readonly TableName[],
): Promise<ReadonlyMap<string, StandingTable>> {
  const found = await findTables(connection, tables, NAMED);
  const oids = [...found.values()].map((table) => table.oid);
  const [columns, uniques, parents, cascading, followed, rules, unlogged] = await Promise.all([
    loadColumns(connection, oids),
    loadUniques(connection, oids),
    connection.rows(PARENTS, [formatArrayText(oids)]),
    cascadingTables(connection, oids),
    followedColumns(connection, oids),
    connection.rows(
      `SELECT ev_class::oid, rulename FROM pg_rewrite
       WHERE ev_class = ANY ($1::oid[]) AND ev_type <> '1' AND ev_enabled <> 'D' ORDER BY 2`,
      [formatArrayText(oids)],
    ),
    connection.rows(UNLOGGED, [formatArrayText(oids)]),
  ] as const);
  const emptied = new Map((unlogged as string[][]).map(([oid, ...name]) => [oid, name]));
  return new Map(
    [...found].map(([key, { oid, kind }]) => [
      key,
      {
        oid,
        kind,
        columns: (columns.get(oid) ?? []).map(withSomeType),
        uniques: uniques.get(oid) ?? [],
        parents: parents.filter((row) => row[0] === oid).map((row) => row[1] as string),
        cascades: cascading.has(oid),
        followed: followed.get(oid) ?? [],
        rules: rules.filter((row) => row[0] === oid).map((row) => row[1] as string),
        unlogged: asName(emptied.get(oid)),
      },
    ]),
  );
}

/** By foreign key: the table, and the one it refers to. */
const PARENTS = `SELECT c.conrelid::oid, c.confrelid::oid
  FROM pg_constraint c JOIN pg_class r ON r.oid = c.confrelid
  WHERE c.contype = 'f' AND c.conrelid = ANY ($1::oid[]) AND NOT r.relispartition
  ORDER BY c.conrelid, c.conname`;

/** A table that is emptied as a whole is known by that. */
const UNLOGGED = `SELECT DISTINCT ON (w.oid) w.oid, n.nspname, p.relname
  FROM unnest($1::oid[]) AS w(oid)
  CROSS JOIN LATERAL ${partitionTree("w.oid")} AS t
  JOIN pg_class p ON p.oid = t.relid JOIN pg_namespace n ON n.oid = p.relnamespace
  WHERE t.isleaf AND p.relpersistence = 'u' AND EXISTS (
    SELECT FROM ${partitionTree("w.oid")} AS o JOIN pg_class k ON k.oid = o.relid
    WHERE o.isleaf AND k.relpersistence <> 'u')
  ORDER BY w.oid, n.nspname, p.relname`;

function asName([schema, name]: readonly string[] = []): TableName | null {
  return schema === undefined || name === undefined ? null : { schema, name };
}

/** Parents before children; tables in a circle of foreign keys stand in the order asked. */
export function sortByParents(
  tables: readonly BoundTable[],
  standing: ReadonlyMap<string, StandingTable>,
): readonly BoundTable[] {
  const oids = new Map(
    tables.map((table, i) => [standing.get(tableKey(table.name))?.oid ?? `new ${i}`, i]),
  );
  const parents = tables.map((table, i) => {
    const found = standing.get(tableKey(table.name))?.parents ?? [];
    return [...new Set(found.flatMap((oid) => oids.get(oid) ?? []))].filter(
      (parent) => parent !== i,
    );
  });
  const order: number[] = [];
  const seen = new Set<number>();
  const visit = (table: number): void => {
    if (seen.has(table)) return;
    seen.add(table);
    for (const parent of parents[table] ?? []) visit(parent);
    order.push(table);
  };
  for (let i = 0; i < tables.length; i++) visit(i);
  return order.map((i) => {
    const table = tables[i] as BoundTable;
    const key = keyNames(table);
    const { cascades = false, followed = [] } = standing.get(tableKey(table.name)) ?? {};
    return {
      ...table,
      parents: (parents[i] ?? []).map((parent) => order.indexOf(parent)).sort((a, b) => a - b),
      cascades,
      followed: followed.some((name) => !key.includes(name)),
    };
  });
}

/** What the applier's statements need to know of a bound table. */
export interface TableFacts {
  /** Casts of the written columns, in order: type without modifier, so that nothing is cut short. */
  readonly casts: readonly string[];
  /** As `casts`, with the modifier: what the column makes of a value. */
  readonly exact: readonly string[];
  /** Type of the parameter's elements: the cast itself where an array of it can be bound, else text. */
  readonly elements: readonly string[];
  /** The operator that compares each column's values. */
  readonly equals: readonly string[];
  /** Longest text of each column in characters, where there is a bound. */
  readonly limits: readonly (number | undefined)[];
}

/** Types whose arrays PostgreSQL reads directly. */
const DIRECT = new Set([
  "smallint",
  "integer",
  "bigint",
  "real",
  "double precision",
  "numeric",
  "boolean",
  "text",
  "character varying",
  "date",
  "timestamp without time zone",
  "timestamp with time zone",
  "uuid",
  "bytea",
  "oid",
  // As a text is cast to it, `-` and the number of what is gone would be names.
  "regclass",
  "jsonb",
  "json",
]);

/** Null when a column is gone. */
export function factsOf(
  table: BoundTable,
  standing: StandingTable,
): TableFacts | { readonly missing: string } {
  const casts: string[] = [];
  const exact: string[] = [];
  const equals: string[] = [];
  const limits: (number | undefined)[] = [];
  for (const { name } of table.columns) {
    const column = standing.columns.find((each) => each.name === name);
    if (!column) return { missing: `${formatTable(table.name)}.${name}` };
    casts.push(column.bareType);
    exact.push(column.nativeType);
    equals.push(operatorOf(column));
    limits.push(column.type?.kind === "text" ? column.type.maxLength : undefined);
  }
  const elements = casts.map((cast) => (DIRECT.has(cast) ? cast : "text"));
  return { casts, exact, elements, equals, limits };
}
