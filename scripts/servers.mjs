// The test servers by hand: node scripts/servers.mjs start|stop|status|env
// A set started here stays until it is stopped here, and each test run meanwhile reuses it.
//   sweep   ends what an interrupted run has left; done by each run, too
import { runUnderProjectNode } from "./lib/project-node.mjs";

await runUnderProjectNode(import.meta.url);
const { leaveSet, SERVER_NAMES, SERVERS, startSet, stopSet, urlOf, whyMissing } = await import(
  "../test/servers/set.ts"
);

const verbs = {
  async start() {
    await startSet("keep");
    verbs.status();
  },
  stop: stopSet,
  sweep: leaveSet,
  status() {
    for (const name of SERVER_NAMES) {
      console.log(`${name.padEnd(16)} ${urlOf(name) ?? whyMissing(name) ?? "not running"}`);
    }
  },
  /** For a shell: eval "$(node scripts/servers.mjs env)" */
  env() {
    for (const name of SERVER_NAMES) {
      const url = urlOf(name);
      if (url) console.log(`export ${SERVERS[name].variable}='${url}'`);
    }
  },
};

const verb = verbs[process.argv[2] ?? "status"];
if (!verb) {
  console.error("Usage: node scripts/servers.mjs start|stop|status|env|sweep");
  process.exit(2);
}
await verb();
