// Which test bears which guarantee, as the tests say themselves (CONTRIBUTING.md): in the comment that heads
// a test file, and in the doc comment of a conformance suite.
import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { GUARANTEES, type Level } from "./guarantees.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const NAMED = /\bG(\d)(?: to G(\d))?\b/g;
const SUITE = /\/\*\*(?:(?!\*\/)[\s\S])*\*\/(?=\nexport function register)/;

export interface Bearer {
  /** From the root of the repository. */
  readonly file: string;
  readonly level: Level;
  readonly guarantees: ReadonlySet<string>;
}

/** The tests that name a guarantee, in the order of their names. */
export function bearers(): readonly Bearer[] {
  const files = globSync(["{src,test}/**/*.test.ts", "src/testing/*-suite.ts"], { cwd: ROOT });
  return files
    .sort()
    .map((file) => {
      const guarantees = named(claimOf(readFileSync(`${ROOT}/${file}`, "utf8"), file));
      return { file, level: levelOf(file), guarantees };
    })
    .filter(({ guarantees }) => guarantees.size > 0);
}

/** Throws when a guarantee has no test at a level that it claims, or a test names what is none. */
export function check(tests: readonly Bearer[]): void {
  const known = new Set(GUARANTEES.map(({ id }) => id));
  const wrong = [
    ...tests.flatMap(({ file, guarantees }) =>
      [...guarantees]
        .filter((id) => !known.has(id))
        .map((id) => `${file} names ${id}, which is none`),
    ),
    ...GUARANTEES.flatMap(({ id, levels }) =>
      levels
        .filter((level) => !tests.some((each) => each.level === level && each.guarantees.has(id)))
        .map((level) => `no test of the level "${level}" names ${id}`),
    ),
  ];
  if (wrong.length > 0)
    throw new Error(`${wrong.join("\n")}\n(how tests name them: CONTRIBUTING.md)`);
}

/** Where a text names guarantees: "G1, G3", "G1 to G5". */
export function named(text: string): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const [, from, to = from] of text.matchAll(NAMED)) {
    for (let number = Number(from); number <= Number(to); number++) ids.add(`G${number}`);
  }
  return ids;
}

function claimOf(source: string, file: string): string {
  if (file.startsWith("src/testing/")) return SUITE.exec(source)?.[0] ?? "";
  return /^(?:\/\/.*\n)*/.exec(source)?.[0] ?? "";
}

function levelOf(file: string): Level {
  if (file.startsWith("src/testing/")) return "contracts";
  if (file.startsWith("src/")) return "units";
  if (basename(file) === "simulation.test.ts") return "simulation";
  return file.startsWith("test/chaos/") ? "faults" : "servers";
}
