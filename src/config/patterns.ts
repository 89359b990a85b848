/**
 * Table patterns: `public.orders`, `public.*`, `order_?`. `*` and `?` never cross the dot between schema
 * and table; a dot within a name is a character like any other.
 */
import { formatTable, type TableName } from "../core/table.ts";

export function isGlob(pattern: string): boolean {
  return /[*?]/.test(pattern);
}

/** Does a table's name fit? Without a dot a pattern means the name in any schema, so `*` alone is every table. */
export function matcher(pattern: string): (table: TableName) => boolean {
  const parts = [...pattern.matchAll(/\./g)].map(({ index }) => ({
    schema: glob(pattern.slice(0, index)),
    name: glob(pattern.slice(index + 1)),
  }));
  const whole = glob(pattern);
  return (table) => {
    const { schema, name } = table;
    if (formatTable(table) === pattern) return true;
    if (schema === null || parts.length === 0) return whole.test(name);
    return parts.some((part) => part.schema.test(schema) && part.name.test(name));
  };
}

/** As {@link matcher}; a glob leaves out what any of some other patterns matches. A name in full stands all the same. */
export function matcherExcept(
  pattern: string,
  except: readonly string[] = [],
): (table: TableName) => boolean {
  const matches = matcher(pattern);
  if (!isGlob(pattern)) return matches;
  const excepted = except.map(matcher);
  return (table) => matches(table) && !excepted.some((each) => each(table));
}

/**
 * Does a pattern surely match all that another one can? Where the first holds no `?`, its stars alone can stand for the
 * other's stars and question marks, so these are taken for characters like any other.
 */
export function covers(whole: string, part: string): boolean {
  if (whole === part) return true;
  if (isGlob(part) && whole.includes("?")) return false;
  const dot = part.indexOf(".");
  const schema = dot < 0 ? null : part.slice(0, dot);
  return matcher(whole)({ schema, name: part.slice(dot + 1) });
}

function glob(pattern: string): RegExp {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
  return new RegExp(`^${source.replaceAll("?", ".")}$`, "su");
}

/**
 * May one table match both? A pattern without a schema is compared with what follows the other's schema: how a
 * database without schemas spells a table says nothing about the schema it came from.
 */
export function mayMeet(a: string, b: string): boolean {
  if (a.includes(".") === b.includes(".")) return textsMeet(a, b);
  return withoutSchemaMeets(a, b) || withoutSchemaMeets(b, a);
}

function withoutSchemaMeets(plain: string, qualified: string): boolean {
  const dot = qualified.indexOf(".");
  return !plain.includes(".") && dot >= 0 && textsMeet(plain, qualified.slice(dot + 1));
}

/** Is there a text that both globs match? Walks both at once; `*` takes nothing or one more character. */
function textsMeet(a: string, b: string): boolean {
  const known = new Map<string, boolean>();
  const meet = (i: number, j: number): boolean => {
    const key = `${i},${j}`;
    const seen = known.get(key);
    if (seen !== undefined) return seen;
    known.set(key, false);
    const result = step(i, j);
    known.set(key, result);
    return result;
  };
  const step = (i: number, j: number): boolean => {
    if (i === a.length && j === b.length) return true;
    const left = a[i];
    const right = b[j];
    if (left === "*") return meet(i + 1, j) || (j < b.length && meet(i, j + 1));
    if (right === "*") return meet(i, j + 1) || (i < a.length && meet(i + 1, j));
    if (left === undefined || right === undefined) return false;
    return (left === right || left === "?" || right === "?") && meet(i + 1, j + 1);
  };
  return meet(0, 0);
}
