import { describe, expect, it } from "vitest";
import { isTidemarkError } from "../core/errors.ts";
import { START } from "../core/position.ts";
import type { QueueStream } from "../core/queue.ts";
import type { Bench } from "./queue-bed.ts";
import {
  batches,
  batchesOf,
  codeOf,
  expectCode,
  message,
  noise,
  plain,
  type QueueBed,
  range,
  SOURCE,
  STEP_MS,
  wholeBatches,
  within,
} from "./queue-bed.ts";

/** What is appended, and by whom (G2, G3, G7). */
export function registerStream(bench: Bench<QueueBed>): void {
  describe("stream", () => {
    it("is empty at first", async () => {
      const stream = await bench.stream();
      expect((await stream.tail()).mark).toBeNull();
      expect((await stream.stats()).messages).toBe(0);
    });

    it("gives every reader the same messages, in order and unchanged", async () => {
      const [one, two] = [await bench.stream(), await bench.stream()];
      const sent = [
        message({ batch: 1, body: new Uint8Array(0), last: false }),
        message({ batch: 1, piece: 1, body: Uint8Array.from({ length: 256 }, (_, i) => i) }),
        message({ batch: 1, chunk: 1, piece: 0, fragment: 0, fragments: 2, last: true }),
        message({ batch: 1, chunk: 1, piece: 0, fragment: 1, fragments: 2, last: true }),
        message({ batch: 2, timeline: `zeitlinie "ß" 漢 \u{1f30a}` }),
      ];
      const tail = await one.append(await one.tail(), sent);
      for (const stream of [one, two]) {
        expect(plain(await bench.take(stream, START, sent.length))).toEqual(plain(sent));
        expect(await stream.tail()).toEqual(tail);
      }
      expect(tail.mark).toEqual(sent.at(-1)?.mark);
      expect((await two.stats()).messages).toBe(sent.length);
    });

    it("keeps streams of different sources apart, whatever their names", async () => {
      const queue = await bench.queue();
      const names = [
        "a",
        "A",
        "a.b",
        "a b",
        "a/b",
        "a*",
        "a>",
        'say "hi"',
        "größe 漢字",
        "../up",
        "n".repeat(300),
      ];
      for (const [index, source] of names.entries()) {
        const stream = await queue.openStream(source);
        await stream.append(await stream.tail(), [message({ batch: index + 1 })]);
      }
      for (const [index, source] of names.entries()) {
        const stream = await queue.openStream(source);
        const [first] = await bench.take(stream, START, 1);
        expect(first?.mark.batch, source).toBe(index + 1);
        expect((await stream.stats()).messages, source).toBe(1);
      }
    });

    it("keeps everything when all connections are closed and opened again", async () => {
      const before = await bench.stream();
      const tail = await before.append(await before.tail(), batches(1, 20));
      await bench.closeAll();
      const after = await bench.stream();
      expect(await after.tail()).toEqual(tail);
      expect(batchesOf(await bench.take(after, START, 20))).toEqual(range(1, 20));
      await after.append(tail, batches(21, 21));
    });

    it("accepts messages as large as it says, and refuses larger ones", async () => {
      const queue = await bench.queue();
      const stream = await queue.openStream(SOURCE);
      const { maxMessageBytes } = queue.limits;
      expect(maxMessageBytes).toBeGreaterThanOrEqual(64 * 1024);
      const large = range(1, 5).map((batch) =>
        message({ batch, body: noise(maxMessageBytes, batch) }),
      );
      await stream.append(await stream.tail(), large);
      const read = await bench.take(await bench.stream(), START, large.length);
      await expect(plain(read)).toEqual(plain(large));
      expect((await stream.tail()).mark).toEqual(large.at(-1)?.mark);
      const tooLarge = message({ batch: 6, body: new Uint8Array(maxMessageBytes + 64 * 1024) });
      await expectCode(stream.append(await stream.tail(), [tooLarge]), "TM-QUEUE-LIMIT");
    });

    it("carries 10,000 messages to several readers in order", async () => {
      const writer = await bench.stream();
      const readers = [await bench.stream(), await bench.stream(), await bench.stream()];
      const taken = readers.map((stream) => bench.take(stream, START, 10_000));
      let tail = await writer.tail();
      for (let first = 1; first <= 10_000; first += 500) {
        tail = await writer.append(tail, batches(first, first + 499));
      }
      for (const messages of await Promise.all(taken)) {
        expect(batchesOf(messages)).toEqual(range(1, 10_000));
      }
    });
  });

  describe("guard", () => {
    it("refuses an append that does not know the end of the stream", async () => {
      const [one, two] = [await bench.stream(), await bench.stream()];
      const old = await two.tail();
      const tail = await one.append(await one.tail(), batches(1, 1));
      await expectCode(two.append(old, batches(1, 3)), "TM-QUEUE-CONFLICT");
      expect(await two.tail()).toEqual(tail);
      await expectCode(
        two.append({ ...tail, sequence: tail.sequence + 1 }, batches(2, 2)),
        "TM-QUEUE-CONFLICT",
      );
      await two.append(tail, batches(2, 2));
      expect(batchesOf(await bench.take(one, START, 2))).toEqual([1, 2]);
    });

    it("lets exactly one of many concurrent appends win", async () => {
      const streams = [await bench.stream(), await bench.stream(), await bench.stream()];
      const tail = await (streams[0] as QueueStream).tail();
      const outcomes = await Promise.allSettled(
        range(1, 12).map((writer) =>
          (streams[writer % 3] as QueueStream).append(tail, [
            message({ batch: 1, body: Buffer.from([writer]) }),
          ]),
        ),
      );
      const lost = outcomes.filter((each) => each.status === "rejected");
      expect(lost.map((each) => codeOf(each.reason))).toEqual(
        Array.from({ length: 11 }, () => "TM-QUEUE-CONFLICT"),
      );
      expect((await (streams[1] as QueueStream).stats()).messages).toBe(1);
    });

    it("never lets two writers interleave", async () => {
      const streams = [await bench.stream(), await bench.stream()];
      const goal = 30;
      const accepted: number[] = [];
      // Each does what a relay does: look where the stream ends, and go on from there.
      const write = async (stream: QueueStream, writer: number) => {
        for (;;) {
          const tail = await stream.tail();
          const done = tail.mark === null ? 0 : tail.mark.batch - (tail.mark.last ? 0 : 1);
          if (done >= goal) return;
          const batch = done + 1;
          const pieces = range(0, 3).map((piece) =>
            message({ batch, piece, last: piece === 3, body: Buffer.from([writer]) }),
          );
          try {
            await stream.append(tail, pieces);
            accepted.push(batch);
          } catch (error) {
            if (!isTidemarkError(error, "TM-QUEUE-CONFLICT")) throw error;
          }
        }
      };
      await within(STEP_MS, Promise.all(streams.map((stream, index) => write(stream, index))));
      expect(new Set(accepted).size, "a batch was accepted twice").toBe(accepted.length);
      const { messages } = await (streams[0] as QueueStream).stats();
      const read = await bench.take(streams[0] as QueueStream, START, messages);
      expect(wholeBatches(read)).toEqual(range(1, goal));
    });
  });
}
