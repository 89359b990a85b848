import { afterEach, describe, expect, it } from "vitest";
import { isTidemarkError, TidemarkError } from "../core/errors.ts";
import { START } from "../core/position.ts";
import type { DocumentEntry, QueueStream } from "../core/queue.ts";
import {
  appendAtTail,
  batches,
  batchesOf,
  codeOf,
  eventually,
  expectCode,
  ignoreRetryable,
  message,
  noise,
  plain,
  type QueueBed,
  type QueueLossBed,
  type QueueServerBed,
  range,
  SOURCE,
  STEP_MS,
  useBench,
  wholeBatches,
  within,
} from "./queue-bed.ts";

export type { QueueBed, QueueLossBed, QueueServerBed };

/** The queue contract (src/core/queue.ts), run against one adapter. */
export function registerQueueSuite(name: string, createBed: () => Promise<QueueBed>): void {
  describe(`queue contract: ${name}`, () => {
    const bench = useBench(createBed);

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
        expect(plain(read)).toEqual(plain(large));
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

    describe("reading", () => {
      it("begins after the position asked for", async () => {
        const stream = await bench.stream();
        const sent = range(1, 50).flatMap((batch) => [
          message({ batch, piece: 0, last: false }),
          message({ batch, piece: 1 }),
          message({ batch, chunk: 1 }),
          message({ batch, chunk: 2 }),
        ]);
        await stream.append(await stream.tail(), sent);
        const first = async (batch: number, chunk: number) => {
          const [found] = await bench.take(stream, { batch, chunk }, 1);
          return found === undefined
            ? null
            : [found.mark.batch, found.mark.chunk, found.mark.piece];
        };
        expect(await first(0, 0)).toEqual([1, 0, 0]);
        expect(await first(1, 0)).toEqual([1, 1, 0]);
        expect(await first(1, 1)).toEqual([1, 2, 0]);
        expect(await first(1, 2)).toEqual([2, 0, 0]);
        expect(await first(24, 7)).toEqual([25, 0, 0]);
        expect(await first(49, 2)).toEqual([50, 0, 0]);
        expect(await first(50, 1)).toEqual([50, 2, 0]);
      });

      it("waits for a position that is still to come", async () => {
        const stream = await bench.stream();
        const tail = await stream.append(await stream.tail(), batches(1, 5));
        const reader = bench.follow(await bench.stream(), { batch: 7, chunk: 0 });
        await stream.append(tail, batches(6, 9));
        expect(batchesOf(await reader.take(2))).toEqual([8, 9]);
      });

      it("goes on live, from what was there to what comes", async () => {
        const stream = await bench.stream();
        let tail = await stream.append(await stream.tail(), batches(1, 3));
        const reader = bench.follow(await bench.stream(), START);
        expect(batchesOf(await reader.take(3))).toEqual([1, 2, 3]);
        for (const batch of range(4, 10)) {
          tail = await stream.append(tail, batches(batch, batch));
          expect(batchesOf(await reader.take(1))).toEqual([batch]);
        }
      });

      it("wakes a waiting reader at once", async () => {
        const stream = await bench.stream();
        const reader = bench.follow(await bench.stream(), START);
        let tail = await stream.append(await stream.tail(), batches(1, 1));
        await reader.take(1);
        const latencies: number[] = [];
        for (const batch of range(2, 26)) {
          const sent = performance.now();
          tail = await stream.append(tail, batches(batch, batch));
          await reader.take(1);
          latencies.push(performance.now() - sent);
        }
        latencies.sort((a, b) => a - b);
        expect(latencies[12], "median latency, ms").toBeLessThan(50);
      });

      it("is not held up by a reader that stands still", async () => {
        const stream = await bench.stream();
        const idle = bench.follow(await bench.stream(), START);
        await stream.append(await stream.tail(), batches(1, 300));
        await idle.take(1);
        expect(batchesOf(await bench.take(stream, START, 300))).toEqual(range(1, 300));
        expect(batchesOf(await idle.take(299))).toEqual(range(2, 300));
      });

      it("gives a position again that was sent again", async () => {
        const stream = await bench.stream();
        const reader = bench.follow(await bench.stream(), START);
        const half = [message({ batch: 1, piece: 0, last: false })];
        const whole = [...half, message({ batch: 1, piece: 1 })];
        const tail = await stream.append(await stream.tail(), half);
        await stream.append(tail, whole);
        expect((await reader.take(3)).map(({ mark }) => mark.piece)).toEqual([0, 0, 1]);
        const again = await bench.take(stream, START, 3);
        expect(again.map(({ mark }) => mark.piece)).toEqual([0, 0, 1]);
      });

      it("ends promptly when it is told to", async () => {
        const stream = await bench.stream();
        await stream.append(await stream.tail(), batches(1, 100));
        const abort = new AbortController();
        let seen = 0;
        const waiting = (async () => {
          for await (const _ of stream.read(START, abort.signal)) seen++;
        })();
        await expect.poll(() => seen, { timeout: STEP_MS }).toBe(100);
        const asked = performance.now();
        abort.abort();
        await within(STEP_MS, waiting);
        expect(performance.now() - asked).toBeLessThan(500);

        const early = new AbortController();
        let taken = 0;
        for await (const _ of stream.read(START, early.signal)) {
          if (++taken === 10) early.abort();
        }
        expect(taken).toBe(10);
        for await (const _ of stream.read(START, AbortSignal.abort())) taken++;
        expect(taken).toBe(10);
      });
    });

    describe("trim and reset", () => {
      it("trims what is confirmed and keeps the tail", async () => {
        const stream = await bench.stream();
        const tail = await stream.append(await stream.tail(), batches(1, 40));
        const full = await stream.stats();
        await stream.trim(0);
        expect((await stream.stats()).messages).toBe(40);
        await stream.trim(25);
        await stream.trim(10);
        expect(await stream.tail()).toEqual(tail);
        expect(batchesOf(await bench.take(stream, START, 15))).toEqual(range(26, 40));
        const less = await stream.stats();
        expect(less.messages).toBe(15);
        expect(less.bytes).toBeLessThan(full.bytes);
      });

      it("trims chunks that were read and keeps those behind them", async () => {
        const stream = await bench.stream();
        const chunks = range(0, 9).map((chunk) => message({ batch: 1, chunk }));
        const tail = await stream.append(await stream.tail(), chunks);
        await stream.trim(1, 3);
        await stream.trim(1, 2);
        const left = await bench.take(stream, START, 6);
        expect(left.map(({ mark }) => mark.chunk)).toEqual(range(4, 9));
        await stream.trim(1);
        expect(await stream.tail()).toEqual(tail);
      });
      it("still tells the tail when all is trimmed, to others as well", async () => {
        const stream = await bench.stream();
        const tail = await stream.append(await stream.tail(), batches(1, 40));
        await stream.trim(99);
        const other = await bench.stream();
        expect(await other.tail()).toEqual(tail);
        // The last message itself may be what carries the tail.
        expect((await other.stats()).messages).toBeLessThanOrEqual(1);
        await other.append(tail, batches(41, 42));
        expect(batchesOf(await bench.take(stream, { batch: 40, chunk: 0 }, 2))).toEqual([41, 42]);
      });

      it("does not disturb readers by a trim", async () => {
        const stream = await bench.stream();
        const reader = bench.follow(await bench.stream(), START);
        let tail = await stream.tail();
        const got: number[] = [];
        for (const first of [1, 101, 201, 301]) {
          tail = await stream.append(tail, batches(first, first + 99));
          got.push(...batchesOf(await reader.take(100)));
          await stream.trim(first + 49);
        }
        expect(got).toEqual(range(1, 400));
      });

      it("lets earlier batches be sent again after a reset, while readers wait", async () => {
        const [stream, other] = [await bench.stream(), await bench.stream()];
        const reader = bench.follow(other, START);
        const old = await stream.append(await stream.tail(), batches(1, 20));
        expect(batchesOf(await reader.take(20))).toEqual(range(1, 20));
        await stream.reset();
        const empty = await stream.tail();
        expect(empty.mark).toBeNull();
        expect(await other.tail()).toEqual(empty);
        // A relay that does not know of the reset would leave a hole.
        await expectCode(other.append(old, batches(21, 21)), "TM-QUEUE-CONFLICT");
        await stream.append(empty, batches(8, 22));
        expect(batchesOf(await reader.take(15))).toEqual(range(8, 22));
        expect(batchesOf(await bench.take(other, { batch: 10, chunk: 0 }, 12))).toEqual(
          range(11, 22),
        );
      });

      it("can be reset when it is empty, and again", async () => {
        const stream = await bench.stream();
        await stream.reset();
        await stream.reset();
        const tail = await stream.tail();
        expect(tail.mark).toBeNull();
        await stream.append(tail, batches(1, 2));
        expect(batchesOf(await bench.take(stream, START, 2))).toEqual([1, 2]);
      });

      it("refuses when it is full, loses nothing, and recovers after a trim", async () => {
        const stream = await bench.stream(2 * 1024 * 1024);
        const reader = bench.follow(await bench.stream(2 * 1024 * 1024), START);
        const body = noise(50_000, 1);
        let tail = await stream.tail();
        let batch = 0;
        const fill = async () => {
          for (;;) {
            tail = await stream.append(tail, [message({ batch: batch + 1, body })]);
            batch++;
          }
        };
        await expectCode(within(STEP_MS, fill()), "TM-QUEUE-FULL");
        expect(batch).toBeGreaterThan(20);
        expect(batch).toBeLessThan(43);
        const full = batch;
        expect(await stream.tail()).toEqual(tail);
        expect(batchesOf(await reader.take(full))).toEqual(range(1, full));
        await stream.trim(full - 1);
        await expectCode(within(STEP_MS, fill()), "TM-QUEUE-FULL");
        expect(batch).toBeGreaterThan(full + 15);
        expect(batchesOf(await reader.take(batch - full))).toEqual(range(full + 1, batch));
        await stream.reset();
        tail = await stream.tail();
        await expectCode(within(STEP_MS, fill()), "TM-QUEUE-FULL");
      });
    });

    describe("documents", () => {
      it("are put, got, replaced, removed and listed", async () => {
        const [one, two] = [await bench.documents(), await bench.documents()];
        expect(await one.get("a")).toBeNull();
        const value = {
          text: `"ß" 漢 \u{1f30a} \u0000 '`,
          list: [1, null, true],
          nested: { a: {} },
        };
        await one.put("a", value);
        expect(await two.get("a")).toEqual(value);
        await two.put("a", 2);
        expect(await one.get("a")).toBe(2);
        await two.put("b", "x");
        expect(await one.list("")).toEqual(
          new Map<string, unknown>([
            ["a", 2],
            ["b", "x"],
          ]),
        );
        await one.remove("a");
        await one.remove("a");
        await one.remove("never there");
        expect(await two.get("a")).toBeNull();
        expect(await two.list("")).toEqual(new Map([["b", "x"]]));
        await two.put("a", 3);
        expect(await one.get("a")).toBe(3);
      });

      it("have keys of any characters, and list by any prefix", async () => {
        const documents = await bench.documents();
        for (const key of ODD_KEYS) await documents.put(key, { key });
        for (const key of ODD_KEYS) expect(await documents.get(key), key).toEqual({ key });
        expect([...(await documents.list("")).keys()].sort()).toEqual([...ODD_KEYS].sort());
        for (const prefix of ["progress/", "progress/a", "progress/a.b", "ü", "=", "%", "a*"]) {
          const expected = ODD_KEYS.filter((key) => key.startsWith(prefix)).sort();
          expect([...(await documents.list(prefix)).keys()].sort(), prefix).toEqual(expected);
        }
      });

      it("are watched: what stands, then every later write", async () => {
        const [one, two] = [await bench.documents(), await bench.documents()];
        await one.put("sync/a", 1);
        await one.put("sync/gone", 1);
        await one.remove("sync/gone");
        await one.put("other", 1);
        const watch = bench.watch(two, "sync/");
        expect(await watch.next()).toEqual({ key: "sync/a", value: 1 });
        await one.put("other", 2);
        await one.put("sync/b", { b: 1 });
        expect(await watch.next()).toEqual({ key: "sync/b", value: { b: 1 } });
        await two.put("sync/a", 2);
        expect(await watch.next()).toEqual({ key: "sync/a", value: 2 });
        await one.remove("sync/a");
        expect(await watch.next()).toEqual({ key: "sync/a", value: null });
        await one.put("sync/a", 3);
        expect(await watch.next()).toEqual({ key: "sync/a", value: 3 });
      });

      it("reach every watcher with their last value, however quickly they are written", async () => {
        const [one, two] = [await bench.documents(), await bench.documents()];
        const watches = [bench.watch(one, "n/"), bench.watch(two, "n/"), bench.watch(two, "")];
        for (const value of range(1, 200)) {
          await Promise.all([one.put("n/a", value), two.put("n/b", value)]);
        }
        for (const watch of watches) {
          const last = new Map<string, unknown>();
          while (last.get("n/a") !== 200 || last.get("n/b") !== 200) {
            const { key, value } = await watch.next();
            expect(Number(value)).toBeGreaterThan(Number(last.get(key) ?? 0));
            last.set(key, value);
          }
        }
      });

      it("end a watch promptly", async () => {
        const documents = await bench.documents();
        await documents.put("a", 1);
        const abort = new AbortController();
        const seen: DocumentEntry[] = [];
        const watching = (async () => {
          for await (const entry of documents.watch("", abort.signal)) seen.push(entry);
        })();
        await expect.poll(() => seen.length, { timeout: STEP_MS }).toBe(1);
        const asked = performance.now();
        abort.abort();
        await within(STEP_MS, watching);
        expect(performance.now() - asked).toBeLessThan(500);
      });
    });

    describe("closing", () => {
      it("ends readers and watchers, and refuses what comes after", async () => {
        const queue = await bench.queue();
        const stream = await queue.openStream(SOURCE);
        await stream.append(await stream.tail(), batches(1, 1));
        let began = 0;
        const reading = (async () => {
          for await (const _ of stream.read(START, new AbortController().signal)) began++;
        })();
        const watching = (async () => {
          for await (const _ of queue.documents.watch("", new AbortController().signal)) began++;
        })();
        await queue.documents.put("a", 1);
        await expect.poll(() => began, { timeout: STEP_MS }).toBe(2);
        await queue.close();
        await within(STEP_MS, Promise.all([reading, watching]));
        await expect(within(STEP_MS, stream.tail())).rejects.toBeInstanceOf(TidemarkError);
        await queue.close();
      });
    });
  });
}

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

/** Behind a server: killed, started again, and silent. */
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

const ODD_KEYS = [
  "a",
  "A",
  "progress/a",
  "progress/a.b",
  "progress/a.b.",
  "progress/.a",
  "progress/shop->reports",
  "progress/shop%20reports",
  "progress/with space",
  'progress/"quoted"',
  "progress/it's",
  "progress/back\\slash",
  "progress//double",
  "progress/",
  "a*",
  "a>",
  "=2E",
  "%2F",
  "über/größe",
  "漢字/\u{1f30a}",
  "line\nbreak",
  "k".repeat(200),
];
