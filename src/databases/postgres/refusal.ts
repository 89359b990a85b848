import { isMixed } from "../../core/column-type.ts";
import { TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import type { BoundTable } from "../../core/target.ts";
import { isTagged, ownText, type Row } from "../../core/value.ts";
import type { WritableTable } from "./apply-sql.ts";
import type { Connection } from "./connection.ts";
import { NO_EQUIVALENT, sqlState } from "./errors.ts";
import { formatArrayText } from "./row-text.ts";
import { toNative } from "./types.ts";

/** Values of a storage class of their own have no place in a typed column, nor bytes that are no text. */
export function assertUntagged(table: BoundTable, rows: readonly Row[]): void {
  for (const row of rows) {
    for (let i = 0; i < row.length; i++) {
      const value = row[i] ?? null;
      if (value === null || !isTagged(value)) continue;
      const column = table.columns[i];
      if (ownText(value) === null)
        throw refusal(table, column?.name ?? null, "is no valid Unicode");
      if (column !== undefined && isMixed(column.type)) continue;
      throw refusal(
        table,
        column?.name ?? null,
        `is of storage class ${value[0]}, not of the column's type`,
      );
    }
  }
}

/**
 * Names the column whose value was refused: the server names none. Casts each column alone, on a
 * session whose transaction is over.
 */
export async function findRefused(
  connection: Connection,
  table: WritableTable,
  rows: readonly Row[],
  cause: TidemarkError,
): Promise<TidemarkError> {
  if (sqlState(cause) === TOO_LARGE) return tooLarge(table.bound, cause);
  const { columns } = table.bound;
  const isOfName = mayNameNothing(table, cause);
  for (let i = 0; i < columns.length; i++) {
    const { name, type } = columns[i] as (typeof columns)[number];
    const values = rows.map((row) => toNative(row[i] ?? null, type));
    // As a text is cast to it, what a regclass may hold (`-`, the number of what is gone) would be names.
    const elements = table.casts[i] === "regclass" ? "regclass" : "text";
    const refused = await connection
      .rows(`SELECT count(v::${table.casts[i]}) FROM unnest($1::${elements}[]) AS u(v)`, [
        formatArrayText(values),
      ])
      .then(() => false)
      .catch(() => true);
    if (refused && isOfName)
      return refusal(table.bound, name, NAMES_NOTHING, { cause, fix: MAKE_IT });
    if (refused) {
      const why =
        sqlState(cause) === NO_EQUIVALENT
          ? "has a character that the encoding of the target's database lacks"
          : `is no ${table.casts[i]}`;
      // An enum of the same name, with labels of its own; which one is a row's value, that no error tells.
      const isLabel = type.kind === "enum" && sqlState(cause) === INVALID_TEXT;
      const fix = `ALTER TYPE ${table.casts[i]} ADD VALUE '…', with the label that it lacks; or map the value with a transform, or leave the column out. Then start again.`;
      return refusal(table.bound, name, why, isLabel ? { cause, fix } : { cause });
    }
    const limit = table.limits[i];
    if (
      limit !== undefined &&
      values.some((value) => value !== null && [...value].length > limit)
    ) {
      return refusal(table.bound, name, `is longer than ${limit} characters`, { cause });
    }
  }
  // What a trigger there names and does not find.
  if (isOfName) return cause;
  return refusal(table.bound, null, "does not fit its column", { cause });
}

/** undefined_table, undefined_function, ambiguous_function, undefined_object, invalid_schema_name, invalid_name */
const UNNAMED: ReadonlySet<string> = new Set([
  ...["42P01", "42883", "42725", "42704", "3F000", "42602"],
]);
const NAMES_NOTHING = "names an object that the target's database lacks";
const MAKE_IT =
  "Create it at the target, map the value with a transform, or leave the column out. Then start again.";

/** A regclass, a regrole and so on are names, which the server looks up. */
export function mayNameNothing(
  { casts }: Pick<WritableTable, "casts">,
  cause: TidemarkError,
): boolean {
  return UNNAMED.has(sqlState(cause)) && casts.some((cast) => cast.startsWith("reg"));
}

/** invalid_text_representation */
const INVALID_TEXT = "22P02";

/** program_limit_exceeded: all values fit their columns, and the row no page, or no page of an index. */
const TOO_LARGE = "54000";

/** The server's words name sizes, and an index; no value. */
function tooLarge({ name }: BoundTable, cause: TidemarkError): TidemarkError {
  const said = cause.cause instanceof Error ? cause.cause.message : cause.message;
  const table = formatTable(name);
  return new TidemarkError("TM-VALUE-REFUSED", `A row of ${table} is too large: ${said}.`, {
    fix: "Of an index: drop it at the target, or make it over a hash of the column. Of the row: leave columns out of the sync with `except`, or make the row smaller at the source. Then start again.",
    details: { table, ...cause.details },
    cause,
  });
}

function refusal(
  table: BoundTable,
  column: string | null,
  why: string,
  {
    cause,
    fix = "Change the column's type at the target, map the value with a transform, or leave the column out.",
  }: { readonly cause?: TidemarkError; readonly fix?: string } = {},
): TidemarkError {
  const name = formatTable(table.name);
  const where = column === null ? name : `${name}, column ${column}`;
  return new TidemarkError("TM-VALUE-REFUSED", `A value for ${where} ${why}.`, {
    fix,
    details: { table: name, ...(column === null ? {} : { column }), ...cause?.details },
    ...(cause ? { cause } : {}),
  });
}
