/** Table patterns: `public.orders`, `public.*`, `order_?`. `*` and `?` never cross a dot. */

export function isGlob(pattern: string): boolean {
  return /[*?]/.test(pattern);
}

/**
 * May one table match both? A pattern without a schema is compared by the last segment only: how a
 * database without schemas spells a table says nothing about the schema it came from.
 */
export function mayMeet(a: string, b: string): boolean {
  const left = a.split(".");
  const right = b.split(".");
  const segments = Math.min(left.length, right.length);
  return left
    .slice(-segments)
    .every((segment, index) => segmentsMeet(segment, right.slice(-segments)[index] ?? ""));
}

/** Is there a text that both globs match? Walks both at once; `*` takes nothing or one more character. */
function segmentsMeet(a: string, b: string): boolean {
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
