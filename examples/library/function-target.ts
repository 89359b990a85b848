/** Feed a cache from the same stream: a target that is a function. */
import { type Delivery, Pipeline, silentLogger } from "tidemark";
import { makeShop } from "./shop.ts";

const { source, definition: pair } = makeShop();
const cache = new Map<string, unknown>();

function deliver({ changes }: Delivery): void {
  for (const { op, key, row } of changes) {
    if (op === "clear") cache.clear();
    else if (op === "put") cache.set(key?.id ?? "", row);
    else cache.delete(key?.id ?? "");
  }
}

const definition = {
  ...pair,
  databases: [
    ...pair.databases.filter(({ name }) => name === "source"),
    { name: "cache", deliver },
  ],
  syncs: [{ name: "source->cache", from: "source", to: "cache", tables: [{ table: "*" }] }],
};
const pipeline = await Pipeline.open(definition, { logger: silentLogger });
await pipeline.start();
source.exec("DELETE FROM orders WHERE id = 2");
await pipeline.waitFor({ timeoutMs: 30_000 });
process.stdout.write(`${JSON.stringify([...cache.values()])}\n`);
await pipeline.stop();
