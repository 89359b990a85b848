import { wrongTable } from "../../core/many-tables.ts";
import { formatTable } from "../../core/table.ts";
import type { Flavour } from "./flavour.ts";
import { quoteName } from "./identifiers.ts";

/** Throws TM-TABLE-UNSUPPORTED. */
export function assertTransactions(
  { name, engine }: { readonly name: string; readonly engine: string | null },
  { product }: Flavour,
): void {
  if (engine === "InnoDB") return;
  const table = formatTable({ schema: null, name });
  throw wrongTable("TM-TABLE-UNSUPPORTED", table, {
    message: `${table} has the engine ${engine}, which has no transactions.`,
    mend: product === "MariaDB" ? toInnoDb : toInnoDbWithZeroDates,
  });
}

function toInnoDb(tables: readonly string[]): string {
  return tables.map((table) => `ALTER TABLE ${quoteName(table)} ENGINE = InnoDB`).join("; ");
}

/** With its usual sql_mode MySQL makes no table anew of which a zero date is a default. */
function toInnoDbWithZeroDates(tables: readonly string[]): string {
  return `SET sql_mode = ''; ${toInnoDb(tables)}`;
}
