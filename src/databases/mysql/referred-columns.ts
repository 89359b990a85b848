import { flatten, reached, stepsFrom } from "./cascades.ts";
import type { StoredLayout } from "./layouts.ts";
import type { Reference } from "./references.ts";
import type { TableFacts } from "./table-facts.ts";
import { isKey } from "./target-plan.ts";
import { originTables } from "./triggers.ts";

/** A table, and the foreign key by which changes reach it unseen. */
interface Lost {
  readonly table: string;
  readonly reference: Reference;
  readonly why: string;
}

/**
 * What a change of columns carries on to must be told from what stood there: so they must be unique, and
 * never become NULL, which takes the reference from the rows below as well. Gives the tables of which that is not so.
 * `parents`: at least the tables from which actions reach these.
 */
export function lostFrom(
  layouts: readonly StoredLayout[],
  references: readonly Reference[],
  parents: ReadonlyMap<string, TableFacts>,
): readonly Lost[] {
  const wanted = new Set(layouts.map(({ table }) => table.name));
  const found = new Map<string, Lost>();
  for (const parent of originTables(layouts)) {
    for (const step of flatten(stepsFrom(parent, "UPDATE", references, wanted))) {
      for (const reference of step.path) {
        const facts = parents.get(reference.parent);
        const why = facts === undefined ? null : whyLost(reference, facts);
        const table = reached(step);
        if (why !== null && !found.has(table)) found.set(table, { table, reference, why });
      }
    }
  }
  return [...found.values()];
}

function whyLost({ parent, pairs }: Reference, { uniques, columns }: TableFacts): string | null {
  const referred = pairs.map(([, column]) => column);
  if (!uniques.some((index) => isKey(index, referred))) {
    return "the columns it refers to are not unique";
  }
  const open = columns.find(({ name, nullable }) => nullable && referred.includes(name));
  if (open === undefined) return null;
  return `ON UPDATE CASCADE leaves no trace of the rows it met when ${open.name} of ${parent} becomes NULL`;
}
