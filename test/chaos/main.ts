// `npm run chaos`: worlds in simulated time, as many as asked, and what they have shown.
import { parseArgs } from "node:util";
import { type Detection, SEEDS_FOR_A_PLANT, writeDetections } from "./planted.ts";
import { committedCode, percentiles, type RunFigures, writeRecord } from "./record.ts";
import { PLANTS } from "./simulation/plants.ts";
import type { Summary } from "./simulation/run-seeds.ts";
import { runSeeds } from "./simulation/workers.ts";

const USAGE = `npm run chaos -- [--seed N] [--count C | --minutes M] [--plant NAME | --plants] [--record]

  --seed N      the first seed (default: a random one)
  --count C     how many seeds (default: 1000; with --minutes as many as there is time for)
  --minutes M   go on for so long
  --record      keep what was shown for docs/reference/guarantees.md (npm run guarantees:docs)
  --plants      how soon each planted fault is found: seeds 1 to ${SEEDS_FOR_A_PLANT} of each
  --plant NAME  with a fault built in, which must be found:
${Object.entries(PLANTS)
  .map(([name, { what }]) => `                ${name}: ${what}`)
  .join("\n")}

One seed, with what the workers log:  node test/chaos/simulation/run-seeds.ts SEED 1 "" --log
On real servers, or with power cuts:  npm run chaos -- --servers --help`;

/** Counted, but no faults. */
const WORK: readonly string[] = [
  "batch",
  "change",
  "transaction",
  "batches applied in small runs",
  "row set aside",
  "rows set aside tried again",
  "rows set aside dropped",
  "rows set aside dropped without an applier",
  "tables copied anew as asked",
  "function called",
  "function handed the same again",
  "stream sent again",
  "unique value met",
  "foreign key met",
  "foreign keys put off",
  "deletion carried on",
  "change followed",
  "wait ended",
  "wait told of a stop",
];

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    count: { type: "string" },
    minutes: { type: "string" },
    plant: { type: "string", default: "" },
    plants: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
    help: { type: "boolean" },
  },
});

if (values.help) console.log(USAGE);
else await main();

async function main(): Promise<void> {
  if (values.plants) return plants();
  // Not after hours that nobody can keep.
  if (values.record) committedCode();
  const { plant } = values;
  const first = numberOf(values.seed ?? String(Math.floor(Math.random() * 1e9)));
  const ends = performance.now() + numberOf(values.minutes ?? "0") * 60_000;
  const forever = values.minutes !== undefined && values.count === undefined;
  const count = forever ? Number.MAX_SAFE_INTEGER : numberOf(values.count ?? "1000");
  const started = performance.now();
  const enough = (sum: Summary) => {
    const timeIsOver = values.minutes !== undefined && performance.now() > ends;
    return timeIsOver || (plant !== "" && sum.failed.length > 0);
  };
  const sum = await runSeeds(first, count, { plant, enough, endsSoon: plant !== "" });
  const seconds = (performance.now() - started) / 1000;
  tell(first, sum, seconds);
  if (values.record && plant === "") {
    console.log(`  kept in ${writeRecord(figuresOf(first, sum, seconds / 60))}`);
  }
  const isAsWished = sum.failed.length > 0 === (plant !== "");
  process.exitCode = isAsWished ? 0 : 1;
}

async function plants(): Promise<void> {
  const detections: Detection[] = [];
  for (const plant of Object.keys(PLANTS)) {
    const { failed } = await runSeeds(1, SEEDS_FOR_A_PLANT, { plant });
    const firstSeed = Math.min(...failed.map(({ seed }) => seed));
    console.log(`${failed.length} of ${SEEDS_FOR_A_PLANT}, first ${firstSeed}: ${plant}`);
    detections.push({ plant, firstSeed, caught: failed.length });
  }
  if (values.record) console.log(`kept in ${writeDetections(detections)}`);
  if (detections.some(({ caught }) => caught === 0)) process.exitCode = 1;
}

function numberOf(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new Error(`"${text}" is no number.\n\n${USAGE}`);
  return Number(text);
}

function tell(first: number, { seeds, failed, counts, healedMs }: Summary, seconds: number): void {
  for (const { seed, violations } of failed) {
    console.log(`✗ seed ${seed}`);
    for (const violation of violations) console.log(`    ${violation}`);
  }
  console.log(
    `${seeds} seeds from ${first} on, in ${seconds.toFixed(0)} s: ${failed.length} failed`,
  );
  for (const [what, times] of Object.entries(counts).sort()) console.log(`  ${times} × ${what}`);
  const { p50, p99, max } = percentiles(healedMs);
  const [half, most, all] = [p50, p99, max].map((ms) => `${(ms / 1000).toFixed(1)} s`);
  console.log(`  in step after the storm within: p50 ${half}, p99 ${most}, at most ${all}`);
}

function figuresOf(firstSeed: number, sum: Summary, minutes: number): RunFigures {
  const { seeds, failed, counts, healedMs } = sum;
  const of = (what: string) => counts[what] ?? 0;
  const faults = Object.entries(counts)
    .filter(([what]) => !WORK.includes(what))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    level: "simulation",
    ...{ firstSeed, seeds, minutes: Math.round(minutes * 10) / 10 },
    ...{ transactions: of("transaction"), rows: of("change"), kills: of("process killed") },
    faults: Object.fromEntries(faults),
    violations: failed.reduce((all, { violations }) => all + violations.length, 0),
    recoveryMs: percentiles(healedMs),
    skipped: [],
  };
}
