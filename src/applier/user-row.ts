import type { RowFilter, RowObject } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import type { BoundTable } from "../core/target.ts";
import { isTagged, type Row, UNCHANGED, type Value } from "../core/value.ts";
import type { SyncTable } from "./mapping.ts";

/**
 * The row as the config's own functions leave it; null when they leave it out. Throws
 * TM-TRANSFORM-FAILED, whatever a function does.
 */
export function userRow(table: SyncTable, row: Row): Row | null {
  const { filter, transform } = table.rule;
  if (filter === undefined && transform === undefined) return row;
  const object = toObject(table.bound, row);
  if (filter !== undefined && !passes(table, filter, object)) return null;
  if (transform === undefined) return row;
  const given = called(table, "transform", () => transform(handedOut(table, object)));
  return given === null ? null : fromObject(table, given, object);
}

/**
 * Null is a no, and so is "": `row.a && row.a > "x"` gives them. Other text would be a yes even where it is "false", and nothing
 * a no where a `return` is missing.
 */
function passes(table: SyncTable, filter: RowFilter, object: RowObject): boolean {
  const ask = (row: RowObject): unknown => filter(handedOut(table, row));
  const answer = called(table, "filter", () => ask(object));
  if (typeof answer === "boolean") return answer;
  if (answer === null || answer === "") return false;
  if (isThenable(answer)) throw failed(table, "filter gave a promise: it must not be async");
  if (answer === undefined && isOfNull(ask, object)) return false;
  const given = answer === undefined ? "nothing" : `a ${typeof answer}`;
  throw failed(table, `filter gave ${given} (true or false is wanted)`);
}

/** Does it give nothing only of a null, as `row.a?.startsWith("x")` does? Asked of text in its place, a missing `return` gives nothing, too. */
function isOfNull(ask: (row: RowObject) => unknown, object: RowObject): boolean {
  const entries = Object.entries(object).map(([name, value]) => [name, value ?? ""] as const);
  try {
    return ask(Object.fromEntries(entries)) !== undefined;
  } catch {
    return true;
  }
}

/** A copy, which the function may change. A column that is asked for by a name that it no longer has is not taken for one without a value. */
function handedOut(table: SyncTable, object: RowObject): RowObject {
  const row = { ...object };
  for (const [old, renamed] of Object.entries(table.rule.rename ?? {})) {
    if (old in row) continue;
    const get = () => {
      throw new ReferenceError(`column "${old}" is renamed: functions know it as "${renamed}"`);
    };
    Object.defineProperty(row, old, { get, configurable: true });
  }
  return row;
}

function called<T>(table: SyncTable, name: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw failed(table, `${name} threw an error`, cause);
  }
}

/** Is it a promise? Its own failure is not told beside that: nobody would catch it. */
function isThenable(value: unknown): boolean {
  if (value instanceof Promise) value.catch(() => {});
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

function fromObject(table: SyncTable, given: unknown, original: RowObject): Row {
  const { bound } = table;
  const refuse = (what: string) => failed(table, `transform ${what}`);
  if (given === undefined) throw refuse("gave nothing (a row is wanted, or null to leave it out)");
  if (isThenable(given)) throw refuse("gave a promise: it must not be async");
  if (typeof given !== "object" || given === null) throw refuse(`gave a ${typeof given}, no row`);
  const row = given as Readonly<Record<string, unknown>>;
  for (const index of bound.key) {
    const name = bound.columns[index]?.name ?? "";
    // A delete brings nothing but the key: the row could never be found again.
    if (row[name] !== original[name]) throw refuse(`changed the key column "${name}"`);
  }
  const names = new Set(bound.columns.map(({ name }) => name));
  const unknown = Object.keys(row).find((name) => !names.has(name));
  if (unknown !== undefined) throw refuse(`gave a column "${unknown}"${whyNot(table, unknown)}`);
  return bound.columns.map(({ name }) => {
    const value = row[name];
    if (value === null || typeof value === "string") return value;
    const what = value === undefined ? "left out" : `gave a ${typeof value} for`;
    throw refuse(`${what} the column "${name}" (text or null is wanted)`);
  });
}

function whyNot({ rule }: SyncTable, column: string): string {
  const renamed = new Map(Object.entries(rule.rename ?? {})).get(column);
  if (renamed === undefined) return " that the sync does not have";
  return `: it is renamed, and functions know it as "${renamed}"`;
}

function failed({ source }: SyncTable, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError("TM-TRANSFORM-FAILED", `${source}: its ${what}.`, {
    fix: "Mend it in the config and start again: the change is kept and will be tried again. To go on without such rows, set onError: park.",
    cause,
    details: { table: source },
  });
}

/** Names for indexes, for user code: columns by their names at the target. */
export function toObject(table: BoundTable, row: Row): RowObject {
  const entries = table.columns.map(
    ({ name }, index) => [name, toText(row[index] ?? null)] as const,
  );
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as RowObject;
}

/** The text of a value; undefined when it was not captured. */
function toText(value: Value): string | null | undefined {
  if (value === UNCHANGED) return undefined;
  return isTagged(value) ? value[1] : value;
}
