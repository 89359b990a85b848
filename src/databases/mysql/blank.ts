import type { BoundColumn, BoundTable } from "../../core/target.ts";
import { quoteName } from "./identifiers.ts";
import { PREFIX } from "./ours.ts";
import type { TableFacts } from "./table-facts.ts";
import { KIND } from "./types.ts";

/**
 * A temporary table of one row that holds the empty value of an ENUM (index 0, which a server that is not
 * strict writes for a wrong label). Strict mode takes it from a column only, from no literal.
 */
export const BLANK = quoteName(`${PREFIX}blank`);
const BLANK_COLUMN = quoteName(`${PREFIX}blank_value`);
export const BLANK_VALUE = `${BLANK}.${BLANK_COLUMN}`;

/** IGNORE gives a warning for what is wanted here. */
export const MAKE_BLANK: readonly string[] = [
  `CREATE TEMPORARY TABLE IF NOT EXISTS ${BLANK} (${BLANK_COLUMN} ENUM('-') PRIMARY KEY) ENGINE = InnoDB`,
  `DELETE FROM ${BLANK}`,
  `INSERT IGNORE INTO ${BLANK} VALUES (0)`,
];

const MAY_BE_BLANK = new WeakSet<BoundColumn>();

/** From a server of our own kind an empty text that is none of the labels is the empty value; from any other it is wrong. */
export function mayBeBlank(column: BoundColumn, sourceKind: string): void {
  const { type } = column;
  if (sourceKind !== KIND || type.kind !== "enum" || type.values.includes("")) return;
  MAY_BE_BLANK.add(column);
}

/** Indexes of the columns in which an empty text is the empty value of an ENUM. */
export function blankColumns({ columns }: BoundTable, facts: TableFacts): readonly number[] {
  return columns.flatMap((column, index) => {
    const standing = facts.columns.find(({ name }) => name === column.name);
    return MAY_BE_BLANK.has(column) && standing?.dataType === "enum" ? [index] : [];
  });
}
