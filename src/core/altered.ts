import { TidemarkError } from "./errors.ts";
import { resyncCommand } from "./shell.ts";
import type { CaptureTable } from "./source.ts";
import { type ColumnSchema, formatTable, type TableName } from "./table.ts";

/** A copy alone would write over the rows that stand, and leave those that are gone at the source. */
export const COPY_ANEW =
  "Copy anew, with every tidemark run ended: tidemark uninstall, then tidemark resync '*' (which empties the tables at the targets), then tidemark run.";

export const DROPPED =
  "Start again: what goes by a glob is then left out by itself. Named outright, take it out of the config before. Its rows at the targets stay.";

const KEY_ALIKE = `Give the table its key back, or the target the same key; then start again. If changes by the old key still wait: ${COPY_ANEW}`;

/** Columns of a captured table are no longer what they were; `what`, for people, tells of each. */
export function columnsAltered(table: string, what: string): TidemarkError {
  return new TidemarkError("TM-SCHEMA-DRIFT", `${table} was altered: ${what}.`, {
    fix: "Alter the target alike (tidemark plan prints what it lacks; a column may be renamed in the config instead), then start again: the table is copied anew over the rows that stand, and nothing is lost.",
    details: { table },
  });
}

/** The key of a captured table is no longer what it was. Both by the names of their columns; empty: none. */
export function keyAltered(
  table: string,
  was: readonly string[],
  now: readonly string[],
): TidemarkError {
  const list = (names: readonly string[], none: string) =>
    names.length === 0 ? none : `(${names.join(", ")})`;
  return new TidemarkError(
    "TM-SCHEMA-DRIFT",
    `${table} was altered: its key was ${list(was, "missing")}, is ${list(now, "gone")}.`,
    { fix: KEY_ALIKE, details: { table } },
  );
}

/** A copy cannot go on where it stopped: its rows are found by another key now. */
export function keyChangedMeanwhile(table: TableName): TidemarkError {
  return new TidemarkError(
    "TM-SCHEMA-DRIFT",
    `The key of ${formatTable(table)} is not the one its copy began with.`,
    { fix: `${resyncCommand(table)}, then tidemark run: it is copied anew` },
  );
}

/**
 * What of a table is no longer as whoever asks for its capture knows it, for people; null when nothing is. A relay that
 * begins anew with its source asks for what it was started with.
 */
export function whatAltered(
  { schema, columns, takesNewColumns }: CaptureTable,
  now: readonly Pick<ColumnSchema, "name" | "nativeType" | "number">[],
): string | null {
  const found = new Map(now.map((column) => [column.name, column]));
  const known = new Map(schema.columns.map((column) => [column.name, column]));
  const lines: string[] = [];
  for (const name of new Set([...columns, ...schema.key])) {
    const [before, after] = [known.get(name), found.get(name)];
    const [was, is] = [before?.nativeType, after?.nativeType];
    if (after === undefined) lines.push(`column ${name} (${was}) was dropped or renamed`);
    else if (is !== was) lines.push(`column ${name} was ${was}, is ${is}`);
    else if (after.number !== before?.number) lines.push(`column ${name} (${is}) is another one`);
  }
  for (const { name, nativeType } of takesNewColumns ? now : []) {
    if (!known.has(name)) lines.push(`column ${name} (${nativeType}) was added`);
  }
  return lines.length === 0 ? null : lines.join("; ");
}
