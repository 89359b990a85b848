// A queue file in a folder of its own.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/core/log.ts";
import type { Queue } from "../../src/core/queue.ts";
import { sqliteQueue } from "../../src/queues/sqlite/index.ts";
import type { QueueLossBed } from "../../src/testing/queue-bed.ts";

export interface SqliteBed extends QueueLossBed {
  /** Holds nothing but the queue's folder. */
  readonly folder: string;
  readonly path: string;
  readonly url: string;
  openAt(url: string): Promise<Queue>;
}

export function sqliteBed(within = tmpdir()): SqliteBed {
  const folder = mkdtempSync(join(within, "tidemark-queue-"));
  const path = join(folder, "q", "queue.db");
  const url = `sqlite:${path}`;
  const lose = async () => rmSync(join(folder, "q"), { recursive: true });
  return {
    folder,
    path,
    url,
    open: (maxStreamBytes = 1024 ** 3) =>
      sqliteQueue.open({ url, logger: silentLogger, maxStreamBytes }),
    openAt: (other) =>
      sqliteQueue.open({ url: other, logger: silentLogger, maxStreamBytes: 1024 ** 3 }),
    loseStreams: lose,
    loseDocuments: lose,
    dispose: async () => rmSync(folder, { recursive: true, force: true }),
  };
}
