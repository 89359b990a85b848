import type { TableRule } from "./definition.ts";
import { TidemarkError } from "./errors.ts";
import { type ColumnSchema, formatTable, type TableSchema } from "./table.ts";

/**
 * Throws TM-TYPE-UNSUPPORTED when one of these columns, which are to be sent, is of a type that cannot be. `rule`: by which
 * the table goes. Who does as the error says must not come to send what that leaves out.
 */
export function refuseUnsupported(
  schema: TableSchema,
  sent: readonly ColumnSchema[],
  rule: TableRule,
): void {
  const found = sent.filter(({ unsupported }) => unsupported);
  const [first] = found;
  if (first === undefined) return;
  const table = formatTable(schema.name);
  throw new TidemarkError(
    "TM-TYPE-UNSUPPORTED",
    `Column ${first.name} of ${table} has the type ${first.nativeType}, which Tidemark cannot carry.`,
    {
      fix: wayOut(schema, found, rule),
      details: { table, column: first.name, type: first.nativeType },
    },
  );
}

function wayOut(
  { name, columns }: TableSchema,
  found: readonly ColumnSchema[],
  { table, columns: chosen, except = [], ...others }: TableRule,
): string {
  const entry = `the entry ${JSON.stringify(table)}`;
  if (chosen !== undefined) {
    return `Take it out of the \`columns\` of ${entry}: ${found.map((each) => each.name).join(", ")}`;
  }
  const left = columns.filter((each) => except.includes(each.name) || found.includes(each));
  const list = left.map((each) => each.name).join(", ");
  const besides = Object.values(others).some((value) => value !== undefined)
    ? `, and what else ${entry} says`
    : "";
  return `Leave it out, by the config: { table: ${JSON.stringify(formatTable(name))}, except: [${list}] }${besides}`;
}
