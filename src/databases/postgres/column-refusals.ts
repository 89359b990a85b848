// Columns of a source that cannot be captured.
import { TidemarkError } from "../../core/errors.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import type { UntypedColumn } from "./catalog.ts";

export function unsupportedType(table: TableName, column: UntypedColumn): TidemarkError {
  return new TidemarkError(
    "TM-TYPE-UNSUPPORTED",
    `Column ${column.name} of ${formatTable(table)} has the type ${column.nativeType}, which Tidemark cannot carry.`,
    {
      fix: `Leave the column out: except: [${column.name}]`,
      details: { table: formatTable(table), column: column.name, type: column.nativeType },
    },
  );
}

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
