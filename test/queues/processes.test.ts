// Relay in one process, appliers in others: what one commits the others see, also when it dies (G2).
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { sleep } from "../../src/core/async.ts";
import { START } from "../../src/core/position.ts";
import type { Queue } from "../../src/core/queue.ts";
import type { QueueBed } from "../../src/testing/queue-bed.ts";
import { available, natsUrl } from "../servers/index.ts";
import { natsBed } from "./nats-bed.ts";
import { sqliteBed } from "./sqlite-bed.ts";

type Bed = QueueBed & { readonly url: string };

describe("sqlite", () => {
  registerProcessTests(sqliteBed);

  it("lets several processes open a file that none has made yet", async () => {
    const bed = sqliteBed();
    try {
      const openers = Array.from({ length: 3 }, () =>
        startChild("open-child.ts", [bed.folder, 500]),
      );
      const ends = await Promise.all(openers.map((child) => once(child, "exit")));
      expect(ends).toEqual(ends.map(() => [0, null]));
    } finally {
      await bed.dispose();
    }
  });
});

describe.skipIf(!available("nats"))("nats", () => registerProcessTests(() => natsBed(natsUrl())));

function registerProcessTests(createBed: () => Bed): void {
  it("shows a reader and a watcher what another process writes", async () => {
    await withQueue(createBed, async (bed, queue) => {
      const abort = new AbortController();
      const stream = await queue.openStream("shop");
      const watched = (async () => {
        for await (const { value } of queue.documents.watch("", abort.signal)) return value;
        return null;
      })();
      const read = readTo(queue, 500);
      // It may have ended before what it wrote last is seen.
      const ended = once(startWriter(bed.url, 500), "exit");
      expect(await read).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
      expect(await watched).toEqual({ done: 500 });
      expect(await ended).toEqual([0, null]);
      expect((await stream.tail()).mark?.batch).toBe(500);
      abort.abort();
    });
  });

  it("goes on behind a writer that was killed in the middle", async () => {
    await withQueue(createBed, async (bed, queue) => {
      const read = readTo(queue, 3000);
      const stream = await queue.openStream("shop");
      for (const target of [200, 900]) {
        const child = startWriter(bed.url, 3000);
        await expect
          .poll(async () => (await stream.tail()).mark?.batch ?? 0, {
            timeout: 20_000,
            interval: 5,
          })
          .toBeGreaterThan(target);
        child.kill("SIGKILL");
        await once(child, "exit");
      }
      expect(await once(startWriter(bed.url, 3000), "exit")).toEqual([0, null]);
      expect(await read).toEqual(Array.from({ length: 3000 }, (_, index) => index + 1));
    });
  });

  it("lets two processes write at once without a hole or a double", async () => {
    await withQueue(createBed, async (bed, queue) => {
      // Both take a conflict for the end of their life, as a relay that is fenced off would.
      const writers = Array.from({ length: 2 }, () => startWriter(bed.url, 2000, "quiet"));
      await Promise.all(writers.map((child) => once(child, "exit")));
      const stream = await queue.openStream("shop");
      const { mark } = await stream.tail();
      const last = mark?.batch ?? 0;
      expect(last).toBeGreaterThan(0);
      expect(await readTo(queue, last)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
      expect((await stream.stats()).messages).toBe(last);
    });
  });
}

async function withQueue(
  createBed: () => Bed,
  work: (bed: Bed, queue: Queue) => Promise<void>,
): Promise<void> {
  const bed = createBed();
  const queue = await bed.open();
  try {
    await work(bed, queue);
  } finally {
    await queue.close();
    await bed.dispose();
  }
}

async function readTo(queue: Queue, last: number): Promise<number[]> {
  const abort = new AbortController();
  const stream = await queue.openStream("shop");
  const batches: number[] = [];
  const timeout = sleep(30_000, abort.signal).then(() => abort.abort());
  for await (const { mark } of stream.read(START, abort.signal)) {
    batches.push(mark.batch);
    if (mark.batch === last) break;
  }
  abort.abort();
  await timeout;
  return batches;
}

type Errors = "inherit" | "quiet";

function startWriter(url: string, count: number, errors: Errors = "inherit"): ChildProcess {
  return startChild("append-child.ts", [url, count], errors);
}

function startChild(
  file: string,
  args: readonly (string | number)[],
  errors: Errors = "inherit",
): ChildProcess {
  return spawn(
    process.execPath,
    [
      "--experimental-strip-types",
      "--disable-warning=ExperimentalWarning",
      join(import.meta.dirname, file),
      ...args.map(String),
    ],
    { stdio: ["ignore", "ignore", errors === "quiet" ? "ignore" : "inherit"] },
  );
}
