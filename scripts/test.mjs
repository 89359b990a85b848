// `npm test`: installs what is missing (packages, and on Debian as root the servers), builds, then
// checks style, types and behaviour. All of them run even when one fails, so that one run tells all.
//   npm run test:unit              no servers, ends in seconds
//   npm test -- test/pairs -t name arguments go to vitest; style and types are then left out
import { join } from "node:path";
import { buildIfNeeded } from "./lib/build.mjs";
import { orExplain } from "./lib/explain.mjs";
import { installPackages } from "./lib/install.mjs";
import { projectEnvironment, projectNode, ROOT, run } from "./lib/project-node.mjs";
import { installServers } from "./lib/servers-install.mjs";

const isUnit = process.argv.includes("--unit");
const forVitest = process.argv.slice(2).filter((each) => each !== "--unit");
const MODULES = join(ROOT, "node_modules");

await orExplain(async () => {
  installPackages();
  if (!isUnit) installServers();
  const node = projectNode();
  const env = projectEnvironment(node);
  const step = async (name, ...args) => {
    console.log(`\n> ${name}`);
    return { name, code: await run(node, args, { env }) };
  };

  const results = [];
  if (forVitest.length === 0) {
    results.push(await step("lint", join(MODULES, "@biomejs/biome/bin/biome"), "check", "."));
    results.push(await step("types", join(MODULES, "typescript/bin/tsc"), "-p", "tsconfig.json"));
  }
  if (!isUnit) buildIfNeeded(); // the tests of the command line run what users run
  results.push(await step("tests", join(MODULES, "vitest/vitest.mjs"), ...vitestArguments()));

  const failed = results.filter(({ code }) => code !== 0);
  if (failed.length > 0) console.error(`\nFailed: ${failed.map(({ name }) => name).join(", ")}`);
  process.exitCode = failed.length > 0 ? 1 : 0;
});

function vitestArguments() {
  return ["run", ...(isUnit ? ["--project", "unit"] : []), ...forVitest];
}
