import type { SyncTable } from "../../../src/applier/mapping.ts";
import type { FilterAnswer, Layout } from "../../../src/core/change.ts";
import { parkedEntry } from "../../../src/core/parked.ts";
import type { CaptureTable } from "../../../src/core/source.ts";
import type { Row } from "../../../src/core/value.ts";
import type { Random } from "../../support/random.ts";
import type { Rows } from "./oracle.ts";

export const TABLES = ["a", "b", "c"] as const;
export type Table = (typeof TABLES)[number];

/** The one that may have a filter. */
export const FILTERED: Table = "b";

/** What a table of one world is like. */
export interface Shape {
  /** Else its rows are matched whole, and several may be equal. */
  readonly hasKey: boolean;
  /** Only rows that pass a condition are for the targets. */
  readonly isFiltered: boolean;
  /** Of some rows the condition cannot tell: they are set aside. */
  readonly mayFail: boolean;
  /** No two rows hold the same value, at the source and at the targets. */
  readonly isUnique: boolean;
}
export type Shapes = Readonly<Record<Table, Shape>>;

/** What the source's filter is called. */
const WHERE = "value is even";
/** The target's table of rows set aside. */
export const PARKED = "parked";
/** What a row set aside may still be at the target: any earlier state of it. */
export const ANY = "any state";
const PLAIN: Shape = { hasKey: true, isFiltered: false, mayFail: false, isUnique: false };

export function shapesOf(random: Random): Shapes {
  const isFiltered = random.chance(0.5);
  return {
    a: { ...PLAIN, isUnique: random.chance(0.5) },
    b: { ...PLAIN, isFiltered, mayFail: isFiltered && random.chance(0.5) },
    c: { ...PLAIN, hasKey: false },
  };
}

export function filterAnswers(shape: Shape, value: string): readonly FilterAnswer[] {
  return shape.isFiltered ? [answer(shape, value)] : [];
}

function answer({ isFiltered, mayFail }: Shape, value: string): FilterAnswer {
  const last = value.charCodeAt(value.length - 1);
  if (mayFail && last % 5 === 0) return null;
  return !isFiltered || last % 2 === 0;
}

export function rowOf({ hasKey }: Shape, key: string, value: string): Row {
  return hasKey ? [key, value] : [value];
}

/** What a target is to hold of these rows of a source; of a table without a key, how many are equal to each. */
export function arriving(shape: Shape, rows: Rows): Rows {
  const { hasKey, isFiltered } = shape;
  if (hasKey && !isFiltered) return rows;
  const result = new Map<string, string>();
  for (const [key, value] of rows) {
    const passes = answer(shape, value);
    if (!hasKey) result.set(value, addTo(result.get(value), 1) ?? "");
    else if (passes !== false) result.set(key, passes ? value : ANY);
  }
  return result;
}

/** The keys of rows to be set aside of a table. */
export function aside(rows: Rows | undefined): Rows {
  return new Map([...(rows ?? [])].filter(([, value]) => value === ANY));
}

/** The keys of rows that are set aside, by what stands in the table for them. */
export function standingAside(rows: Rows | undefined): Rows {
  const keys = [...(rows?.values() ?? [])].map((cells) => {
    const { key } = parkedEntry(JSON.parse(cells) as readonly unknown[]);
    return (JSON.parse(key) as { readonly id: string }).id;
  });
  return new Map(keys.map((key) => [key, ANY]));
}

/** How many there are then, as text; null for none. */
export function addTo(count: string | undefined, more: number): string | null {
  const sum = Number(count ?? "0") + more;
  return sum > 0 ? String(sum) : null;
}

export function layoutOf(table: Table): number {
  return TABLES.indexOf(table) + 1;
}

export function toLayout(table: Table, { hasKey, isFiltered }: Shape): Layout {
  const names = hasKey ? ["id", "value"] : ["value"];
  return {
    id: layoutOf(table),
    table: { schema: null, name: table },
    columns: names.map((name) => ({
      ...{ name, type: { kind: "text" }, nativeType: "text", nullable: false, generated: false },
    })),
    key: hasKey ? [0] : [],
    filters: isFiltered ? [WHERE] : [],
  };
}

/** The table as a relay is to capture it. */
export function captureTable(table: Table, shape: Shape): CaptureTable {
  const { columns, filters, table: name } = toLayout(table, shape);
  const schema = {
    name,
    columns: columns.map((column) => ({ ...column, identity: false })),
    ...{ key: keyOf(shape), uniques: [], foreignKeys: [] },
  };
  const names = columns.map((column) => column.name);
  return { schema, columns: names, filters, takesNewColumns: true };
}

/** The table as an applier is to write it, under the same name. */
export function syncTable(table: Table, shape: Shape): SyncTable {
  const { columns, key, table: name } = toLayout(table, shape);
  const written = columns.map((column) => ({ name: column.name, type: column.type }));
  return {
    source: table,
    rule: {
      table,
      ...(shape.isFiltered && { where: WHERE }),
      ...(shape.mayFail && { onError: "park" }),
    },
    columns: columns.map((column) => column.name),
    types: columns.map(({ nativeType }) => nativeType),
    key: keyOf(shape),
    bound: { name, columns: written, key, parents: [], cascades: false, followed: false },
    fingerprint: "",
  };
}

function keyOf({ hasKey }: Shape): readonly string[] {
  return hasKey ? ["id"] : [];
}
