// `npm run bench`: runs the scenarios, prints a table, writes a file with everything measured.
// Ends with 1 when a target did not hold what its source held; a missed goal is only told.
import { Bed, POSTGRES_SETTINGS } from "./bed.ts";
import { onServer } from "./database.ts";
import { syncMicros } from "./disk.ts";
import { type Options, parseOptions, usage } from "./options.ts";
import { table, writeFile } from "./report.ts";
import { Results } from "./results.ts";
import type { Context, Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios/index.ts";

async function main(): Promise<void> {
  const options = optionsOrNull(process.argv.slice(2));
  if (options === null) return;
  if (options.help) return console.log(usage(SCENARIOS));
  const chosen = choose(options);
  const startedAt = new Date().toISOString();
  const results = new Results();
  await using bed = new Bed(options);
  const micros = syncMicros(bed.folder);
  console.log(`A sync of the disk (${bed.folder}) takes ${micros} µs.`);
  const write = async () => {
    const versions = {
      node: process.version,
      ...(bed.hasPostgres && { postgres: await postgresVersion(bed) }),
      ...results.versions,
    };
    const settings = { postgres: POSTGRES_SETTINGS };
    const surroundings = { startedAt, options, versions, settings, syncMicros: micros };
    console.log(`\n${writeFile(results, surroundings)}`);
  };
  endOnInterrupt(bed, results, write);
  for (const scenario of chosen) await run(scenario, { bed, results, options });
  console.log(`\n${table(results)}`);
  if (options.quick) console.log("--quick: these figures mean nothing.");
  await write();
  if (results.wrong.length > 0) process.exitCode = 1;
}

/** Null, with a word to the user, where they are not understood. */
function optionsOrNull(args: readonly string[]): Options | null {
  try {
    const options = parseOptions(args);
    choose(options);
    return options;
  } catch (error) {
    console.error(`${(error as Error).message}\nAll options: npm run bench -- --help`);
    process.exitCode = 2;
    return null;
  }
}

function choose({ only }: Options): readonly Scenario[] {
  const unknown = only.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown !== undefined) throw new Error(`No scenario is named "${unknown}": see --help.`);
  return SCENARIOS.filter(({ name }) => only.length === 0 || only.includes(name));
}

async function run(
  scenario: Scenario,
  { bed, results, options }: { bed: Bed; results: Results; options: Options },
): Promise<void> {
  const start = performance.now();
  const say = (text: string) => console.log(`  ${text}`);
  console.log(`${scenario.name}: ${scenario.what}`);
  const context: Context = {
    bed,
    results,
    say,
    rounds: (usual) => options.rounds ?? (options.quick ? 1 : usual),
    size: (full, tiny) => (options.quick ? tiny : full),
  };
  await scenario.run(context);
  say(`${Math.round((performance.now() - start) / 1000)} s`);
}

async function postgresVersion(bed: Bed): Promise<string> {
  const rows = await onServer((await bed.source()).url, "SHOW server_version");
  return String(rows[0]?.server_version ?? "");
}

/**
 * What was measured until then is kept. The servers are in sessions of their own: nobody else would
 * end them.
 */
function endOnInterrupt(bed: Bed, results: Results, write: () => Promise<void>): void {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    process.once(signal, () => {
      results.missing.push("what came after an interrupt, and whether the rows are equal");
      void write()
        .catch(() => {}) // where no server answers any more
        .then(() => bed[Symbol.asyncDispose]())
        .finally(() => process.exit(code));
    });
  }
}

await main();
