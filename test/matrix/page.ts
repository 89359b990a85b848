// docs/reference/types.md, from what the test has seen.
import type { TypeEntry } from "./types.ts";
import type { Verdict } from "./verdict.ts";

export interface SourceTable {
  readonly title: string;
  /** Stands above the table. */
  readonly intro: string;
  /** Titles of the targets. */
  readonly targets: readonly string[];
  readonly rows: readonly SourceRow[];
}

export interface SourceRow {
  readonly entry: TypeEntry;
  /** One for each target. */
  readonly cells: readonly Verdict[];
}

const HEAD = `# Types

What becomes of each type in each database, into a table that Tidemark created. This page is written by
the tests (\`npm run types:docs\`), which send values at the edges of each type from server to server and
back, by the change log and by the copy, and fail when a line here is not what they see. For your own
tables \`tidemark plan\` says the same of each column.

- **exact**: every value arrives as it was and would come back as it was.
- **rule**: every value arrives as the rule says.
- **refused**: \`plan\` names the column and \`run\` does not start.
- **Stops at**: no column of the target's can hold these values. One of them stops the sync with
  [TM-VALUE-REFUSED](../errors/TM-VALUE-REFUSED.md), which names table and column; nothing is cut or
  guessed.

Equal is what differs in spelling only: \`1e+15\` and \`1e15\` are one number, and a fraction of a second
arrives without zeros at its end. How each value is written on its way: [values](values.md).
`;

export function renderPage(tables: readonly SourceTable[]): string {
  return [HEAD, ...tables.map(renderTable)].join("\n");
}

function renderTable({ title, intro, targets, rows }: SourceTable): string {
  const lines = [`## From ${title}`, "", intro, ""];
  let group = "";
  for (const { entries, cells } of merged(rows)) {
    if (entries[0]?.group !== group) {
      if (group !== "") lines.push("");
      group = entries[0]?.group ?? "";
      const titles = [group, ...targets.map((target) => `to ${target}`)];
      lines.push(`| ${titles.join(" | ")} |`, `|${" --- |".repeat(titles.length)}`);
    }
    lines.push(`| ${[entries.map(nameOf).join(", "), ...cells].join(" | ")} |`);
  }
  return `${lines.join("\n")}\n`;
}

interface MergedRow {
  readonly entries: TypeEntry[];
  readonly cells: readonly string[];
}

/** Types of a group that fare alike share a line. */
function merged(rows: readonly SourceRow[]): readonly MergedRow[] {
  const lines: MergedRow[] = [];
  for (const { entry, cells } of rows) {
    const printed = cells.map(renderCell);
    const same = lines.find(
      (line) =>
        line.entries[0]?.group === entry.group && line.cells.join("|") === printed.join("|"),
    );
    if (same) same.entries.push(entry);
    else lines.push({ entries: [entry], cells: printed });
  }
  return lines;
}

function nameOf({ declared }: TypeEntry): string {
  return declared === "" ? "no type" : code(declared);
}

function renderCell({ fidelity, targetType, note, stopsAt }: Verdict): string {
  if (fidelity === "refused") return `**refused**: ${escaped(note)}`;
  const stops = stopsAt.length === 0 ? "" : `. Stops at ${stopsAt.join(", ")}`;
  if (fidelity === "exact")
    return `exact${targetType === "" ? "" : `, ${code(targetType)}`}${stops}`;
  return `rule, ${code(targetType)}: ${escaped(note)}${stops}`;
}

function code(text: string): string {
  return `\`${escaped(text)}\``;
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|");
}
