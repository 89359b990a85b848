import type { SyncTable } from "../../../src/applier/mapping.ts";
import type { FilterAnswer, Layout } from "../../../src/core/change.ts";
import type { RowObject, TableRule } from "../../../src/core/definition.ts";
import { parkedEntry } from "../../../src/core/parked.ts";
import type { CaptureTable } from "../../../src/core/source.ts";
import type { Row } from "../../../src/core/value.ts";
import type { Random } from "../../support/random.ts";
import type { Rows } from "./oracle.ts";

export const TABLES = ["a", "b", "c", "d"] as const;
export type Table = (typeof TABLES)[number];

/** The one that may have a filter. */
export const FILTERED: Table = "b";
/** The values of the one may be keys of the other, or its values. */
export const PARENT: Table = "a";
export const CHILD: Table = "d";
/** The one that may be altered: it gets a column more, which depends on the value. */
export const ALTERED: Table = "b";
export const MORE = "more";
/** Under this name it stands in what targets are to hold, with that column. */
export const WITH_MORE = "b with more";
/** The value of a child without a parent. */
export const NOBODY = "";

export interface ForeignKey {
  /** What becomes of the children of a row that goes. */
  readonly onDelete: "restrict" | "cascade" | "set null";
  /** The source looks at the end of a transaction only. */
  readonly isDeferred: boolean;
  /** It refers to values of the parents, which are unique, and follows them where they change; else to their keys. */
  readonly followsValues: boolean;
  /** Those that follow are logged before what they follow, as by PostgreSQL. */
  readonly logsChildrenFirst: boolean;
}

/** What a table of one world is like. */
export interface Shape {
  /** Else its rows are matched whole, and several may be equal. */
  readonly hasKey: boolean;
  /** Only rows that pass a condition are for the targets: what looks at it, and may change them besides. */
  readonly filteredBy: "where" | "filter" | "transform" | null;
  /** Of some rows it cannot tell: they are set aside. */
  readonly mayFail: boolean;
  /** No two rows hold the same value, at the source and at the targets. */
  readonly isUnique: boolean;
  /** The source looks for that at the end of a transaction only: two rows may exchange theirs. */
  readonly isUniqueLate: boolean;
  /** Its values are keys of {@link PARENT}, or values, at the source and at the targets. */
  readonly foreignKey: ForeignKey | null;
}
export type Shapes = Readonly<Record<Table, Shape>>;

/** What the source's filter is called. */
const WHERE = "value is even";
/** The target's table of rows set aside. */
export const PARKED = "parked";
/** What a row set aside may still be at the target: any earlier state of it. */
export const ANY = "any state";
const PLAIN: Shape = {
  ...{ hasKey: true, filteredBy: null, mayFail: false, foreignKey: null },
  ...{ isUnique: false, isUniqueLate: false },
};

/** `mayExchange`: a target applies each batch whole, and so can take what holds only at the end of a transaction. */
export function shapesOf(random: Random, mayExchange: boolean): Shapes {
  const filteredBy = random.pick([null, "where", "where", "filter", "transform"]);
  const foreignKey = random.chance(0.7) ? foreignKeyOf(random) : null;
  const isUnique = foreignKey?.followsValues === true || random.chance(0.5);
  // No foreign key may refer to what is unique at the end only.
  const isUniqueLate = mayExchange && foreignKey?.followsValues !== true;
  return {
    a: { ...PLAIN, isUnique, isUniqueLate },
    b: { ...PLAIN, filteredBy, mayFail: filteredBy !== null && random.chance(0.6) },
    c: { ...PLAIN, hasKey: false, filteredBy: random.pick([null, null, "filter", "transform"]) },
    d: { ...PLAIN, foreignKey },
  };
}

function foreignKeyOf(random: Random): ForeignKey {
  const onDelete = random.pick(["restrict", "restrict", "cascade", "set null"]);
  const [isDeferred, followsValues] = [random.chance(0.6), random.chance(0.6)];
  return { onDelete, isDeferred, followsValues, logsChildrenFirst: random.chance(0.5) };
}

/** What children hold of a parent. */
export function referredTo({ followsValues }: ForeignKey, key: string, value: string): string {
  return followsValues ? value : key;
}

/** What the source logs beside a row. */
export function filterAnswers(shape: Shape, value: string): readonly FilterAnswer[] {
  return shape.filteredBy === "where" ? [answer(shape, value)] : [];
}

function answer({ filteredBy, mayFail }: Shape, value: string): FilterAnswer {
  const last = value.charCodeAt(value.length - 1);
  if (mayFail && last % 7 === 0) return null;
  return filteredBy === null || last % 2 === 0;
}

/** Rows that differ at the source may be equal then. */
function transformed(value: string): string {
  return `${value.replace("4", "2")}!`;
}

/** The config's own functions. */
function functionsOf(shape: Shape): Pick<TableRule, "filter" | "transform"> {
  const filter = ({ value }: RowObject) => {
    const passes = answer(shape, value ?? NOBODY);
    if (passes === null) throw new Error("It cannot tell.");
    return passes;
  };
  if (shape.filteredBy === "filter") return { filter };
  if (shape.filteredBy !== "transform") return {};
  const change = (row: RowObject) => ({ ...row, value: transformed(row.value ?? NOBODY) });
  return { transform: (row) => (filter(row) ? change(row) : null) };
}

export function rowOf({ hasKey }: Shape, key: string, value: string, hasMore: boolean): Row {
  const cell = value === NOBODY ? null : value;
  const cells = hasMore ? [cell, moreOf(value)] : [cell];
  return hasKey ? [key, ...cells] : cells;
}

function moreOf(value: string): string {
  return `more of ${value}`;
}

/** What stands at the target for a value, and for the column more where there is one. */
export function textOf(value: string, more?: string): string {
  return more === undefined ? value : `${value}, ${more}`;
}

/** What a target is to hold of these rows of a source; of a table without a key, how many are equal to each. */
export function arriving(shape: Shape, rows: Rows, hasMore: boolean): Rows {
  const { hasKey, filteredBy } = shape;
  if (hasKey && filteredBy === null && !hasMore) return rows;
  const result = new Map<string, string>();
  for (const [key, value] of rows) {
    const passes = answer(shape, value);
    if (passes === false) continue;
    const told = filteredBy === "transform" ? transformed(value) : value;
    const arrives = textOf(told, hasMore ? moreOf(value) : undefined);
    if (!hasKey) result.set(arrives, addTo(result.get(arrives), 1) ?? "");
    else result.set(key, passes ? arrives : ANY);
  }
  return result;
}

/** The keys of rows to be set aside of a table. */
export function aside(rows: Rows | undefined): Rows {
  return new Map([...(rows ?? [])].filter(([, value]) => value === ANY));
}

/** The keys of rows that are set aside, by what stands in the table for them. */
export function standingAside(rows: Rows | undefined): Rows {
  return new Map([...(rows?.values() ?? [])].map((cells) => [keyAside(cells), ANY]));
}

/** The key of a row that is set aside, by what stands in the table for it. */
export function keyAside(cells: string): string {
  const { key } = parkedEntry(JSON.parse(cells) as readonly unknown[]);
  return (JSON.parse(key) as { readonly id: string }).id;
}

/** How many there are then, as text; null for none. */
export function addTo(count: string | undefined, more: number): string | null {
  const sum = Number(count ?? "0") + more;
  return sum > 0 ? String(sum) : null;
}

export function layoutOf(table: Table, hasMore: boolean): number {
  return hasMore ? TABLES.length + 1 : TABLES.indexOf(table) + 1;
}

export function toLayout(
  table: Table,
  { hasKey, filteredBy, foreignKey }: Shape,
  hasMore: boolean,
): Layout {
  const names = [...(hasKey ? ["id"] : []), "value", ...(hasMore ? [MORE] : [])];
  return {
    id: layoutOf(table, hasMore),
    table: { schema: null, name: table },
    columns: names.map((name) => ({
      ...{ name, type: { kind: "text" }, nativeType: "text", generated: false },
      nullable: name === "value" && foreignKey !== null,
    })),
    key: hasKey ? [0] : [],
    filters: filteredBy === "where" ? [WHERE] : [],
  };
}

/** The table as a relay is to capture it. */
export function captureTable(table: Table, shape: Shape, hasMore: boolean): CaptureTable {
  const { columns, filters, table: name } = toLayout(table, shape, hasMore);
  const schema = {
    name,
    columns: columns.map((column) => ({ ...column, identity: false })),
    key: keyOf(shape),
  };
  const names = columns.map((column) => column.name);
  return { schema, columns: names, filters, takesNewColumns: true };
}

export interface TablePlant {
  /** Planted: the applier does not know that a foreign key carries deletions on. */
  readonly cascadesUntold?: boolean;
  /** Planted: nor that one follows what changes. */
  readonly followsUntold?: boolean;
  /** Planted: a table with a column more is not taken for another one than was copied. */
  readonly keepsAltered?: boolean;
}

/** The table as an applier is to write it, under the same name. */
export function syncTable(
  table: Table,
  shapes: Shapes,
  hasMore: boolean,
  { cascadesUntold = false, followsUntold = false, keepsAltered = false }: TablePlant,
): SyncTable {
  const shape = shapes[table];
  const { foreignKey } = shapes[CHILD];
  const isParent = table === PARENT && foreignKey !== null;
  const { columns, key, table: name } = toLayout(table, shape, hasMore);
  const written = columns.map((column) => ({ name: column.name, type: column.type }));
  return {
    source: table,
    rule: {
      table,
      ...(shape.filteredBy === "where" && { where: WHERE }),
      ...functionsOf(shape),
      ...(shape.mayFail && { onError: "park" }),
    },
    columns: columns.map((column) => column.name),
    types: columns.map(({ nativeType }) => nativeType),
    key: keyOf(shape),
    bound: {
      ...{ name, columns: written, key },
      followed: isParent && foreignKey.followsValues && !followsUntold,
      parents: shape.foreignKey === null ? [] : [TABLES.indexOf(PARENT)],
      cascades: isParent && foreignKey.onDelete !== "restrict" && !cascadesUntold,
    },
    fingerprint: hasMore && !keepsAltered ? MORE : "",
  };
}

function keyOf({ hasKey }: Shape): readonly string[] {
  return hasKey ? ["id"] : [];
}
