// A process of its own that does what a relay does: argv is the queue's URL, the number of messages
// and whether to reset first. Says "done" when all are stored.
import { crc32 } from "node:zlib";
import { silentLogger } from "../../src/core/log.ts";
import type { QueueMessage } from "../../src/core/queue.ts";
import { nats } from "../../src/queues/nats/index.ts";
import { sqliteQueue } from "../../src/queues/sqlite/index.ts";

const [url = "", count = "0"] = process.argv.slice(2);
const adapter = url.startsWith("sqlite:") ? sqliteQueue : nats;
const queue = await adapter.open({ url, logger: silentLogger, maxStreamBytes: 64 * 1024 * 1024 });
const stream = await queue.openStream("shop");
for (;;) {
  const tail = await stream.tail();
  const batch = (tail.mark?.batch ?? 0) + 1;
  if (batch > Number(count)) break;
  await stream.append(tail, [message(batch)]);
}
await queue.documents.put("writer", { done: Number(count) });
await queue.close();
console.log("done");

function message(batch: number): QueueMessage {
  const body = Buffer.from(`batch ${batch}`);
  const whole = { piece: 0, fragment: 0, fragments: 1, last: true };
  return { mark: { timeline: "t1", batch, chunk: 0, ...whole, checksum: crc32(body) }, body };
}
