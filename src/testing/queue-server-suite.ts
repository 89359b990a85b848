import { afterEach, describe, expect, it } from "vitest";
import { START } from "../core/position.ts";
import {
  batches,
  batchesOf,
  eventually,
  expectCode,
  ignoreRetryable,
  type QueueServerBed,
  range,
  STEP_MS,
  useBench,
  within,
} from "./queue-bed.ts";

/** Behind a server: killed, started again, and silent (G5). */
export function registerQueueServerSuite(
  name: string,
  createBed: () => Promise<QueueServerBed>,
): void {
  describe(`queue server fails: ${name}`, () => {
    const bench = useBench(createBed);
    afterEach(() => bench.bed.thaw());

    it("goes on with readers and watchers after kill -9 and a restart", async () => {
      const stream = await bench.stream();
      const reader = bench.follow(await bench.stream(), START);
      const documents = await bench.documents();
      const watch = bench.watch(await bench.documents(), "");
      await stream.append(await stream.tail(), batches(1, 50));
      await documents.put("a", 1);
      expect(batchesOf(await reader.take(50))).toEqual(range(1, 50));
      expect(await watch.next()).toEqual({ key: "a", value: 1 });
      for (const round of [1, 2]) {
        await bench.bed.kill();
        await expectCode(within(STEP_MS, stream.tail()), "TM-CONNECTION-LOST");
        await bench.bed.start();
        // A server that loses what it acknowledged is allowed; a reader that hangs is not.
        const tail = await eventually(() => stream.tail());
        const next = (tail.mark?.batch ?? 0) + 1;
        await stream.append(tail, batches(next, next + 9));
        const last = next + 9;
        for (let batch = 0; batch !== last; ) batch = batchesOf(await reader.take(1))[0] as number;
        await eventually(() => documents.put("a", round + 1));
        for (let value: unknown = null; value !== round + 1; ) value = (await watch.next()).value;
      }
    });

    it("loses no batch between a relay that sends again and an applier that looks again", async () => {
      const goal = 400;
      const stream = await bench.stream();
      const written = (async () => {
        for (;;) {
          const tail = await eventually(() => stream.tail());
          const next = (tail.mark?.batch ?? 0) + 1;
          if (next > goal) return;
          await stream.append(tail, batches(next, Math.min(goal, next + 3))).catch(ignoreRetryable);
        }
      })();
      const other = await bench.stream();
      let applied = 0;
      const read = (async () => {
        while (applied < goal) {
          const reader = bench.follow(other, { batch: applied, chunk: 0 });
          for (;;) {
            const batch = batchesOf(await reader.take(1))[0] as number;
            if (batch > applied + 1) break; // a hole: from our position again
            applied = Math.max(applied, batch);
            if (applied === goal) break;
          }
          await reader.end();
        }
      })();
      for (const target of [60, 160, 260]) {
        await expect.poll(() => applied, { timeout: STEP_MS, interval: 5 }).toBeGreaterThan(target);
        await bench.bed.kill();
        await bench.bed.start();
      }
      await within(3 * STEP_MS, Promise.all([written, read]));
      expect(applied).toBe(goal);
    });

    it("tells a writer in time when nobody answers, and goes on when the server does again", async () => {
      const stream = await bench.stream();
      const reader = bench.follow(await bench.stream(), START);
      const documents = await bench.documents();
      const tail = await stream.append(await stream.tail(), batches(1, 1));
      await reader.take(1);
      await bench.bed.freeze();
      const asked = performance.now();
      await Promise.all([
        expectCode(stream.append(tail, batches(2, 3)), "TM-CONNECTION-LOST"),
        expectCode(stream.tail(), "TM-CONNECTION-LOST"),
        expectCode(documents.put("a", 1), "TM-CONNECTION-LOST"),
      ]);
      expect(performance.now() - asked).toBeLessThan(15_000);
      bench.bed.thaw();
      // What became of the append is unknown: the tail tells.
      const now = await eventually(() => stream.tail());
      const next = (now.mark?.batch ?? 0) + 1;
      await eventually(async () => stream.append(await stream.tail(), batches(next, next)));
      for (let batch = 0; batch !== next; ) batch = batchesOf(await reader.take(1))[0] as number;
    });
  });
}
