import { formatCount } from "./format-count.ts";

/** So many an error names: what stands before and behind thousands of tables is still to be seen. */
const NAMED = 20;

/** All of them in one text; of more than {@link NAMED} the first ones, and how many there are beside. */
export function firstOf(all: readonly string[], between: string): string {
  // One more would take as much room as telling that there is one.
  if (all.length <= NAMED + 1) return all.join(between);
  const more = formatCount(all.length - NAMED);
  return `${all.slice(0, NAMED).join(between)}${between}and ${more} more`;
}
