/** Hear when a target has everything: completion notices as an async iterable. */
import { Pipeline, silentLogger } from "tidemark";
import { makeShop } from "./shop.ts";

const { source, definition } = makeShop();
const pipeline = await Pipeline.open(definition, { logger: silentLogger });
await pipeline.start();

const stop = new AbortController();
for await (const notice of pipeline.notices(stop.signal)) {
  const copied = notice.tablesPending === 0;
  process.stdout.write(`${notice.sync} has batch ${notice.position.batch}, copied: ${copied}\n`);
  if (copied && notice.position.batch === 0) source.exec("DELETE FROM orders WHERE id = 1");
  if (copied && notice.position.batch > 0) stop.abort();
}
await pipeline.stop();
