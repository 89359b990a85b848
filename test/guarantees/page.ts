// docs/reference/guarantees.md, from the tests and from what the checkers have shown.
import { basename } from "node:path";
import type { Found } from "../chaos/found.ts";
import { type Detection, SEEDS_FOR_A_PLANT } from "../chaos/planted.ts";
import type { RunRecord } from "../chaos/record.ts";
import { type Guarantee, LEVELS, type Level } from "./guarantees.ts";
import type { Bearer } from "./tests.ts";

export interface Content {
  readonly guarantees: readonly Guarantee[];
  readonly tests: readonly Bearer[];
  readonly records: readonly RunRecord[];
  readonly planted: readonly Detection[];
  /** What each planted fault is, by its name. */
  readonly plants: Readonly<Record<string, { readonly what: string }>>;
  readonly found: readonly Found[];
}

const INTRO = `# The guarantees, and what shows them

<!-- Written by \`npm run guarantees:docs\`: change its sources in test/guarantees/ and test/chaos/. -->

What each guarantee says, the tests that bear it, what [the checkers](checker.md) have shown so far, and what is not promised.`;

const NOT_PROMISED = `## What is not promised

- **Power cuts** are survived where the disk keeps what it has synced and the database syncs what it acknowledges:
  PostgreSQL with \`fsync\` on, MariaDB and MySQL with \`innodb_flush_log_at_trx_commit = 1\` and, where the binary log is
  on, \`sync_binlog = 1\`, which is not MariaDB's default. \`doctor\` looks at all of these. Else the sync stops and says so
  (TM-SOURCE-REWOUND, TM-BATCH-PURGED). A broker may lose anything by one; NATS 2.9 may lock itself up, and then needs
  whoever starts it again.
- **Function targets** are called at least once for a group of batches, not exactly once. Nothing keeps two processes that
  call one apart: each may tell notices, and an older one may follow a newer one.
- **MariaDB and MySQL, READ COMMITTED**: where a deletion carries on through a table that is not synced, a row there that
  another session moves below one of them at that moment goes, and those below it stay at the target
  ([0015](../decisions/0015-cascades-in-mysql.md)); \`plan\` and \`doctor\` name such tables.
- **The first copy** of a table: until it is done, that table is still filling, and is not as the source was at any cut.
- **A PostgreSQL target that crashes** may show an earlier state, whole, until the sync has caught up again; never one
  from before what \`wait\` has promised ([0012](../decisions/0012-target-commits.md)).
- **Who else writes to a synced table of the target** is not found out row by row, nor is a table that was put back from a backup.
- What cannot pass, what is refused and where the bounds are: [changes](changes.md), [limits](limits.md), [types](types.md).`;

const RUNS = `## Runs

A violation is a seed at which the code of that commit, or the checker itself, did not do as it should; what was found so, and
is mended, stands [below](#what-the-checkers-have-found).`;

export function renderPage(content: Content): string {
  const { guarantees, tests, records } = content;
  const parts = [
    INTRO,
    ...guarantees.map((each) => guarantee(each, tests)),
    RUNS,
    runs(records),
    plantedFaults(content),
    found(content.found),
    NOT_PROMISED,
  ];
  return `${parts.join("\n\n")}\n`;
}

function guarantee({ id, title, text }: Guarantee, tests: readonly Bearer[]): string {
  const rows = (Object.keys(LEVELS) as Level[]).map((level) => {
    const links = tests
      .filter((each) => each.level === level && each.guarantees.has(id))
      .map(({ file }) => `[${nameOf(file)}](../../${file})`);
    return [LEVELS[level], links.join(", ")];
  });
  const tested = rows.filter(([, links]) => links !== "");
  return `## ${id} ${title}\n\n${text}\n\n${table(["tested with", "by"], tested)}`;
}

/** As short as it is still told apart: the folder says which database, queue or kind of test. */
function nameOf(file: string): string {
  const parts = file.split("/");
  const name = basename(file).replace(/(-suite|\.test)\.ts$/, "");
  const isPlain = ["pairs", "chaos", "testing"].includes(parts.at(-2) ?? "");
  return isPlain ? name : `${parts.at(-2)}/${name}`;
}

function runs(records: readonly RunRecord[]): string {
  if (records.length === 0) return "None is recorded.";
  return (Object.keys(HEADS) as RunRecord["level"][])
    .map((level) => [level, records.filter((record) => record.level === level)] as const)
    .filter(([, of]) => of.length > 0)
    .map(([level, of]) => runsOf(level, of))
    .join("\n\n");
}

const HEADS = {
  simulation: "### In simulated time",
  servers: "### On real servers",
  power: "### On real servers whose disks lose power",
} as const;

function runsOf(level: RunRecord["level"], records: readonly RunRecord[]): string {
  const rows = records.map((record) => {
    const { p50, p99, max } = record.recoveryMs;
    return [
      record.date,
      `\`${record.commit.slice(0, 9)}\``,
      `${record.firstSeed} to ${record.firstSeed + record.seeds - 1}`,
      record.minutes.toFixed(1),
      grouped(record.transactions),
      grouped(record.rows),
      grouped(record.kills),
      String(record.violations),
      [p50, p99, max].map((ms) => (ms / 1000).toFixed(1)).join(" / "),
      record.machine,
    ];
  });
  const sum = (of: (record: RunRecord) => number) =>
    records.reduce((total, record) => total + of(record), 0);
  const minutes = sum((record) => record.minutes).toFixed(0);
  const all = `${grouped(sum(({ seeds }) => seeds))} seeds in ${minutes} minutes, ${grouped(sum(({ transactions }) => transactions))} transactions, ${grouped(sum(({ kills }) => kills))} processes killed, ${sum(({ violations }) => violations)} violations, in step again at most ${(Math.max(...records.map(({ recoveryMs }) => recoveryMs.max)) / 1000).toFixed(1)} s after the faults had ended.`;
  const parts = [
    HEADS[level],
    all,
    table(RUN_COLUMNS, rows),
    table(["fault", "times"], byKind(records.map(({ faults }) => faults))),
  ];
  if (level !== "simulation") {
    const pairs = records.map((record) => record.pairs ?? {});
    parts.push(table(["pair", "seeds"], byKind(pairs)));
  }
  const skipped = skippedInAll(records);
  if (skipped.length > 0) {
    parts.push(`**Skipped:**\n\n${skipped.map((what) => `- ${what}`).join("\n")}`);
  }
  return parts.join("\n\n");
}

/** What some short run lacked and another had is no gap, and would gainsay the table of faults. */
function skippedInAll(records: readonly RunRecord[]): readonly string[] {
  const had = new Set(records.flatMap(({ faults }) => Object.keys(faults)));
  const skipped = new Set(records.flatMap((record) => record.skipped));
  return [...skipped]
    .filter((what) => !had.has(what.replace(/: did not happen in this run$/, "")))
    .sort();
}

const RUN_COLUMNS = [
  "date",
  "commit",
  "seeds",
  "minutes",
  "transactions",
  "changes",
  "kills",
  "violations",
  "in step again, p50 / p99 / max, s",
  "machine",
];

function plantedFaults({ planted, plants }: Content): string {
  const rows = planted.map(({ plant, firstSeed, caught }) => [
    plants[plant]?.what ?? plant,
    String(firstSeed),
    `${caught} of ${SEEDS_FOR_A_PLANT}`,
  ]);
  const head = `## Planted faults

The simulation with a mistake built in on purpose, seeds 1 to ${SEEDS_FOR_A_PLANT} of each: ${planted.length} of ${Object.keys(plants).length} are found.`;
  return `${head}\n\n${table(["fault", "first seed that shows it", "seeds that show it"], rows)}`;
}

function found(bugs: readonly Found[]): string {
  const rows = bugs.map(({ level, seed, what }) => [LEVEL_NAMES[level], String(seed), what]);
  return `## What the checkers have found

Each bug of Tidemark that a seed has shown and that is mended. The seeds are those of the worlds as they were then.

${table(["in", "seed", "what it was"], rows)}`;
}

const LEVEL_NAMES = {
  simulation: "simulated time",
  servers: "real servers",
  power: "power cuts",
  soak: "random schemas",
} as const;

function byKind(each: readonly Readonly<Record<string, number>>[]): string[][] {
  const sums = new Map<string, number>();
  for (const [kind, times] of each.flatMap((of) => Object.entries(of))) {
    sums.set(kind, (sums.get(kind) ?? 0) + times);
  }
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, n]) => [kind, grouped(n)]);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function grouped(number: number): string {
  return number.toLocaleString("en-US");
}
