import { describe, expect, it } from "vitest";
import { START } from "../core/position.ts";
import {
  appendAtTail,
  batches,
  batchesOf,
  eventually,
  expectCode,
  type QueueLossBed,
  range,
  useBench,
} from "./queue-bed.ts";

/** A queue may lose everything (G5): whoever uses it must find out and go on. */
export function registerQueueLossSuite(name: string, createBed: () => Promise<QueueLossBed>): void {
  describe(`queue loses what it held: ${name}`, () => {
    const bench = useBench(createBed);

    it("lets a waiting reader see what is sent again", async () => {
      const stream = await bench.stream();
      const reader = bench.follow(await bench.stream(), START);
      const old = await stream.append(await stream.tail(), batches(1, 30));
      expect(batchesOf(await reader.take(30))).toEqual(range(1, 30));
      await bench.bed.loseStreams();
      const tail = await eventually(() => stream.tail());
      expect(tail.mark).toBeNull();
      await expectCode(stream.append(old, batches(31, 31)), "TM-QUEUE-CONFLICT");
      // Fewer than were there before: a reader that kept counting would wait for ever.
      await appendAtTail(stream, batches(25, 32));
      expect(batchesOf(await reader.take(8))).toEqual(range(25, 32));
      expect(batchesOf(await bench.take(await bench.stream(), START, 8))).toEqual(range(25, 32));
    });

    it("keeps a reader that had not begun waiting for its position", async () => {
      const stream = await bench.stream();
      await stream.append(await stream.tail(), batches(1, 5));
      const reader = bench.follow(await bench.stream(), { batch: 9, chunk: 0 });
      await bench.bed.loseStreams();
      await appendAtTail(stream, batches(8, 11));
      expect(batchesOf(await reader.take(2))).toEqual([10, 11]);
    });

    it("tells watchers what is gone and what is written again", async () => {
      const documents = await bench.documents();
      await documents.put("a", 1);
      await documents.put("b", 1);
      const watch = bench.watch(await bench.documents(), "");
      const state = new Map<string, unknown>();
      const until = async (done: () => boolean) => {
        while (!done()) {
          const { key, value } = await watch.next();
          if (value === null) state.delete(key);
          else state.set(key, value);
        }
      };
      await until(() => state.size === 2);
      await bench.bed.loseDocuments();
      await eventually(() => documents.put("b", 2));
      await until(() => !state.has("a") && state.get("b") === 2);
      expect(await documents.list("")).toEqual(new Map([["b", 2]]));
      await documents.put("a", 3);
      await until(() => state.get("a") === 3);
    });
  });
}
