import { keyNames } from "../../core/change.ts";
import { type CascadeStep, lastOf, reached } from "./cascades.ts";
import { quoteName } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { ALL_ROWS, fromPath, type Hold, type Reference } from "./references.ts";

/**
 * Rows of which one deletion sets several foreign keys to NULL, as `created_by` and `updated_by`. Such a row is logged once,
 * by the first of them, as all of them leave it.
 *
 * No column is in two of them: see refuseShared in cascades.ts.
 */
export interface Meeting {
  readonly step: CascadeStep;
  /** All steps of the same deletion. */
  readonly all: readonly CascadeStep[];
  readonly hold: Hold;
}

/** What the column holds when the deletion is done. `row`: the name of the table of the rows met. */
export function leftIn(column: string, row: string, meeting: Meeting): string {
  const value = `${row}.${quoteName(column)}`;
  if (isIn(column, meeting.step)) return "NULL";
  const others = beside(meeting).filter((each) => isIn(column, each));
  if (others.length === 0) return value;
  return `IF(${others.map((each) => meets(each, row, meeting)).join(" OR ")}, NULL, ${value})`;
}

/** For the end of a condition: not what an earlier one has met. */
export function unlessEarlier(row: string, meeting: Meeting): string {
  const { step, all } = meeting;
  const first = all.findIndex((each) => lastOf(each) === lastOf(step));
  const earlier = beside(meeting).filter((each) => all.indexOf(each) < first);
  return earlier.map((each) => ` AND (${meets(each, row, meeting)}) IS NOT TRUE`).join("");
}

/**
 * Do these steps change the key of the table by the same change of its one parent, each another part of it? As in a table
 * between rows of one other (followers). A row is then met by one of them only: one that refers to the same row by both the
 * server keeps from following, by an error, since one index holds both (MariaDB and MySQL alike).
 */
export function followTogether(steps: readonly CascadeStep[], layout: StoredLayout): boolean {
  const key = new Set(keyNames(layout));
  const referred = steps.map((step) => lastOf(step)?.pairs.map(([, column]) => column));
  const columns = steps.flatMap((step) => lastOf(step)?.pairs.map(([column]) => column) ?? []);
  return (
    steps.every(({ path, effect }) => path.length === 1 && effect === "rekeyed") &&
    new Set(referred.map((names) => JSON.stringify(names))).size === 1 &&
    new Set(columns).size === columns.length &&
    columns.every((column) => key.has(column))
  );
}

/** Those that set rows of the same table to NULL by other foreign keys. */
function beside({ step, all }: Meeting): readonly CascadeStep[] {
  return all.filter(
    (each) =>
      each.effect === "nulled" && reached(each) === reached(step) && lastOf(each) !== lastOf(step),
  );
}

function isIn(column: string, step: CascadeStep): boolean {
  return lastOf(step)?.pairs.some(([name]) => name === column) ?? false;
}

function meets({ path }: CascadeStep, row: string, { hold }: Meeting): string {
  const above: readonly Reference[] = path.slice(0, -1);
  const pairs = path.at(-1)?.pairs ?? [];
  const value = (column: string) => `${row}.${quoteName(column)}`;
  if (above.length === 0) {
    const equal = pairs.map(
      ([column, referred]) =>
        `${value(column)} = ${hold(`OLD.${quoteName(referred)}`, path[0]?.child, column)}`,
    );
    return equal.join(" AND ");
  }
  const columns = pairs.map(([column]) => value(column));
  const referred = pairs.map(([, column]) => `above${above.length}.${quoteName(column)}`);
  // Read apart, from the deletion down: MySQL would look up what each row refers to, and wait for whoever changes that.
  const rows = `SELECT ${referred.join(", ")} FROM ${fromPath(above, "OLD", hold, "above")} LIMIT ${ALL_ROWS} LOCK IN SHARE MODE`;
  return `(${columns.join(", ")}) IN (SELECT * FROM (${rows}) AS above)`;
}
