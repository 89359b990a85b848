import { COPY_ANEW } from "./altered.ts";
import { TidemarkError } from "./errors.ts";

/** A table of ours that another version has made. */
export function madeByAnother(
  database: string,
  { table, columns, known }: Readonly<Record<"table" | "columns" | "known", string>>,
): TidemarkError {
  return new TidemarkError(
    "TM-LOG-VERSION",
    `The table ${table} in database "${database}" was made by another version of Tidemark: it has the columns ${columns}, not ${known}.`,
    { fix: `Go on with the version that made it. Or: ${COPY_ANEW}` },
  );
}
