// `npm test`: installs what is missing (packages, and on Debian as root the servers), builds, then
// checks style, types and behaviour. All of them run even when one fails, so that one run tells all.
//   npm run test:unit              no servers, ends in seconds
//   npm test -- test/pairs -t name arguments go to vitest; style and types are then left out
import { join } from "node:path";
import { orExplain } from "./lib/explain.mjs";
import { installPackages } from "./lib/install.mjs";
import { installMysql } from "./lib/mysql-install.mjs";
import { installOldest } from "./lib/oldest-install.mjs";
import { endAs, projectEnvironment, projectNode, ROOT, run } from "./lib/project-node.mjs";
import { installServers } from "./lib/servers-install.mjs";
import { withTemporaryFolder } from "./lib/temporary-folder.mjs";

const isUnit = process.argv.includes("--unit");
const forVitest = process.argv.slice(2).filter((each) => each !== "--unit");
const MODULES = join(ROOT, "node_modules");

await orExplain(async () => {
  installPackages();
  if (!isUnit) installServers();
  if (!isUnit) installMysql();
  if (!isUnit) installOldest();
  const node = projectNode();
  // The large tests of sizes fill a disk.
  const isLarge = Boolean(process.env.TIDEMARK_TEST_LARGE);
  const env = isLarge ? projectEnvironment(node) : withTemporaryFolder(projectEnvironment(node));
  const steps = [];
  if (forVitest.length === 0) {
    steps.push(["lint", join(MODULES, "@biomejs/biome/bin/biome"), "check", "."]);
    steps.push(["types", join(MODULES, "typescript/bin/tsc"), "-p", "tsconfig.json"]);
  }
  // The tests of the command line run what users run.
  if (!isUnit) steps.push(["build", join(ROOT, "scripts/build.mjs"), "--if-needed"]);
  steps.push(["tests", join(MODULES, "vitest/vitest.mjs"), ...vitestArguments()]);

  const failed = [];
  for (const [name, ...args] of steps) {
    console.log(`\n> ${name}`);
    const end = await run(node, args, { env });
    if (end.signal) return interrupted(node, end);
    if (end.code !== 0) failed.push(name);
  }
  if (failed.length > 0) console.error(`\nFailed: ${failed.join(", ")}`);
  process.exitCode = failed.length > 0 ? 1 : 0;
});

/** Servers that were just being started would stay. */
async function interrupted(node, end) {
  if (!isUnit) await run(node, [join(ROOT, "scripts/servers.mjs"), "sweep"]);
  endAs(end);
}

function vitestArguments() {
  return ["run", ...(isUnit ? ["--project", "unit"] : []), ...forVitest];
}
