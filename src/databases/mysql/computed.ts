import { quoteName } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import type { TableFacts } from "./table-facts.ts";

/** By column: how a generated one is computed; of one that it is computed from, what it is. */
export type Computed = Readonly<Record<string, string>>;

/** Of all from which the server computes the generated columns of these filters, as the table stands now. */
export function computedOf(
  layout: Pick<StoredLayout, "columns" | "filterColumns">,
  { columns }: TableFacts,
): Computed {
  const expressions = new Map(
    columns.flatMap(({ name, expression }) =>
      expression === null ? [] : [[name, foldNames(expression)] as const],
    ),
  );
  if (expressions.size === 0) return {};
  const reached = new Set(layout.filterColumns);
  // Those that are added are visited as well.
  for (const name of reached) {
    for (const each of columns) {
      if (expressions.get(name)?.includes(foldNames(quoteName(each.name)))) reached.add(each.name);
    }
  }
  // What these are is in the signature.
  const signed = new Set([...layout.columns.map(({ name }) => name), ...layout.filterColumns]);
  const computed: Record<string, string> = {};
  for (const { name, columnType, collation } of columns.filter((each) => reached.has(each.name))) {
    const what = signed.has(name) ? [] : [columnType, collation];
    const told = [...what, expressions.get(name)].filter((each) => each != null);
    if (told.length > 0) computed[name] = told.join(" ");
  }
  return computed;
}

/** MySQL prints a name as it was typed, and once the table is altered as the column has it. */
function foldNames(expression: string): string {
  return expression.replace(/`(?:[^`]|``)+`/g, (name) => name.toLowerCase());
}
