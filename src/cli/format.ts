import stringWidth from "string-width";
import { formatCount } from "../core/format-count.ts";

/** Numbers, times and tables as people read them. */

export { formatCount };

/** `1 row`, `2,000 rows`, `3 batches`. */
export function formatCounted(count: number, noun: string): string {
  const plural = noun.endsWith("ch") ? `${noun}es` : `${noun}s`;
  return `${formatCount(count)} ${Math.round(count) === 1 ? noun : plural}`;
}

export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `12 ms`, `3.4 s`, `5 m 10 s`, `2 h 5 m`. */
export function formatDuration(ms: number): string {
  // Rounded first: what is left over is never a whole unit more (59.97 s, 1 m 59.8 s).
  if (Math.round(ms) < 1000) return `${Math.round(ms)} ms`;
  const tenths = Math.round(ms / 100);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
}

/** `12 s ago`; `-` for null. */
export function formatAge(at: string | null, now: number): string {
  return at === null ? "-" : `${formatDuration(Math.max(0, now - Date.parse(at)))} ago`;
}

/** A name may end a line, or begin what a terminal obeys: such characters are shown. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (character) =>
    character < " " ? JSON.stringify(character).slice(1, -1) : `\\u${hex(character)}`,
  );
}

function hex(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(4, "0");
}

/** Columns aligned by spaces; the first row is the head. */
export function formatTable(given: readonly (readonly string[])[]): string {
  const rows = given.map((row) => row.map(oneLine));
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, stringWidth(cell));
    }
  }
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell + " ".repeat((widths[index] ?? 0) - stringWidth(cell)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
