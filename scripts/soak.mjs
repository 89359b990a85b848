// `npm run soak`: random schemas under random changes (test/chaos/soak.test.ts) for as long as asked.
//   npm run soak -- --seed 7 --minutes 30 --pair postgres-mariadb
import { join } from "node:path";
import { parseArgs } from "node:util";
import { orExplain } from "./lib/explain.mjs";
import { endAs, ROOT, run } from "./lib/project-node.mjs";

const USAGE = `npm run soak -- [--seed N] [--minutes M] [--pair SOURCE-TARGET] [--world W]

  --seed N      the first seed; without --minutes the only one (default: a random one)
  --minutes M   goes on with the seeds that follow until M minutes are over, shared by the pairs
  --pair A-B    one of postgres, mariadb, mysql, sqlite for each (default: all nine pairs)
  --world W     schemas: random ones; exchange: one whose unique values and keys change hands, under faults (default: schemas)
  --short       as short as in CI: what failed there is repeated with it`;

const OPTIONS = {
  seed: { type: "string" },
  minutes: { type: "string" },
  pair: { type: "string" },
  world: { type: "string", default: "schemas" },
  short: { type: "boolean" },
  help: { type: "boolean" },
};
const WORLDS = { schemas: "soak", exchange: "exchange" };
const NUMBER = /^\d+(\.\d+)?$/;
const PAIR = /^(postgres|mariadb|mysql|sqlite)-(postgres|mariadb|mysql|sqlite)$/;

await orExplain(async () => {
  const { values } = parseArgs({ options: OPTIONS });
  const { seed, minutes = "0", pair = "" } = values;
  if (values.help) return console.log(USAGE);
  for (const number of [seed ?? "0", minutes]) {
    if (!NUMBER.test(number)) throw new Error(`"${number}" is no number.\n${USAGE}`);
  }
  if (pair !== "" && !PAIR.test(pair)) throw new Error(`"${pair}" is no pair.\n${USAGE}`);
  const file = WORLDS[values.world];
  if (file === undefined) throw new Error(`"${values.world}" is no world.\n${USAGE}`);
  const env = {
    ...process.env,
    TIDEMARK_SOAK_SEED: seed ?? String(Math.floor(Math.random() * 2 ** 31)),
    TIDEMARK_SOAK_MINUTES: minutes,
    TIDEMARK_SOAK_PAIR: pair,
    TIDEMARK_SOAK_SIZE: values.short ? "short" : "long",
  };
  const args = [join(ROOT, "scripts/test.mjs"), `test/chaos/${file}.test.ts`];
  endAs(await run(process.execPath, args, { env }));
});
