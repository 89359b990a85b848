// `npm run chaos`: the checker in simulated time (docs/reference/checker.md). Needs no server.
//   npm run chaos -- --seed 1 --count 10000      arguments: npm run chaos -- --help
import { join } from "node:path";
import { orExplain } from "./lib/explain.mjs";
import { installPackages } from "./lib/install.mjs";
import { endAs, projectEnvironment, projectNode, ROOT, run } from "./lib/project-node.mjs";

await orExplain(async () => {
  installPackages();
  const node = projectNode();
  const main = ["--no-warnings", join(ROOT, "test/chaos/main.ts"), ...process.argv.slice(2)];
  endAs(await run(node, main, { env: projectEnvironment(node) }));
});
