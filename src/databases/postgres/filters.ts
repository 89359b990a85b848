import { TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import { type CaptureSpec, filterText, rowAlias } from "./capture-row.ts";
import type { Connection } from "./connection.ts";
import { sqlState } from "./errors.ts";
import { quoteList, quoteTable } from "./identifiers.ts";

/** A condition that cannot be evaluated would break the application's writes. */
export async function assertFilters(connection: Connection, spec: CaptureSpec): Promise<void> {
  if (spec.filters.length === 0) return;
  const alias = rowAlias(spec);
  const virtual = await virtualColumns(connection, spec.oid);
  const stored = spec.liveColumns.filter((name) => !virtual.includes(name));
  for (const filter of spec.filters) {
    const evaluate = (from: string) =>
      connection.rows(`SELECT ${filterText(filter)} FROM ${from} ${alias} LIMIT 0`);
    const table = quoteTable(spec.table);
    await evaluate(table).catch((error: unknown) => {
      if (!isInvalid(error)) throw error;
      throw invalidFilter(spec, filter, error instanceof Error ? error.message : "", error);
    });
    if (virtual.length === 0) continue;
    await evaluate(`(SELECT ${quoteList(stored)} FROM ${table})`).catch((error: unknown) => {
      if (!isInvalid(error)) throw error;
      const names = virtual.join(", ");
      const why = `it speaks of a column that is computed when it is read (VIRTUAL: ${names}), which is empty to a trigger.`;
      const fix = "Write what the column computes into the condition, or make it a STORED one.";
      throw invalidFilter(spec, filter, why, error, fix);
    });
  }
}

/** PostgreSQL 18 and later. */
async function virtualColumns(connection: Connection, oid: string): Promise<readonly string[]> {
  const rows = await connection.rows(
    "SELECT attname FROM pg_attribute WHERE attrelid = $1::oid AND attgenerated = 'v' AND NOT attisdropped",
    [oid],
  );
  return rows.map(([name]) => name as string);
}

/** No row is read: a value that is refused (class 22) is one that the condition itself names. */
function isInvalid(error: unknown): boolean {
  return /^(22|42)/.test(sqlState(error)) && sqlState(error) !== "42501";
}

function invalidFilter(
  spec: CaptureSpec,
  filter: string,
  why: string,
  cause: unknown,
  fix?: string,
): TidemarkError {
  const table = formatTable(spec.table);
  return new TidemarkError(
    "TM-CONFIG-INVALID",
    `The condition "${filter}" of table ${table} is not valid: ${why}`,
    { cause, details: { table }, ...(fix === undefined ? {} : { fix }) },
  );
}
