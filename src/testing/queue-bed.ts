import { crc32 } from "node:zlib";
import { afterEach, beforeEach, expect } from "vitest";
import { sleep } from "../core/async.ts";
import { type ErrorCode, TidemarkError } from "../core/errors.ts";
import type { Position } from "../core/position.ts";
import type {
  DocumentEntry,
  Documents,
  Mark,
  Queue,
  QueueMessage,
  QueueStream,
  StreamTail,
} from "../core/queue.ts";

/** A fresh, empty queue on a real server or file. */
export interface QueueBed {
  /** One more connection to it. The default bound is large enough for every test. */
  open(maxStreamBytes?: number): Promise<Queue>;
  /** Removes it, connections that a test left open included. */
  dispose(): Promise<void>;
}

/** What an operator does who deletes the queue while it is in use. */
export interface QueueLossBed extends QueueBed {
  /** Streams are gone, and not made again by this. */
  loseStreams(): Promise<void>;
  loseDocuments(): Promise<void>;
}

/** A queue behind a server that the tests may mistreat. */
export interface QueueServerBed extends QueueBed {
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Up again with the same data and address. */
  start(): Promise<void>;
  /** SIGSTOP: connections stay open and nobody answers, from when this resolves. */
  freeze(): Promise<void>;
  thaw(): void;
}

export const SOURCE = "shop";
const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;
/** No step may take longer; a hang is reported by the step that hangs. */
export const STEP_MS = 20_000;

/** Connections of one test, and what it follows; all of it ends with the test. */
export class Bench<Bed extends QueueBed> {
  #bed: Bed | null = null;
  #queues: Queue[] = [];
  #abort = new AbortController();

  get bed(): Bed {
    if (this.#bed === null) throw new TidemarkError("TM-INTERNAL", "The test has no queue.");
    return this.#bed;
  }

  begin(bed: Bed): void {
    this.#bed = bed;
    this.#abort = new AbortController();
  }

  async end(): Promise<void> {
    this.#abort.abort();
    try {
      await this.closeAll();
    } finally {
      await this.#bed?.dispose();
    }
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.#queues.splice(0).map((queue) => within(STEP_MS, queue.close())));
  }

  async queue(maxStreamBytes = DEFAULT_MAX_BYTES): Promise<Queue> {
    const queue = await this.bed.open(maxStreamBytes);
    this.#queues.push(queue);
    return queue;
  }

  /** The stream of the usual source, on a connection of its own. */
  async stream(maxStreamBytes?: number): Promise<QueueStream> {
    return (await this.queue(maxStreamBytes)).openStream(SOURCE);
  }

  async documents(): Promise<Documents> {
    return (await this.queue()).documents;
  }

  async take(stream: QueueStream, after: Position, count: number): Promise<QueueMessage[]> {
    const follower = this.follow(stream, after);
    const messages = await follower.take(count);
    await follower.end();
    return messages;
  }

  follow(stream: QueueStream, after: Position): Follower<QueueMessage> {
    return new Follower((signal) => stream.read(after, signal), this.#abort.signal);
  }

  watch(documents: Documents, prefix: string): Follower<DocumentEntry> {
    return new Follower((signal) => documents.watch(prefix, signal), this.#abort.signal);
  }
}

/** Takes from an endless iterable as many as it is asked for, and no more. */
class Follower<T> {
  readonly #abort = new AbortController();
  readonly #iterator: AsyncIterator<T>;

  constructor(open: (signal: AbortSignal) => AsyncIterable<T>, end: AbortSignal) {
    end.addEventListener("abort", () => this.#abort.abort(), { once: true });
    this.#iterator = open(this.#abort.signal)[Symbol.asyncIterator]();
    this.#first = this.#iterator.next();
    this.#first.catch(() => {}); // told by the first take
  }

  /** Asked for at once, so that it waits already when the test goes on. */
  #first: Promise<IteratorResult<T>> | null;

  async next(): Promise<T> {
    const pending = this.#first ?? this.#iterator.next();
    this.#first = null;
    const result = await within(STEP_MS, pending);
    if (result.done === true) throw new TidemarkError("TM-INTERNAL", "It ended by itself.");
    return result.value;
  }

  async take(count: number): Promise<T[]> {
    const items: T[] = [];
    while (items.length < count) items.push(await this.next());
    return items;
  }

  async end(): Promise<void> {
    this.#abort.abort();
    await within(STEP_MS, this.#iterator.next());
  }
}

export function useBench<Bed extends QueueBed>(createBed: () => Promise<Bed>): Bench<Bed> {
  const bench = new Bench<Bed>();
  beforeEach(async () => bench.begin(await createBed()));
  afterEach(() => bench.end());
  return bench;
}

export function message(
  fields: Partial<Mark> & { batch: number; body?: Uint8Array },
): QueueMessage {
  const { body = Buffer.from(`batch ${fields.batch}`), ...mark } = fields;
  return {
    mark: {
      timeline: "t1",
      chunk: 0,
      piece: 0,
      fragment: 0,
      fragments: 1,
      last: true,
      checksum: crc32(body),
      ...mark,
    },
    body,
  };
}

export function batches(first: number, last: number): QueueMessage[] {
  return range(first, last).map((batch) => message({ batch }));
}

export function batchesOf(messages: readonly QueueMessage[]): number[] {
  return messages.map(({ mark }) => mark.batch);
}

/** Batches whose pieces stand together, from 0 to the last, in stream order. */
export function wholeBatches(messages: readonly QueueMessage[]): number[] {
  const whole: number[] = [];
  let next = 0;
  let writer = -1;
  for (const { mark, body } of messages) {
    if (mark.piece === 0) writer = body[0] as number;
    next = mark.piece === 0 || (mark.piece === next && body[0] === writer) ? mark.piece + 1 : 0;
    if (mark.last && next === mark.piece + 1) whole.push(mark.batch);
  }
  return whole;
}

/** Compares bodies by content, whatever kind of array holds them. */
export function plain(messages: readonly QueueMessage[]): { mark: Mark; body: string }[] {
  return messages.map(({ mark, body }) => ({
    mark,
    body: body.length > 1000 ? `${body.length}:${crc32(body)}` : Buffer.from(body).toString("hex"),
  }));
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

export function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

export async function expectCode(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  const outcome = await promise.then(
    () => "no error",
    (error: unknown) => codeOf(error),
  );
  expect(outcome).toBe(code);
}

export function codeOf(error: unknown): string {
  return error instanceof TidemarkError ? error.code : String(error);
}

export function ignoreRetryable(error: unknown): void {
  if (!(error instanceof TidemarkError && error.retryable)) throw error;
}

/** What a relay does about a retryable error: again. */
export async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + STEP_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const again = error instanceof TidemarkError && error.retryable;
      if (!again || performance.now() > deadline) throw error;
      await sleep(50);
    }
  }
}

/** After a loss, as a relay does: a queue may find only while it writes that the stream is to be made anew. */
export function appendAtTail(
  stream: QueueStream,
  messages: readonly QueueMessage[],
): Promise<StreamTail> {
  return eventually(async () => stream.append(await stream.tail(), messages));
}

export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = sleep(ms, timer.signal).then(() => {
    if (timer.signal.aborted) return new Promise<never>(() => {});
    throw new TidemarkError("TM-WAIT-TIMEOUT", `Nothing happened within ${ms} ms.`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}
