import { describe, expect, it } from "vitest";
import { START } from "../core/position.ts";
import type { QueueStream, StreamTail } from "../core/queue.ts";
import type { Bench } from "./queue-bed.ts";
import {
  batches,
  batchesOf,
  expectCode,
  message,
  noise,
  type QueueBed,
  range,
  STEP_MS,
  within,
} from "./queue-bed.ts";

/** Readers, and what becomes of them when a stream is cut short or begun anew (G1, G5). */
export function registerReading(bench: Bench<QueueBed>): void {
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
        return found === undefined ? null : [found.mark.batch, found.mark.chunk, found.mark.piece];
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
      const filler = await Filler.of(stream);
      await expectCode(within(STEP_MS, filler.fill()), "TM-QUEUE-FULL");
      expect(filler.batch).toBeGreaterThan(20);
      expect(filler.batch).toBeLessThan(43);
      const full = filler.batch;
      expect(await stream.tail()).toEqual(filler.tail);
      expect(batchesOf(await reader.take(full))).toEqual(range(1, full));
      await stream.trim(full - 1);
      await expectCode(within(STEP_MS, filler.fill()), "TM-QUEUE-FULL");
      expect(filler.batch).toBeGreaterThan(full + 15);
      expect(batchesOf(await reader.take(filler.batch - full))).toEqual(
        range(full + 1, filler.batch),
      );
      await stream.reset();
      filler.tail = await stream.tail();
      await expectCode(within(STEP_MS, filler.fill()), "TM-QUEUE-FULL");
    });

    it("holds as much more as it is allowed, until that is taken back", async () => {
      const stream = await bench.stream(2 * 1024 * 1024);
      const filler = await Filler.of(stream);
      await expectCode(within(STEP_MS, filler.fill()), "TM-QUEUE-FULL");
      const bound = filler.batch;
      await stream.allow(4 * 1024 * 1024);
      await expectCode(within(STEP_MS, filler.fill()), "TM-QUEUE-FULL");
      expect(filler.batch).toBeGreaterThan(1.7 * bound);
      await stream.allow(0);
      // Nor does it drop anything of that, whoever opens it.
      const reader = bench.follow(await bench.stream(2 * 1024 * 1024), START);
      await expectCode(within(STEP_MS, filler.fill()), "TM-QUEUE-FULL");
      expect(batchesOf(await reader.take(filler.batch))).toEqual(range(1, filler.batch));
      await stream.trim(filler.batch - Math.floor(bound / 2));
      await expectCode(within(STEP_MS, filler.fill()), "TM-QUEUE-FULL");
      await stream.trim(filler.batch - 1);
      const from = filler.batch;
      await expectCode(within(STEP_MS, filler.fill()), "TM-QUEUE-FULL");
      expect(filler.batch - from).toBeLessThan(1.1 * bound);
    });
  });
}

/** Appends batches of one message each for as long as the stream takes them. */
class Filler {
  batch = 0;
  tail: StreamTail;
  readonly #stream: QueueStream;
  readonly #body = noise(50_000, 1);

  static async of(stream: QueueStream): Promise<Filler> {
    return new Filler(stream, await stream.tail());
  }

  private constructor(stream: QueueStream, tail: StreamTail) {
    this.#stream = stream;
    this.tail = tail;
  }

  async fill(): Promise<never> {
    for (;;) {
      const next = message({ batch: this.batch + 1, body: this.#body });
      this.tail = await this.#stream.append(this.tail, [next]);
      this.batch++;
    }
  }
}
