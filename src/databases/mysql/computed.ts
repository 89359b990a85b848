import type { TableFacts } from "./table-facts.ts";

/** What generated columns are computed by, by their names. */
export type Computed = Readonly<Record<string, string>>;

/** Of those of these columns that are generated, as the table stands now. */
export function computedOf(names: readonly string[], { columns }: TableFacts): Computed {
  return Object.fromEntries(
    columns.flatMap(({ name, expression }) =>
      expression !== null && names.includes(name) ? [[name, foldNames(expression)]] : [],
    ),
  );
}

/** MySQL prints a name as it was typed, and once the table is altered as the column has it. */
function foldNames(expression: string): string {
  return expression.replace(/`(?:[^`]|``)+`/g, (name) => name.toLowerCase());
}
