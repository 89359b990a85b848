// The table on the terminal and the file with everything.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import type { Options } from "./options.ts";
import type { Better, Results } from "./results.ts";
import type { Spread } from "./statistics.ts";

const FOLDER = join(import.meta.dirname, "results");

export interface Surroundings {
  readonly startedAt: string;
  readonly options: Options;
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: Readonly<Record<string, unknown>>;
  /** What an fdatasync takes where the databases lie. */
  readonly syncMicros: number;
}

export function table(results: Results): string {
  const rows = [
    ["scenario", "figure", "baseline", "Tidemark", "ratio (min-max)", "A/A (min-max)", "goal", ""],
    ...results.comparisons.map((each) => [
      each.scenario,
      `${each.figure}, ${each.unit}`,
      `${each.baselineName} ${number(each.baseline.median)}`,
      number(each.tidemark.median),
      ratioText(each.ratio),
      ratioText(each.noise),
      goalText(each.goal, each.better),
      verdict(each.met),
    ]),
    ...results.singles.map((each) => [
      each.scenario,
      `${each.figure}, ${each.unit}`,
      "",
      spreadText(each.value),
      "",
      "",
      goalText(each.goal, each.better),
      verdict(each.met),
    ]),
  ];
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  return [
    ...lines,
    ...results.missing.map((what) => `not measured: ${what}`),
    ...results.wrong.map((what) => `WRONG DATA: ${what}`),
  ].join("\n");
}

export function writeFile(results: Results, surroundings: Surroundings): string {
  mkdirSync(FOLDER, { recursive: true });
  const name = surroundings.startedAt.replaceAll(":", "-").slice(0, 19);
  const file = join(FOLDER, `${name}.json`);
  const { comparisons, singles, wrong, missing } = results;
  const { syncMicros, ...others } = surroundings;
  const content = {
    version: 2,
    ...others,
    command: ["npm run bench --", ...process.argv.slice(2)].join(" "),
    endedAt: new Date().toISOString(),
    commit: commit(),
    machine: {
      processors: cpus().length,
      model: cpus()[0]?.model ?? "",
      memoryBytes: totalmem(),
      syncMicros,
    },
    comparisons,
    singles,
    wrong,
    missing,
  };
  writeFileSync(file, `${JSON.stringify(content, undefined, 2)}\n`);
  return file;
}

/** The last that changed what is measured; with `+` where the checkout differs from it. */
function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();
    const changed = git("status", "--porcelain", "--", "../src") !== "";
    return `${git("log", "-1", "--format=%H", "--", "../src")}${changed ? "+" : ""}`;
  } catch {
    return "unknown";
  }
}

function ratioText({ median, min, max }: Spread): string {
  return `${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
}

function spreadText({ median, min, max }: Spread): string {
  return min === max ? number(median) : `${number(median)} (${number(min)}-${number(max)})`;
}

function number(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (Math.abs(value) >= 10_000) return `${Math.round(value / 1000)}k`;
  if (Math.abs(value) >= 100) return String(Math.round(value));
  return value.toFixed(value >= 10 ? 1 : 2);
}

function goalText(goal: number | null, better: Better): string {
  return goal === null ? "" : `${better === "higher" ? ">=" : "<="} ${goal}`;
}

function verdict(met: boolean | null): string {
  return met === null ? "" : met ? "met" : "MISSED";
}
