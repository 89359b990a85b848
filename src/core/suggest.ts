import { formatTable, type TableName } from "./table.ts";

/** The candidate a user most likely meant, or null when none is near. */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * As {@link nearest}: first what has the name but for quotes, letters' case and the schema; and of a schema that was written
 * for a table, the glob of all its tables.
 */
export function nearestTable(wanted: TableName, known: readonly TableName[]): string | null {
  const text = plain(formatTable(wanted));
  const names = [text, plain(wanted.name), ...text.split(/(?<=^[^.]*)\./).slice(1)];
  const meant =
    known.find((table) => plain(formatTable(table)) === text) ??
    known.find((table) => names.includes(plain(table.name)));
  if (meant !== undefined) return formatTable(meant);
  const schema = known.find((table) => plain(table.schema ?? "") === plain(wanted.name))?.schema;
  if (schema != null) return `${schema}.*`;
  return nearest(text, known.map(formatTable));
}

function plain(name: string): string {
  return name.replace(/["'`[\]]/g, "").toLowerCase();
}

/** What to do about a table that is not there. */
export function missingTableFix(near: string | null, known: readonly TableName[]): string {
  return near === null ? tablesThere(known) : `Did you mean ${near}?`;
}

function tablesThere(known: readonly TableName[]): string {
  if (known.length === 0) return "It has no tables yet: create them first.";
  const some = known.slice(0, 10).map(formatTable).join(", ");
  return `Its tables: ${some}${known.length > 10 ? ", …" : ""}.`;
}

/** Edits from one to the other: insert, delete, replace, or swap of two neighbours (the commonest slip). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let distance = Math.min(replaced, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(distance);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
