import { Bell } from "../../src/core/async.ts";
import { TidemarkError } from "../../src/core/errors.ts";
import { comparePositions, type Position } from "../../src/core/position.ts";
import type {
  DocumentEntry,
  Documents,
  Queue,
  QueueMessage,
  QueueStream,
  StandingDocument,
  StreamTail,
} from "../../src/core/queue.ts";

/** The queue contract in memory, for unit tests of the engine's own state machines: it can lose things on demand. */
export class MemoryQueue implements Queue {
  readonly limits = { maxMessageBytes: 1024 * 1024 };
  readonly documents = new MemoryDocuments();
  readonly streams = new Map<string, MemoryStream>();
  readonly #maxMessages: number;

  constructor(maxMessages = Number.POSITIVE_INFINITY) {
    this.#maxMessages = maxMessages;
  }

  async openStream(source: string): Promise<MemoryStream> {
    const stream = this.streams.get(source) ?? new MemoryStream(this.#maxMessages);
    this.streams.set(source, stream);
    return stream;
  }

  async close(): Promise<void> {}
}

export class MemoryDocuments implements Documents {
  readonly #values = new Map<string, unknown>();
  readonly #revisions = new Map<string, number>();
  #writes = 0;
  readonly #bells = new Set<{ readonly bell: Bell; readonly news: Map<string, unknown> }>();
  /** Writes so many times to fail, for keys that begin so. */
  failing: { prefix: string; times: number } | null = null;

  async put(key: string, value: unknown): Promise<void> {
    const { failing } = this;
    if (failing !== null && failing.times > 0 && key.startsWith(failing.prefix)) {
      failing.times--;
      throw new TidemarkError("TM-CONNECTION-LOST", "The queue is away.");
    }
    this.#values.set(key, value);
    this.#revisions.set(key, ++this.#writes);
    this.#tell(key, value);
  }

  async read(key: string): Promise<StandingDocument> {
    return { value: this.#values.get(key) ?? null, revision: this.#revisions.get(key) ?? 0 };
  }

  async replace(key: string, value: unknown, revision: number): Promise<number> {
    this.#mustStandAt(key, revision);
    await this.put(key, value);
    return this.#writes;
  }

  async get(key: string): Promise<unknown | null> {
    return this.#values.get(key) ?? null;
  }

  async remove(key: string, revision?: number): Promise<void> {
    if (revision !== undefined) this.#mustStandAt(key, revision);
    if (!this.#values.delete(key)) return;
    this.#revisions.set(key, ++this.#writes);
    this.#tell(key, null);
  }

  async list(prefix: string): Promise<ReadonlyMap<string, unknown>> {
    return new Map([...this.#values].filter(([key]) => key.startsWith(prefix)));
  }

  /** What a queue that lost its disk comes back with: nothing, and nobody is told. */
  wipe(): void {
    this.#values.clear();
    this.#revisions.clear();
  }

  async *watch(prefix: string, signal: AbortSignal): AsyncGenerator<DocumentEntry> {
    // Not by list(): what is written before that resolves would be told to nobody.
    const watcher = { bell: new Bell(), news: new Map(this.#values) };
    this.#bells.add(watcher);
    try {
      while (!signal.aborted) {
        for (const [key, value] of watcher.news) {
          watcher.news.delete(key);
          if (key.startsWith(prefix)) yield { key, value };
        }
        if (watcher.news.size === 0) await watcher.bell.wait(60_000, signal);
      }
    } finally {
      this.#bells.delete(watcher);
    }
  }

  #mustStandAt(key: string, revision: number): void {
    if ((this.#revisions.get(key) ?? 0) === revision) return;
    throw new TidemarkError("TM-QUEUE-CONFLICT", "The document stands at another revision.");
  }

  #tell(key: string, value: unknown): void {
    for (const { bell, news } of this.#bells) {
      news.set(key, value);
      bell.ring();
    }
  }
}

interface Stored {
  readonly sequence: number;
  readonly message: QueueMessage;
}

export class MemoryStream implements QueueStream {
  messages: Stored[] = [];
  /** Messages are acknowledged and never stored. */
  losing = false;
  #sequence = 0;
  #mark: StreamTail["mark"] = null;
  #maxMessages: number;
  readonly #bound: number;
  readonly #bells = new Set<Bell>();

  constructor(maxMessages: number) {
    this.#maxMessages = maxMessages;
    this.#bound = maxMessages;
  }

  /** Bytes are not counted here. */
  async allow(bytes: number): Promise<void> {
    this.#maxMessages = bytes === 0 ? this.#bound : Number.POSITIVE_INFINITY;
  }

  async tail(): Promise<StreamTail> {
    return { sequence: this.#sequence, mark: this.#mark };
  }

  async append(after: StreamTail, messages: readonly QueueMessage[]): Promise<StreamTail> {
    if (after.sequence !== this.#sequence) throw new TidemarkError("TM-QUEUE-CONFLICT", "Moved.");
    if (this.messages.length + messages.length > this.#maxMessages) {
      throw new TidemarkError("TM-QUEUE-FULL", "The queue is full.");
    }
    for (const message of messages) {
      this.#sequence++;
      this.#mark = message.mark;
      const { mark, body } = message;
      const stored = { mark, body: Uint8Array.from(body) };
      if (!this.losing) this.messages.push({ sequence: this.#sequence, message: stored });
    }
    // As the embedded queue does: whoever reads them afterwards is wrong.
    for (const message of messages) message.release?.();
    for (const bell of this.#bells) bell.ring();
    return this.tail();
  }

  async *read(after: Position, signal: AbortSignal): AsyncGenerator<QueueMessage> {
    const bell = new Bell();
    this.#bells.add(bell);
    let cursor: number | null = null;
    try {
      while (!signal.aborted) {
        const from: number | null = cursor;
        const isNext = ({ sequence, message }: Stored) =>
          from === null ? comparePositions(message.mark, after) > 0 : sequence > from;
        const next: Stored | undefined = this.messages.find(isNext);
        if (next === undefined) {
          await bell.wait(60_000, signal);
          continue;
        }
        cursor = next.sequence;
        yield next.message;
      }
    } finally {
      this.#bells.delete(bell);
    }
  }

  async trim(batch: number, chunk = Number.MAX_SAFE_INTEGER): Promise<void> {
    const kept = ({ message }: Stored) => comparePositions(message.mark, { batch, chunk }) > 0;
    this.messages = this.messages.filter(kept);
  }

  async reset(): Promise<void> {
    this.messages = [];
    this.#sequence++;
    this.#mark = null;
  }

  /** The broker forgets the newest batches, of one message each, although it acknowledged them. */
  lose(count: number): void {
    this.messages.splice(-count);
    this.#sequence -= count;
    if (this.#mark !== null) this.#mark = { ...this.#mark, batch: this.#mark.batch - count };
  }

  async stats(): Promise<{ messages: number; bytes: number }> {
    return { messages: this.messages.length, bytes: 0 };
  }
}
