import { TidemarkError } from "./errors.ts";
import { type ColumnSchema, formatTable, type TableName } from "./table.ts";

/** Throws TM-TYPE-UNSUPPORTED when one of these columns, which are to be sent, is of a type that cannot be. */
export function refuseUnsupported(name: TableName, columns: readonly ColumnSchema[]): void {
  const found = columns.filter(({ unsupported }) => unsupported);
  const [first] = found;
  if (first === undefined) return;
  const table = formatTable(name);
  const names = found.map((column) => column.name).join(", ");
  throw new TidemarkError(
    "TM-TYPE-UNSUPPORTED",
    `Column ${first.name} of ${table} has the type ${first.nativeType}, which Tidemark cannot carry.`,
    {
      fix: `Leave it out, by the config: { table: ${JSON.stringify(table)}, except: [${names}] }`,
      details: { table, column: first.name, type: first.nativeType },
    },
  );
}
