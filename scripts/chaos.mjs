// `npm run chaos`: the checker (docs/reference/checker.md): in simulated time, which needs no server, or with
// --servers on real ones.
//   npm run chaos -- --seed 1 --count 10000      arguments: npm run chaos -- --help
//   npm run chaos -- --servers --minutes 30      arguments: npm run chaos -- --servers --help
import { join } from "node:path";
import { parseArgs } from "node:util";
import { orExplain } from "./lib/explain.mjs";
import { installPackages } from "./lib/install.mjs";
import { endAs, projectEnvironment, projectNode, ROOT, run } from "./lib/project-node.mjs";

const USAGE = `npm run chaos -- --servers [--seed N] [--minutes M] [--pair A-B] [--queue embedded|nats]

  --seed N      the first seed (default: a random one)
  --minutes M   goes on with the seeds that follow until M minutes are over (default: 1)
  --pair A-B    one of postgres, mariadb, mysql, sqlite for each (default: drawn)
  --queue Q     embedded or nats (default: drawn)
  --record      keeps what was shown in test/chaos/records/
  --continue    adds to the run that began with this seed and this commit`;

const OPTIONS = {
  servers: { type: "boolean" },
  seed: { type: "string", default: String(Math.floor(Math.random() * 1e9)) },
  minutes: { type: "string", default: "1" },
  pair: { type: "string", default: "" },
  queue: { type: "string", default: "" },
  record: { type: "boolean", default: false },
  continue: { type: "boolean", default: false },
  help: { type: "boolean" },
};
const NUMBER = /^\d+(\.\d+)?$/;
const PAIR = /^(postgres|mariadb|mysql|sqlite)-(postgres|mariadb|mysql|sqlite)$/;

await orExplain(async () => {
  if (process.argv.includes("--servers")) return onServers();
  installPackages();
  const node = projectNode();
  const main = ["--no-warnings", join(ROOT, "test/chaos/main.ts"), ...process.argv.slice(2)];
  endAs(await run(node, main, { env: projectEnvironment(node) }));
});

async function onServers() {
  const { values } = parseArgs({ options: OPTIONS });
  const { seed, minutes, pair, queue } = values;
  if (values.help) return console.log(USAGE);
  for (const number of [seed, minutes]) {
    if (!NUMBER.test(number)) throw new Error(`"${number}" is no number.\n${USAGE}`);
  }
  if (pair !== "" && !PAIR.test(pair)) throw new Error(`"${pair}" is no pair.\n${USAGE}`);
  if (!["", "embedded", "nats"].includes(queue)) {
    throw new Error(`"${queue}" is no queue.\n${USAGE}`);
  }
  const env = {
    ...process.env,
    TIDEMARK_TEST_SHARED: "none", // worlds kill servers: they have their own
    TIDEMARK_CHAOS_SEED: seed,
    TIDEMARK_CHAOS_MINUTES: minutes,
    TIDEMARK_CHAOS_PAIR: pair,
    TIDEMARK_CHAOS_QUEUE: queue,
    TIDEMARK_CHAOS_RECORD: values.record ? "yes" : "",
    TIDEMARK_CHAOS_CONTINUE: values.continue ? "yes" : "",
  };
  const args = [join(ROOT, "scripts/test.mjs"), "test/chaos/servers.test.ts"];
  endAs(await run(process.execPath, args, { env }));
}
