// `npm run chaos`: the checker (docs/reference/checker.md): in simulated time, which needs no server, with --servers on
// real ones, or with --power on real ones whose disks lose power.
//   npm run chaos -- --seed 1 --count 10000      arguments: npm run chaos -- --help
//   npm run chaos -- --servers --minutes 30      arguments: npm run chaos -- --servers --help
//   npm run chaos -- --power --minutes 30        arguments: npm run chaos -- --power --help
import { join } from "node:path";
import { parseArgs } from "node:util";
import { orExplain } from "./lib/explain.mjs";
import { installPackages } from "./lib/install.mjs";
import { endAs, projectEnvironment, projectNode, ROOT, run } from "./lib/project-node.mjs";

const USAGE = `npm run chaos -- --servers|--power [--seed N] [--minutes M | --count C] [--pair A-B] [--queue Q]

  --servers     faults of processes, servers and connections
  --power       the power of disks is cut: Linux, as root, with loop devices
  --seed N      the first seed (default: a random one)
  --minutes M   goes on with the seeds that follow until M minutes are over (default: 1)
  --count C     so many seeds, instead
  --pair A-B    one of postgres, mariadb, mysql, sqlite for each (default: drawn)
  --queue Q     embedded or nats (default: drawn)
  --plant NAME  with --power: with a fault built in, which must be found (test/chaos/servers/plants.ts)
  --record      keeps what was shown in test/chaos/records/
  --continue    adds to the run that began with this seed and this commit`;

const OPTIONS = {
  servers: { type: "boolean" },
  power: { type: "boolean" },
  seed: { type: "string", default: String(Math.floor(Math.random() * 1e9)) },
  minutes: { type: "string" },
  count: { type: "string" },
  plant: { type: "string", default: "" },
  pair: { type: "string", default: "" },
  queue: { type: "string", default: "" },
  record: { type: "boolean", default: false },
  continue: { type: "boolean", default: false },
  help: { type: "boolean" },
};
const NUMBER = /^\d+(\.\d+)?$/;
const PAIR = /^(postgres|mariadb|mysql|sqlite)-(postgres|mariadb|mysql|sqlite)$/;

await orExplain(async () => {
  if (["--servers", "--power"].some((each) => process.argv.includes(each))) return onServers();
  installPackages();
  const node = projectNode();
  const main = ["--no-warnings", join(ROOT, "test/chaos/main.ts"), ...process.argv.slice(2)];
  endAs(await run(node, main, { env: projectEnvironment(node) }));
});

async function onServers() {
  const { values } = parseArgs({ options: OPTIONS });
  const { seed, count, pair, queue, power, plant } = values;
  const minutes = values.minutes ?? (count === undefined ? "1" : undefined);
  if (values.help) return console.log(USAGE);
  for (const number of [seed, minutes, count]) {
    if (number !== undefined && !NUMBER.test(number)) {
      throw new Error(`"${number}" is no number.\n${USAGE}`);
    }
  }
  if (pair !== "" && !PAIR.test(pair)) throw new Error(`"${pair}" is no pair.\n${USAGE}`);
  if (!["", "embedded", "nats"].includes(queue)) {
    throw new Error(`"${queue}" is no queue.\n${USAGE}`);
  }
  if (plant !== "" && !power) throw new Error("A --plant is for --power.");
  const env = {
    ...process.env,
    TIDEMARK_TEST_SHARED: "none", // worlds kill servers: they have their own
    TIDEMARK_CHAOS_SEED: seed,
    TIDEMARK_CHAOS_MINUTES: minutes ?? "",
    TIDEMARK_CHAOS_COUNT: count ?? "",
    TIDEMARK_CHAOS_PLANT: plant,
    TIDEMARK_CHAOS_PAIR: pair,
    TIDEMARK_CHAOS_QUEUE: queue,
    TIDEMARK_CHAOS_RECORD: values.record ? "yes" : "",
    TIDEMARK_CHAOS_CONTINUE: values.continue ? "yes" : "",
  };
  const args = [
    join(ROOT, "scripts/test.mjs"),
    `test/chaos/${power ? "power" : "servers"}.test.ts`,
  ];
  endAs(await run(process.execPath, args, { env }));
}
