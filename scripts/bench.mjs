// `npm run bench`: installs and builds what is missing, starts private servers, measures, tells, stops them.
//   npm run bench -- --only lag,backlog --rounds 3      arguments: npm run bench -- --help
import { join } from "node:path";
import { buildIfNeeded } from "./lib/build.mjs";
import { orExplain } from "./lib/explain.mjs";
import { installPackages } from "./lib/install.mjs";
import { endAs, projectEnvironment, projectNode, ROOT, run } from "./lib/project-node.mjs";
import { installServers } from "./lib/servers-install.mjs";

await orExplain(async () => {
  installPackages();
  installServers();
  buildIfNeeded();
  const node = projectNode();
  const main = [join(ROOT, "bench/main.ts"), ...process.argv.slice(2)];
  endAs(await run(node, main, { env: projectEnvironment(node) }));
});
