import type { DatabaseSync, StatementSync } from "node:sqlite";

export type Database = DatabaseSync;
export type Statement = StatementSync;
/** What a statement can be given. Numbers are bound as REAL, BigInts as INTEGER. */
export type Bindable = null | bigint | number | string | Uint8Array;

/** Rows as arrays where this Node can give them (24, late 22), else by the order of the columns. */
export function* iterateArrays(
  statement: Statement,
  params: readonly Bindable[],
): Generator<Bindable[]> {
  if (typeof statement.setReturnArrays === "function") {
    statement.setReturnArrays(true);
    yield* statement.iterate(...params) as unknown as Iterable<Bindable[]>;
    return;
  }
  for (const row of statement.iterate(...params)) yield Object.values(row as object) as Bindable[];
}
