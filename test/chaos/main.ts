// `npm run chaos`: worlds in simulated time, as many as asked, and what they have shown.
import { parseArgs } from "node:util";
import { PLANTS } from "./simulation/plants.ts";
import type { Summary } from "./simulation/run-seeds.ts";
import { runSeeds } from "./simulation/workers.ts";

const USAGE = `npm run chaos -- [--seed N] [--count C | --minutes M] [--plant NAME]

  --seed N      the first seed (default: a random one)
  --count C     how many seeds (default: 1000; with --minutes as many as there is time for)
  --minutes M   go on for so long
  --plant NAME  with a fault built in, which must be found:
${Object.entries(PLANTS)
  .map(([name, { what }]) => `                ${name}: ${what}`)
  .join("\n")}

One seed, with what the workers log:  node test/chaos/simulation/run-seeds.ts SEED 1 "" --log`;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    count: { type: "string" },
    minutes: { type: "string" },
    plant: { type: "string", default: "" },
    help: { type: "boolean" },
  },
});

if (values.help) console.log(USAGE);
else await main();

async function main(): Promise<void> {
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
  const sum = await runSeeds(first, count, { plant, enough });
  tell(first, sum, (performance.now() - started) / 1000);
  const isAsWished = sum.failed.length > 0 === (plant !== "");
  process.exitCode = isAsWished ? 0 : 1;
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
  const sorted = [...healedMs].sort((a, b) => a - b);
  const at = (share: number) =>
    ((sorted[Math.floor(share * (sorted.length - 1))] ?? 0) / 1000).toFixed(1);
  console.log(
    `  in step after the storm within: p50 ${at(0.5)} s, p99 ${at(0.99)} s, at most ${at(1)} s`,
  );
}
