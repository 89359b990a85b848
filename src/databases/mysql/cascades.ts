import { TidemarkError } from "../../core/errors.ts";
import { sha256 } from "../../core/hash.ts";
import { quoteName } from "./identifiers.ts";
import type { Reference } from "./references.ts";

/**
 * What the actions of foreign keys do below the triggers.
 *
 * InnoDB carries out ON DELETE and ON UPDATE without firing triggers, so the tables from which an
 * action sets out get triggers of ours besides, that log what it will do (a deletion) or has done (a
 * change of the columns referred to) to captured tables, through any number of tables between.
 */
export interface CascadeStep {
  /** From the table where it began to the one it reaches: each refers to the one before. */
  readonly path: readonly Reference[];
  /** What becomes of the rows reached. */
  readonly effect: "deleted" | "nulled" | "rekeyed";
  /** The same through other tables; in the order in which rows must go, these are first. */
  readonly further: readonly CascadeStep[];
  /** The same action once more, where a table refers to itself. */
  readonly again: CascadeStep | null;
}

/** `DELETED`: a deletion again, when it is done (latecomers-sql.ts). */
export type CascadeEvent = "DELETE" | "DELETED" | "UPDATE";

/** InnoDB gives up at more. */
const MAX_DEPTH = 15;

/** A table from which actions reach a captured one. */
export interface CascadeOrigin {
  readonly table: string;
  readonly event: CascadeEvent;
  /** Hash over the foreign keys on the way: another one means that rows may have gone by unseen. */
  readonly paths: string;
}

/** What sets out when a row of `origin` is deleted, or its columns change; only what reaches `wanted`. */
export function stepsFrom(
  origin: string,
  event: CascadeEvent,
  references: readonly Reference[],
  wanted: ReadonlySet<string>,
): readonly CascadeStep[] {
  const steps =
    event === "UPDATE"
      ? rekeyings(origin, null, [], references)
      : deletions(origin, [], references);
  return steps.flatMap((step) => prune(step, wanted));
}

/** All steps of a tree in no particular order. */
export function flatten(steps: readonly CascadeStep[]): readonly CascadeStep[] {
  return steps.flatMap((step) => [
    step,
    ...flatten(step.further),
    ...flatten(step.again === null ? [] : [step.again]),
  ]);
}

/** Does it lead on to more rows? */
export function goesOn({ further, again }: CascadeStep): boolean {
  return further.length > 0 || again !== null;
}

export function reached(step: CascadeStep): string {
  return lastOf(step)?.child ?? "";
}

/** The foreign key that acts on the rows reached. */
export function lastOf({ path }: CascadeStep): Reference | undefined {
  return path.at(-1);
}

/** Where actions that reach this table set out. Throws TM-TABLE-UNSUPPORTED where they cannot be followed. */
export function originsOf(
  table: string,
  references: readonly Reference[],
): readonly CascadeOrigin[] {
  const wanted = new Set([table]);
  const ancestors = ancestorsOf(table, references);
  for (const reference of references) {
    const { child, outside, onDelete, onUpdate } = reference;
    const leadsHere = child === table || ancestors.includes(child);
    if (!outside || !leadsHere || !(actsOn(onDelete) || actsOn(onUpdate))) continue;
    throw unsupported(table, reference, "it refers to a table in another database");
  }
  return ancestors.flatMap((parent) =>
    (["DELETE", "DELETED", "UPDATE"] as const).flatMap((event): CascadeOrigin[] => {
      refuseUnclear(table, parent, references);
      const steps = flatten(stepsFrom(parent, event, references, wanted));
      const paths = steps.map(({ path, effect }) => JSON.stringify([effect, path]));
      if (paths.length === 0) return [];
      return [{ table: parent, event, paths: sha256("cascade", ...paths.sort()) }];
    }),
  );
}

/** Tables from which actions may lead here, in one step or more. */
function ancestorsOf(table: string, references: readonly Reference[]): readonly string[] {
  const found = new Set<string>();
  const open = [table];
  for (let child = open.pop(); child !== undefined; child = open.pop()) {
    for (const { child: from, parent, onDelete, onUpdate } of references) {
      if (from !== child || found.has(parent) || !(actsOn(onDelete) || actsOn(onUpdate))) continue;
      found.add(parent);
      open.push(parent);
    }
  }
  return [...found].sort();
}

export function actsOn(rule: string): boolean {
  return rule !== "RESTRICT" && rule !== "NO ACTION";
}

function deletions(
  parent: string,
  before: readonly Reference[],
  references: readonly Reference[],
): CascadeStep[] {
  return references
    .filter((each) => each.parent === parent && actsOn(each.onDelete))
    .flatMap((reference): CascadeStep[] => {
      const path = [...before, reference];
      if (reference.onDelete !== "CASCADE") {
        return [{ path, effect: "nulled", further: [], again: null }];
      }
      const isAgain = before.includes(reference);
      if (path.length > MAX_DEPTH || (!isAgain && isRoundabout(reference, before))) return [];
      const inner = deletions(reference.child, path, references);
      const itself = (step: CascadeStep) => step.path.at(-1) === reference;
      const again = inner.find(itself) ?? null;
      return [{ path, effect: "deleted", further: inner.filter((each) => !itself(each)), again }];
    });
}

/** `changed`: the columns of the parent that change; null: any may. */
function rekeyings(
  parent: string,
  changed: ReadonlySet<string> | null,
  before: readonly Reference[],
  references: readonly Reference[],
): CascadeStep[] {
  return (
    references
      .filter((each) => each.parent === parent && each.onUpdate === "CASCADE")
      .filter(({ pairs }) => changed === null || pairs.some(([, column]) => changed.has(column)))
      // A table that such an action comes back to refuses it.
      .filter((reference) => !isRoundabout(reference, before))
      .map((reference) => {
        const path = [...before, reference];
        const columns = new Set(reference.pairs.map(([column]) => column));
        const further = rekeyings(reference.child, columns, path, references);
        return { path, effect: "rekeyed", further, again: null };
      })
  );
}

/** Does it lead back to a table that the path has passed? A table may refer to itself only at once. */
function isRoundabout({ parent, child }: Reference, before: readonly Reference[]): boolean {
  if (parent === child) return before.some((each) => each.parent === child && each.child === child);
  return before.some((each) => each.parent === child || each.child === child);
}

function prune(step: CascadeStep, wanted: ReadonlySet<string>): CascadeStep[] {
  const further = step.further.flatMap((each) => prune(each, wanted));
  const again = step.again === null ? null : (prune(step.again, wanted)[0] ?? null);
  if (!wanted.has(reached(step)) && further.length === 0 && again === null) return [];
  return [{ ...step, further, again }];
}

/** What these triggers would log wrongly is refused by name. */
function refuseUnclear(table: string, parent: string, references: readonly Reference[]): void {
  const wanted = new Set([table]);
  const steps = flatten(stepsFrom(parent, "DELETE", references, wanted));
  const here = steps.filter((step) => reached(step) === table);
  const refuse = (step: CascadeStep | undefined, why: string) => {
    if (step !== undefined) throw unsupported(table, step.path.at(-1), why);
  };
  const nulled = here.filter(({ effect }) => effect === "nulled");
  const another = nulled.find((step) => lastOf(step) !== lastOf(nulled[0] ?? step));
  if (another !== undefined && nulled.some(({ path }) => new Set(path).size < path.length)) {
    const why = `a deletion from ${parent} sets several of its foreign keys to NULL at once, through a table that refers to itself`;
    refuse(another, why);
  }
  refuseShared(table, parent, references);
  for (const reference of references) {
    const { child, parent: referred, onUpdate, pairs } = reference;
    if (child === table && onUpdate === "SET NULL" && referred === parent) {
      throw unsupported(
        table,
        reference,
        "ON UPDATE SET NULL leaves no trace of the rows it met",
        NO_UPDATES,
      );
    }
    const touched = nulled.find(
      ({ path }) =>
        referred === table &&
        actsOn(onUpdate) &&
        path.at(-1)?.pairs.some(([column]) => pairs.some(([, other]) => other === column)),
    );
    refuse(touched, `${child} refers to a column that it sets to NULL, and would follow`);
  }
  const circle = references.find(
    (each) =>
      each.child === table &&
      each.onDelete === "CASCADE" &&
      each.parent !== table &&
      leadsTo(table, each.parent, references),
  );
  if (circle !== undefined) {
    throw unsupported(table, circle, "ON DELETE CASCADE leads in a circle through other tables");
  }
  refuseRestricted(table, parent, references);
}

function leadsTo(
  from: string,
  to: string,
  references: readonly Reference[],
  seen: ReadonlySet<string> = new Set(),
): boolean {
  if (from === to) return true;
  return references
    .filter((each) => each.parent === from && each.onDelete === "CASCADE" && !seen.has(each.child))
    .some((each) => leadsTo(each.child, to, references, new Set([...seen, from])));
}

/**
 * What has become NULL for one key refers to nothing by another that has the same column: what becomes of the row then depends
 * on which of them the server looks at first.
 */
function refuseShared(table: string, parent: string, references: readonly Reference[]): void {
  const all = new Set(references.map(({ child }) => child));
  const steps = flatten(stepsFrom(parent, "DELETE", references, all));
  const leading = steps.filter(({ path }) => path.some(({ child }) => child === table));
  const onTheWay = new Set(leading.flatMap(({ path }) => path.map(({ child }) => child)));
  for (const step of steps) {
    if (step.effect !== "nulled" || !onTheWay.has(reached(step))) continue;
    const lost = new Set(lastOf(step)?.pairs.map(([column]) => column));
    const other = steps.find(
      (each) =>
        reached(each) === reached(step) &&
        lastOf(each) !== lastOf(step) &&
        lastOf(each)?.pairs.some(([column]) => lost.has(column)),
    );
    if (other === undefined) continue;
    const why = `a deletion from ${parent} sets columns of it to NULL that ${lastOf(other)?.name} needs for the same deletion`;
    throw unsupported(table, lastOf(step), why, "columns of its own, or leave it out");
  }
}

/**
 * The foreign keys by which rows keep those of the origin, and those that a deletion there reaches, from going or from losing
 * their reference; each with the path to those it keeps.
 */
export function forbidding(
  origin: string,
  steps: readonly CascadeStep[],
  references: readonly Reference[],
): readonly (readonly [path: readonly Reference[], by: Reference])[] {
  const byParent = Map.groupBy(references, ({ parent }) => parent);
  return [[], ...steps.map(({ path }) => path)].flatMap((path: readonly Reference[]) => {
    const last = path.at(-1);
    const lost = new Set(last?.pairs.map(([column]) => column));
    const goes = last === undefined || last.onDelete === "CASCADE";
    const keeps = ({ onDelete, onUpdate, pairs }: Reference) =>
      goes
        ? !actsOn(onDelete)
        : !actsOn(onUpdate) && pairs.some(([, referred]) => lost.has(referred));
    const to = byParent.get(last?.child ?? origin) ?? [];
    return to.filter(keeps).map((by) => [path, by] as const);
  });
}

/**
 * Whether a row that both goes and forbids its going is an error depends on the order in which the
 * server looks at its keys; under DELETE IGNORE nothing tells.
 */
function refuseRestricted(table: string, parent: string, references: readonly Reference[]): void {
  const all = new Set(references.map(({ child }) => child));
  const steps = flatten(stepsFrom(parent, "DELETE", references, all));
  if (!steps.some((step) => reached(step) === table)) return;
  const met = new Set(steps.map((step) => reached(step)));
  const odd = forbidding(parent, steps, references).find(([, { child }]) => met.has(child));
  if (odd === undefined) return;
  const [path, by] = odd;
  const why = `a deletion from ${parent} reaches ${by.child}, which also forbids it by ${by.name}`;
  const nulls = path.at(-1)?.onDelete === "SET NULL" ? path.at(-1) : undefined;
  if (nulls !== undefined) throw unsupported(table, nulls, why);
  throw unsupported(table, by, why, "ON DELETE CASCADE, or leave it out");
}

/** Where deletions are no matter: they may cascade as before. */
export const NO_UPDATES = "ON UPDATE RESTRICT (ON DELETE may stay as it is)";

/** `actions`: what the foreign key may do instead. */
export function unsupported(
  table: string,
  reference: Reference | undefined,
  why: string,
  actions = "ON DELETE RESTRICT ON UPDATE RESTRICT",
): TidemarkError {
  const { child = table, name = "" } = reference ?? {};
  return new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `Table ${table} is changed by the foreign key ${name} of ${child} in a way that cannot be captured: ${why}.`,
    {
      fix: `ALTER TABLE ${quoteName(child)} DROP FOREIGN KEY ${quoteName(name)}, then add it again with ${actions}, and change the rows in the application`,
      details: { table, constraint: name },
    },
  );
}
