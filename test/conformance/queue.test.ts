import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/core/log.ts";
import { sqliteQueue } from "../../src/queues/sqlite/index.ts";
import {
  type QueueLossBed,
  registerQueueLossSuite,
  registerQueueSuite,
} from "../../src/testing/queue-conformance.ts";

registerQueueSuite("sqlite", async () => sqliteBed());
registerQueueLossSuite("sqlite", async () => sqliteBed());

function sqliteBed(): QueueLossBed {
  const folder = mkdtempSync(join(tmpdir(), "tidemark-queue-"));
  const lose = async () => rmSync(join(folder, "q"), { recursive: true });
  return {
    open: (maxStreamBytes = 1024 ** 3) =>
      sqliteQueue.open({
        url: `sqlite:${join(folder, "q", "queue.db")}`,
        logger: silentLogger,
        maxStreamBytes,
      }),
    loseStreams: lose,
    loseDocuments: lose,
    dispose: async () => rmSync(folder, { recursive: true, force: true }),
  };
}
