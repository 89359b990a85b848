// `npm run bench:docs -- FILE.json …`: docs/benchmarks/results.md and its figures, from files that
// `npm run bench` has written. The files are kept beside the page; without arguments those are used.
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { readMeasurements } from "./measurement.ts";
import { makePage } from "./page.ts";

const FOLDER = resolve(import.meta.dirname, "../../docs/benchmarks");
const DATA = join(FOLDER, "data");

const given = process.argv.slice(2);
const files = given.length > 0 ? given : kept();
const measurements = readMeasurements(files);
if (measurements.length === 0) throw new Error("Name the files that npm run bench has written.");
const { markdown, charts } = await makePage(measurements);
mkdirSync(DATA, { recursive: true });
keep(files);
for (const name of readdirSync(FOLDER)) if (name.endsWith(".svg")) rmSync(join(FOLDER, name));
for (const [name, svg] of charts) writeFileSync(join(FOLDER, name), svg);
writeFileSync(join(FOLDER, "results.md"), markdown);
console.log(`${join(FOLDER, "results.md")}: ${charts.size} figures of ${files.length} files`);

function kept(): string[] {
  return readdirSync(DATA).map((name) => join(DATA, name));
}

/** Those that the page is made of, and no others. */
function keep(sources: readonly string[]): void {
  const wanted = sources.map((file) => basename(file));
  for (const name of readdirSync(DATA)) if (!wanted.includes(name)) rmSync(join(DATA, name));
  for (const file of sources) {
    if (resolve(dirname(file)) !== DATA) copyFileSync(file, join(DATA, basename(file)));
  }
}
