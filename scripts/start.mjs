// `npm start`: installs what is missing, builds what has changed, runs the demo.
// Arguments after `--` go to the demo: npm start -- --help
import { join } from "node:path";
import { buildIfNeeded } from "./lib/build.mjs";
import { orExplain } from "./lib/explain.mjs";
import { installPackages } from "./lib/install.mjs";
import { endAs, projectEnvironment, projectNode, ROOT, run } from "./lib/project-node.mjs";

await orExplain(async () => {
  installPackages();
  buildIfNeeded();
  const demo = [join(ROOT, "dist/cli/main.js"), "demo", ...process.argv.slice(2)];
  const node = projectNode();
  endAs(await run(node, demo, { env: projectEnvironment(node) }));
});
