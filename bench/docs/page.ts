// docs/benchmarks/results.md, made of measurements.
import type { Comparison, Single } from "../results.ts";
import type { Spread } from "../statistics.ts";
import { growthChart, growthPoints, ratioChart } from "./charts.ts";
import { comparisonsOf, type From, type Measurement, OVER_NATS, singlesOf } from "./measurement.ts";

export interface Page {
  readonly markdown: string;
  /** Of the folder of the page, by name. */
  readonly charts: ReadonlyMap<string, string>;
}

/** What the heading of each scenario says; those not named here follow under their names. */
const SECTIONS: Readonly<Record<string, { readonly title: string; readonly text: string }>> = {
  lag: {
    title: "Lag: commit at the source to visible at the target",
    text: "TPC-B at a steady rate between two PostgreSQL databases. Less is better.",
  },
  backlog: {
    title: "Backlog: how fast piled-up transactions arrive",
    text: "40,000 TPC-B transactions, 160,000 changes. More is better.",
  },
  million: {
    title: "One transaction of a million rows",
    text: "`rate`: changes a second from commit to visible; more is better. INSERT: how long the statement itself takes at the source; less is better.",
  },
  beside: {
    title: "The source flat out, everything on one machine",
    text: "TPC-B without a pause while the changes are carried; `tps`: more is better. Behind: how long the target then still needs; less is better.",
  },
  "lag mariadb-mariadb": {
    title: "Lag between two MariaDB databases",
    text: "One-row transactions at a steady rate, against MariaDB's own replication. Less is better. `load`: how many transactions a second the one writer reached.",
  },
  "backlog mariadb-mariadb": {
    title: "Backlog between two MariaDB databases",
    text: "12,000 one-row transactions, against MariaDB's own replication. More is better.",
  },
  source: {
    title: "What capture costs a PostgreSQL source",
    text: "Against the same database without capture. `tps`: more is better; ms: less is better.",
  },
  "source-mariadb": { title: "What capture costs a MariaDB source", text: "More is better." },
  "source-sqlite": { title: "What capture costs a SQLite source", text: "More is better." },
  snapshot: {
    title: "First copy of a table",
    text: "Of one and of five million rows, the start of the command included, against `pg_dump` piped into `psql`. More is better.",
  },
};

export async function makePage(measurements: readonly Measurement[]): Promise<Page> {
  const comparisons = comparisonsOf(measurements);
  const singles = singlesOf(measurements);
  const charts = new Map<string, string>();
  const sections: string[] = [];
  const known = Object.keys(SECTIONS);
  const found = [...new Set(comparisons.map(({ scenario }) => scenario))];
  const order = [...known, ...found.filter((name) => !known.includes(name))];
  for (const scenario of order.filter((name) => found.includes(name))) {
    const own = comparisons.filter((each) => each.scenario === scenario);
    sections.push(await comparisonSection(scenario, own, charts));
  }
  const growing = singles.filter(({ scenario }) => scenario === "growth");
  if (growing.length > 0) sections.push(await growthSection(growing, charts));
  const alone = singles.filter(({ scenario }) => scenario !== "growth");
  if (alone.length > 0) sections.push(aloneSection(alone));
  const parts = [head(measurements), ...sections, ends(measurements)];
  return { markdown: `${parts.join("\n\n")}\n`, charts };
}

function head(measurements: readonly Measurement[]): string {
  const first = measurements[0] as Measurement;
  const versions = measurements.flatMap((each) => Object.entries(each.versions));
  const { processors, model, memoryBytes } = first.machine;
  const days = unique(measurements.map(({ startedAt }) => startedAt.slice(0, 10)));
  const commits = unique(measurements.map(({ commit }) => commit.slice(0, 12)));
  const named = unique(versions.map(([name, version]) => `${name} ${version}`)).toSorted();
  return [
    "# Results",
    "",
    "<!-- Made by `npm run bench:docs`; edit bench/docs/ instead. -->",
    "",
    `Measured on ${days.join(", ")} at commit ${commits.join(", ")}; ${processors} processors (${model}),`,
    `${Math.round(memoryBytes / 2 ** 30)} GiB, everything on one machine: ${named.join(", ")}.`,
    ...syncsText(measurements),
    "",
    "**The machine was shared with other work and noisy: only ratios of one run mean something**, and",
    "of these only what lies outside the A/A column, which tells by how much two runs of one and the same",
    "thing differed meanwhile. Each ratio is Tidemark's figure divided by the other's: the median of the rounds, in",
    "brackets the least and the greatest. How it is measured, and what is not: [methodology](methodology.md).",
  ].join("\n");
}

function syncsText(measurements: readonly Measurement[]): string[] {
  const micros = measurements.flatMap(({ machine }) => machine.syncMicros ?? []);
  if (micros.length === 0) return [];
  const [least, most] = [Math.min(...micros), Math.max(...micros)];
  const took = least === most ? `${least}` : `${least} to ${most}`;
  return [`A sync of the disk took ${took} µs.`];
}

async function comparisonSection(
  scenario: string,
  comparisons: readonly From<Comparison>[],
  charts: Map<string, string>,
): Promise<string> {
  const isOverNats = scenario.endsWith(OVER_NATS);
  const base = isOverNats ? scenario.slice(0, -OVER_NATS.length) : scenario;
  const { title: plain, text } = SECTIONS[base] ?? { title: base, text: "" };
  const title = isOverNats ? `${plain}, over NATS` : plain;
  const sorted = comparisons.toSorted(
    (a, b) => compare(kindOf(a), kindOf(b)) || (a.at?.value ?? 0) - (b.at?.value ?? 0),
  );
  const pictures: string[] = [];
  for (const kind of unique(sorted.map(kindOf))) {
    if (kind === LOAD) continue;
    const file = `${scenario} ${kind}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
    charts.set(`${file}.svg`, await ratioChart(sorted.filter((each) => kindOf(each) === kind)));
    pictures.push(`![${title}, ${kind}: ratios](${file}.svg)`);
  }
  const rows = sorted.map(({ figure, unit, baselineName, ratio, noise, rounds }) => [
    ...[`${figure}, ${unit}`, baselineName, ratioText(ratio), ratioText(noise)],
    String(rounds.length),
  ]);
  const table = tableOf(["figure", "against", "ratio", "A/A", "rounds"], rows);
  return [`## ${title}`, text, ...pictures, table, commandsOf(comparisons)]
    .filter((part) => part !== "")
    .join("\n\n");
}

/** Whether a load reached its rate is a condition, and no merit of anybody: it has no picture. */
const LOAD = "load";

/** A figure without where it stands: the p50 of "p50 at 300/s". */
function kindOf({ figure, at }: Comparison): string {
  return at === null ? figure : (figure.split(" at ")[0] as string);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

async function growthSection(
  singles: readonly From<Single>[],
  charts: Map<string, string>,
): Promise<string> {
  charts.set("growth.svg", await growthChart(singles));
  const rows = growthPoints(singles).map(({ single, kind, axis, at, first }) => [
    ...[axis, at.toLocaleString("en"), kind],
    ratioText(scaled(single.value, first)),
    String(single.samples.length),
  ]);
  return [
    "## What grows with what",
    "Between two PostgreSQL databases, 300 transactions a second and then a backlog of 4,000, with one thing larger from point to point. Each figure is divided by the median of the first point: lag (p50, p99) should stay at 1 or below, the backlog's rate at 1 or above. A point of one run is as far off as any one run on this machine: see the A/A columns above.",
    "![Lag and backlog as rows, tables, width and targets grow](growth.svg)",
    tableOf(["what", "how much", "figure", "against the first", "runs"], rows),
    commandsOf(singles),
  ].join("\n\n");
}

function aloneSection(singles: readonly From<Single>[]): string {
  const rows = singles.map(({ scenario, figure, unit, value }) => [
    ...[scenario, `${figure}, ${unit}`, number(value.median)],
    `${number(value.min)} - ${number(value.max)}`,
  ]);
  return [
    "## Without a rival",
    "Tidemark alone, where nobody else does the same: an order of magnitude on this machine in that hour, and how far equal runs were apart.",
    tableOf(["scenario", "figure", "median", "least - greatest"], rows),
    commandsOf(singles),
  ].join("\n\n");
}

function ends(measurements: readonly Measurement[]): string {
  const missing = unique(measurements.flatMap((each) => each.missing));
  const wrong = unique(measurements.flatMap((each) => each.wrong));
  return [
    "## Not measured",
    missing.length === 0 ? "Nothing was left out." : bullets(missing),
    "## Rows at the targets",
    wrong.length === 0
      ? "After every scenario all rows of each target were compared with those of its source: all were equal."
      : `These targets did not hold what their sources held:\n\n${bullets(wrong)}`,
  ].join("\n\n");
}

function commandsOf(figures: readonly From<unknown>[]): string {
  const commands = unique(figures.map(({ command }) => command));
  return `\`\`\`\n${commands.join("\n")}\n\`\`\``;
}

function tableOf(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(heads), line(heads.map(() => "---")), ...rows.map(line)].join("\n");
}

function bullets(lines: readonly string[]): string {
  return lines.map((line) => `- ${line.replaceAll("\n", " ").slice(0, 400)}`).join("\n");
}

function ratioText({ median, min, max }: Spread): string {
  return `${number(median)} (${number(min)} - ${number(max)})`;
}

function scaled({ median, min, max }: Spread, by: number): Spread {
  return { median: median / by, min: min / by, max: max / by };
}

function number(value: number): string {
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString("en");
  return value >= 100 ? value.toFixed(0) : value.toPrecision(2);
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
