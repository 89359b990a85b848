import stringWidth from "string-width";
import { formatCount, formatCounted, formatDuration, oneLine } from "./format.ts";

const MOST_BAR = 24;
/** A shorter one tells nothing that the percentage does not. */
const LEAST_BAR = 6;
const LEAST_NAME = 12;

export interface Copy {
  readonly sync: string;
  readonly table: string;
  readonly rows: number;
  /** The database's own estimate; null where it has none. */
  readonly estimatedRows: number | null;
  readonly perSecond: number;
}

/** How far the copy of a table is, in one line of a terminal: where that is narrow, bar and name give way to the figures. */
export function copyLine(copy: Copy, columns: number): string {
  const { rows, estimatedRows, perSecond } = copy;
  // The estimate may be too low; a bar never runs over.
  const total = estimatedRows === null ? null : Math.max(estimatedRows, rows, 1);
  const done = total === null ? "" : `${Math.floor((100 * rows) / total)}%`.padStart(4);
  const figures = [
    total === null
      ? formatCounted(rows, "row")
      : `${formatCount(rows)} of ~${formatCounted(total, "row")}`,
    `${formatCount(perSecond)} rows/s`,
  ];
  if (total !== null && perSecond > 0) {
    figures.push(`${formatDuration(((total - rows) / perSecond) * 1000)} left`);
  }
  const end = [done, ...figures].filter((part) => part !== "").join("  ");
  const most = Math.max(LEAST_NAME, columns - end.length - 2);
  const line = `${endOf(oneLine(`${copy.sync}  ${copy.table}`), most)}  ${end}`;
  const room = Math.min(MOST_BAR, columns - stringWidth(line) - 2);
  if (room < LEAST_BAR) return line;
  const full = total === null ? 0 : Math.floor((room * rows) / total);
  return `${"█".repeat(full)}${"░".repeat(room - full)}  ${line}`;
}

/** Of so many columns of a terminal at most. */
function endOf(text: string, most: number): string {
  if (stringWidth(text) <= most) return text;
  const characters = [...text];
  while (stringWidth(characters.join("")) >= most) characters.shift();
  return `…${characters.join("")}`;
}
