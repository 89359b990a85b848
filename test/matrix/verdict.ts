// What an arrival proves: a cell of docs/reference/types.md, or what is wrong.
import { isTidemarkError, type TidemarkError } from "../../src/core/errors.ts";
import { type Arrival, type Outcome, printOutcome } from "./crossing.ts";
import { breach, breachOnReturn, isSame } from "./rules.ts";
import { nameOf, sqlOf } from "./types.ts";

export interface Verdict {
  readonly fidelity: "exact" | "by-rule" | "refused";
  readonly targetType: string;
  /** The rule, or why it is refused. */
  readonly note: string;
  /** Names of the values that stop the sync. */
  readonly stopsAt: readonly string[];
  /** Anything here fails the test. */
  readonly problems: readonly string[];
}

export function judge(arrival: Arrival): Verdict {
  const { mapping } = arrival;
  const stopsAt = new Set<string>();
  const problems: string[] = [];
  if (arrival.freshDiffers) problems.push("another value when it comes among many fresh rows");
  if (mapping.fidelity !== "refused") {
    for (const [n, value] of arrival.type.entry.values.entries()) {
      const problem = problemOf(arrival, n);
      if (problem !== null) problems.push(`${sqlOf(value)} ${problem} (${path(arrival, n)})`);
      if (!isTidemarkError(arrival.values[n])) continue;
      const name = nameOf(value);
      if (name === null) problems.push(`${sqlOf(value)} was refused, and has no name in the list`);
      else stopsAt.add(name);
    }
  }
  const where = `${arrival.type.entry.declared} to ${mapping.targetType} (${mapping.fidelity})`;
  return {
    fidelity: mapping.fidelity,
    targetType: mapping.targetType,
    note: mapping.note ?? "",
    stopsAt: [...stopsAt],
    problems: problems.map((problem) => `${where}: ${problem}`),
  };
}

function problemOf(arrival: Arrival, n: number): string | null {
  const { mapping, type } = arrival;
  const before = type.values[n] as Outcome;
  const there = arrival.values[n] as Outcome;
  if (isTidemarkError(before)) return `is refused by its own source: ${before.code}`;
  const columnType = type.columnType;
  if (columnType === null) return null;
  if (isTidemarkError(there)) {
    const silence = misnamed(there, arrival, before);
    if (silence !== null) return silence;
  }
  if (mapping.fidelity === "by-rule") {
    const note = mapping.note ?? "";
    const wrong = breach(note, columnType, before, there);
    if (wrong !== null || isTidemarkError(there) || arrival.back === null) return wrong;
    return breachOnReturn(note, columnType, before, arrival.back[n]);
  }
  if (isTidemarkError(there)) return null;
  if (!isSame(columnType, before, there)) return "is another value at the target";
  if (arrival.back === null) return null;
  const back = arrival.back[n];
  if (back === undefined || isTidemarkError(back)) return "does not come back";
  return isSame(columnType, before, back) ? null : "comes back as another value";
}

/** A refusal names table and column, and never shows the value. */
function misnamed(error: TidemarkError, { type }: Arrival, before: Outcome): string | null {
  if (error.code !== "TM-VALUE-REFUSED") return `stopped with ${error.code}: ${error.message}`;
  const { table, column } = error.details;
  if (!String(table).endsWith(type.table) || column !== type.column) {
    return `was refused without the name of its column: ${error.message}`;
  }
  const text = printOutcome(before);
  return text.length > 4 && `${error.message} ${error.fix ?? ""}`.includes(text)
    ? "is shown in the error"
    : null;
}

function path(arrival: Arrival, n: number): string {
  return [arrival.type.values, arrival.values, ...(arrival.back === null ? [] : [arrival.back])]
    .map((values) => printOutcome(values[n]))
    .join(" -> ");
}
