import { type CascadeStep, lastOf, reached } from "./cascades.ts";
import { quoteName } from "./identifiers.ts";
import { fromPath, type Hold, type Reference } from "./references.ts";

/**
 * Rows of which a deletion sets foreign keys to NULL, one or several (`created_by` and `updated_by`): a row that is met
 * by several is logged once, by the first of them, without any of its references to what goes.
 *
 * No column is in two of them: see refuseShared in cascades.ts.
 */
export interface Nulling {
  readonly step: CascadeStep;
  /** All steps of the deletion that set references to NULL. */
  readonly all: readonly CascadeStep[];
  readonly hold: Hold;
}

/** What the column holds when the deletion is done. `row`: the name of the table of the rows met. */
export function leftIn(column: string, row: string, nulling: Nulling): string {
  const { step } = nulling;
  const value = `${row}.${quoteName(column)}`;
  const isIn = (reference: Reference | undefined) =>
    reference?.pairs.some(([name]) => name === column) ?? false;
  if (isIn(lastOf(step))) return "NULL";
  const others = beside(nulling).filter((each) => isIn(lastOf(each)));
  if (others.length === 0) return value;
  return `IF(${others.map((each) => meets(each, row, nulling)).join(" OR ")}, NULL, ${value})`;
}

/** For the end of a condition: not what an earlier one has met. */
export function unlessEarlier(row: string, nulling: Nulling): string {
  const { step, all } = nulling;
  const first = all.findIndex((each) => lastOf(each) === lastOf(step));
  const earlier = beside(nulling).filter((each) => all.indexOf(each) < first);
  return earlier.map((each) => ` AND (${meets(each, row, nulling)}) IS NOT TRUE`).join("");
}

/** The steps to the same table by other foreign keys. */
function beside({ step, all }: Nulling): readonly CascadeStep[] {
  return all.filter((each) => reached(each) === reached(step) && lastOf(each) !== lastOf(step));
}

function meets({ path }: CascadeStep, row: string, { hold }: Nulling): string {
  const above = path.slice(0, -1);
  const found = (path.at(-1)?.pairs ?? []).map(([column, referred]) => {
    const value = `${row}.${quoteName(column)}`;
    if (above.length > 0) return `${value} = above${above.length}.${quoteName(referred)}`;
    return `${value} = ${hold(`OLD.${quoteName(referred)}`, path[0]?.child, column)}`;
  });
  if (above.length === 0) return found.join(" AND ");
  const rows = fromPath(above, "OLD", hold, "above");
  return `EXISTS (SELECT 1 FROM ${rows} AND ${found.join(" AND ")} LOCK IN SHARE MODE)`;
}
