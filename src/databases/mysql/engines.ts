import type { TidemarkError } from "../../core/errors.ts";
import { copyAnew, type Mend, wrongTable } from "../../core/many-tables.ts";
import { formatTable } from "../../core/table.ts";
import type { Flavour } from "./flavour.ts";
import { quoteName } from "./identifiers.ts";

/** Throws TM-TABLE-UNSUPPORTED. */
export function assertTransactions(
  { name, engine }: { readonly name: string; readonly engine: string | null },
  { product }: Flavour,
): void {
  if (engine === TRANSACTIONAL) return;
  const table = formatTable({ schema: null, name });
  throw wrongTable("TM-TABLE-UNSUPPORTED", table, {
    message: `${table} has the engine ${engine}, which has no transactions.`,
    mend: mendOf(product),
  });
}

/** Of a captured one; null where it has transactions, or none is told: of a view, or of a table that cannot be opened. */
export function lostTransactions(
  { name, engine }: { readonly name: string; readonly engine: string | null },
  { product }: Pick<Flavour, "product">,
): TidemarkError | null {
  if (engine === TRANSACTIONAL || engine === null) return null;
  const table = formatTable({ schema: null, name });
  return wrongTable("TM-CAPTURE-BROKEN", table, {
    message: `${table} was given the engine ${engine}, which has no transactions: what one has written and taken back, or a statement that failed half way, stands in the table and not in the log.`,
    mend: (tables) => `${mendOf(product)(tables)}; then ${copyAnew(tables)}`,
  });
}

const TRANSACTIONAL = "InnoDB";

function mendOf(product: Flavour["product"]): Mend {
  return product === "MariaDB" ? toInnoDb : toInnoDbWithZeroDates;
}

function toInnoDb(tables: readonly string[]): string {
  return tables.map((table) => `ALTER TABLE ${quoteName(table)} ENGINE = InnoDB`).join("; ");
}

/** With its usual sql_mode MySQL makes no table anew of which a zero date is a default. */
function toInnoDbWithZeroDates(tables: readonly string[]): string {
  return `SET sql_mode = ''; ${toInnoDb(tables)}`;
}
