/** Follow the changes of a source as a typed async iterable. */
import { Pipeline, silentLogger, subscribe } from "tidemark";
import { makeShop } from "./shop.ts";

type Order = { id: string; customer: string; total: string };

const { source, definition } = makeShop();
const pipeline = await Pipeline.open(definition, { logger: silentLogger });
await pipeline.start();
await pipeline.waitFor({ timeoutMs: 30_000 });

source.exec("INSERT INTO orders VALUES (3, 'Edsger', '3.75'); DELETE FROM orders WHERE id = 1");

const stop = new AbortController();
let seen = 0;
const changes = subscribe<Order>(definition, { signal: stop.signal, fromStart: true });
for await (const { op, table, key, row } of changes) {
  process.stdout.write(`${op} ${table} ${key?.id} ${row === null ? "" : row.customer}\n`);
  if (++seen === 2) stop.abort();
}
await pipeline.stop();
