import { TidemarkError } from "./errors.ts";
import type { CaptureTable } from "./source.ts";

/** Columns of a captured table are no longer what they were; `what`, for people, tells of each. */
export function columnsAltered(table: string, what: string): TidemarkError {
  return new TidemarkError("TM-SCHEMA-DRIFT", `${table} was altered: ${what}.`, {
    fix: "Alter the target alike (tidemark plan prints what it lacks; a column may be renamed in the config instead), then start again: the table is copied anew over the rows that stand, and nothing is lost.",
    details: { table },
  });
}

/**
 * What of a table is no longer as whoever asks for its capture knows it, for people; null when nothing is. A relay that
 * begins anew with its source asks for what it was started with.
 */
export function whatAltered(
  { schema, columns, takesNewColumns }: CaptureTable,
  now: readonly { readonly name: string; readonly nativeType: string }[],
): string | null {
  const types = new Map(now.map(({ name, nativeType }) => [name, nativeType]));
  const known = new Map(schema.columns.map(({ name, nativeType }) => [name, nativeType]));
  const lines: string[] = [];
  for (const name of new Set([...columns, ...schema.key])) {
    const [before, after] = [known.get(name), types.get(name)];
    if (after === undefined) lines.push(`column ${name} (${before}) was dropped or renamed`);
    else if (after !== before) lines.push(`column ${name} was ${before}, is ${after}`);
  }
  for (const [name, type] of takesNewColumns ? types : []) {
    if (!known.has(name)) lines.push(`column ${name} (${type}) was added`);
  }
  return lines.length === 0 ? null : lines.join("; ");
}
