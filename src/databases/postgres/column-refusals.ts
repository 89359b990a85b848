// Columns of a source that cannot be its key.
import { TidemarkError } from "../../core/errors.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import type { UntypedColumn } from "./catalog.ts";

/** Triggers look for rows by their key: the application's writes would fail, or a function that is another's run with our rights. */
export function ambiguousKey(table: TableName, column: UntypedColumn): TidemarkError {
  return new TidemarkError(
    "TM-TYPE-UNSUPPORTED",
    `The key of ${formatTable(table)} has the column ${column.name} of the type ${column.nativeType}, whose values the server compares otherwise, or not at all ("operator is not unique"), as long as there is an implicit ${column.ambiguous}.`,
    {
      fix: `DROP ${column.ambiguous}; where it is needed, make it again AS ASSIGNMENT.`,
      details: { table: formatTable(table), column: column.name, type: column.nativeType },
    },
  );
}
