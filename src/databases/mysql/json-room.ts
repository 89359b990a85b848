import { captureExpression } from "./captured-text.ts";
import type { Flavour } from "./flavour.ts";
import { quoteName } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";

export type Prefix = "OLD" | "NEW";

/** The types whose values may be so long: the others hold at most 64 KB, or in hex 34 MB. */
const LONG_TYPES =
  /^(longblob|(long|medium)text|json|geometry|point|linestring|polygon|multi\w+|geometrycollection)\b/i;
/** Three bytes of Unicode for one of a column's own, at most: what is shorter need not be counted as it will be. */
const MOST_BYTES_OF_ONE = 3;

/**
 * Does a row of a trigger hold what JSON_ARRAY has no array for? Null where none can. It is asked before: where MariaDB has
 * given NULL once, it gives it for all that the session writes to that table from there on.
 */
export function holdsTooLong(
  { columns }: StoredLayout,
  prefixes: readonly Prefix[],
  { longestInJson }: Pick<Flavour, "longestInJson">,
): string | null {
  if (longestInJson === null) return null;
  const long = columns.filter(({ nativeType }) => LONG_TYPES.test(nativeType));
  const found = prefixes.flatMap((prefix) =>
    long.map((column) => {
      const length = `OCTET_LENGTH(${prefix}.${quoteName(column.name)})`;
      const text = `OCTET_LENGTH(${captureExpression(column, `${prefix}.${quoteName(column.name)}`)})`;
      return `(${length} > ${Math.floor(longestInJson / MOST_BYTES_OF_ONE)} AND ${text} > ${longestInJson})`;
    }),
  );
  return found.length === 0 ? null : found.join(" OR ");
}

export function unlessSo(condition: string | null, work: string, otherwise: string): string {
  return condition === null ? work : `IF ${condition} THEN ${otherwise}; ELSE ${work}; END IF`;
}
