/** Start a pipeline in this process, write to the source, wait, read the target. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Pipeline, silentLogger } from "tidemark";
import { makeShop } from "./shop.ts";

const { folder, source, definition } = makeShop();
const pipeline = await Pipeline.open(definition, { logger: silentLogger });
await pipeline.start();

source.exec("UPDATE orders SET total = '11.00' WHERE id = 1; DELETE FROM orders WHERE id = 2");
await pipeline.waitFor({ timeoutMs: 30_000 });

const target = new DatabaseSync(join(folder, "copy.db"), { readOnly: true });
process.stdout.write(`${JSON.stringify(target.prepare("SELECT * FROM orders").all())}\n`);

const { syncs } = await pipeline.status();
process.stdout.write(`${syncs[0]?.name}: ${syncs[0]?.state}, batch ${syncs[0]?.position.batch}\n`);
await pipeline.stop();
