// A process of its own that opens new queue files one after the other, as others do at the same moment: argv is their
// folder and how many. Says "done" when it has opened all.
import { join } from "node:path";
import { silentLogger } from "../../src/core/log.ts";
import { sqliteQueue } from "../../src/queues/sqlite/index.ts";

const [folder = "", count = "0"] = process.argv.slice(2);
for (let n = 0; n < Number(count); n++) {
  const url = `sqlite:${join(folder, `${n}.db`)}`;
  const queue = await sqliteQueue.open({ url, logger: silentLogger, maxStreamBytes: 1024 ** 2 });
  await queue.close();
}
console.log("done");
