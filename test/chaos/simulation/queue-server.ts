import { TidemarkError } from "../../../src/core/errors.ts";
import { comparePositions, type Position } from "../../../src/core/position.ts";
import type {
  DocumentEntry,
  Documents,
  Mark,
  Queue,
  QueueMessage,
  QueueStream,
  StandingDocument,
  StreamStats,
  StreamTail,
} from "../../../src/core/queue.ts";
import { type Session, type SimulatedProcess, SimulatedServer } from "./process.ts";

interface Stored extends QueueMessage {
  readonly sequence: number;
}

interface StreamState {
  readonly messages: readonly Stored[];
  readonly tail: StreamTail;
}

interface QueueState {
  /** Counts what was written. */
  readonly writes: number;
  readonly streams: ReadonlyMap<string, StreamState>;
  readonly documents: ReadonlyMap<string, StandingDocument>;
}

export interface QueueHooks {
  readonly onPut: (key: string, value: unknown) => void;
  /** Planted: called when messages were acknowledged. */
  readonly onAppended?: (mark: Mark) => void;
  /** Messages up to this batch are taken out. */
  readonly onTrimmed?: (batch: number) => void;
  /** Planted: documents that are never written. */
  readonly passesBy?: (key: string) => boolean;
}

const EMPTY: QueueState = { writes: 0, streams: new Map(), documents: new Map() };
const NOTHING: StandingDocument = { value: null, revision: 0 };
const NO_STREAM: StreamState = { messages: [], tail: { sequence: 0, mark: null } };
const MAX_MESSAGE_BYTES = 400;
const PAGE_MESSAGES = 3;

interface Waiter {
  readonly isNews: () => boolean;
  readonly wake: () => void;
}

/**
 * A broker. What is written can be read before it is durable, and is acknowledged when it is; a crash may
 * take what is not, and a bad one more than that.
 */
export class QueueServer extends SimulatedServer {
  readonly hooks: QueueHooks;
  #state: QueueState = EMPTY;
  #durable: QueueState = EMPTY;
  /** What a stream may hold. */
  maxStreamBytes = Number.MAX_SAFE_INTEGER;
  allowedBytes = 0;
  /** Counts the times that something was lost. */
  losses = 0;
  readonly #waiting = new Set<Waiter>();
  #revision = 0;

  constructor(hooks: QueueHooks) {
    super();
    this.hooks = hooks;
  }

  get state(): QueueState {
    return this.#state;
  }

  /** What is left of it when what is not on disk is lost. */
  get durable(): QueueState {
    return this.#durable;
  }

  stream(source: string): StreamState {
    return this.#state.streams.get(source) ?? NO_STREAM;
  }

  setStream(source: string, stream: StreamState): void {
    this.#write({ streams: new Map(this.#state.streams).set(source, stream) });
  }

  setDocument(key: string, value: unknown): void {
    const documents = new Map(this.#state.documents);
    if (value === null) documents.delete(key);
    else documents.set(key, { value, revision: ++this.#revision });
    this.#write({ documents });
  }

  /** Takes a document away, for good. */
  forget(key: string): void {
    this.setDocument(key, null);
    this.#durable = this.#state;
  }

  /** What stood at some time is on disk now, as is what was written there before. */
  persist(state: QueueState, losses: number): void {
    if (losses === this.losses && state.writes > this.#durable.writes) this.#durable = state;
  }

  /** What was not on disk is gone. */
  loseVolatile(): void {
    this.#lose(this.#durable);
  }

  /** The newest messages are gone, although they were acknowledged. */
  loseMessages(count: number): void {
    const streams = new Map(this.#state.streams);
    for (const [source, { messages, tail }] of streams) {
      // What was trimmed is not lost, and where the stream ended stays known.
      if (messages.length === 0) continue;
      const kept = messages.slice(0, Math.max(0, messages.length - count));
      const last = kept.at(-1);
      const sequence = tail.sequence - (messages.length - kept.length);
      streams.set(source, { messages: kept, tail: { sequence, mark: last?.mark ?? null } });
    }
    this.#lose({ ...this.#state, streams });
  }

  wipe(): void {
    this.#lose(EMPTY);
  }

  /** Resolves when there is news, or the signal aborts, or the session ends: readers are woken, they do not poll. */
  changed(isNews: () => boolean, signal: AbortSignal, session: Session): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || isNews() || !session.open) return resolve();
      const wake = () => {
        this.#waiting.delete(waiter);
        signal.removeEventListener("abort", wake);
        forget();
        resolve();
      };
      const waiter = { isNews, wake };
      this.#waiting.add(waiter);
      signal.addEventListener("abort", wake, { once: true });
      const forget = session.onLost(wake);
    });
  }

  #write(changed: Partial<QueueState>): void {
    this.#set({ ...this.#state, ...changed, writes: this.#state.writes + 1 });
  }

  #lose(state: QueueState): void {
    this.losses++;
    this.#durable = state;
    this.#set(state);
  }

  #set(state: QueueState): void {
    this.#state = state;
    for (const { isNews, wake } of [...this.#waiting]) if (isNews()) wake();
  }
}

/** A process's use of the broker. It connects anew by itself; what was under way when it broke has failed. */
export class SimulatedQueue implements Queue {
  readonly limits = { maxMessageBytes: MAX_MESSAGE_BYTES };
  readonly documents: Documents;
  readonly process: SimulatedProcess;
  readonly server: QueueServer;
  #session: Session;

  constructor(process: SimulatedProcess, server: QueueServer) {
    this.process = process;
    this.server = server;
    this.#session = process.connect(server);
    this.documents = new SimulatedDocuments(this);
  }

  get session(): Session {
    if (!this.#session.open && this.server.up) this.#session = this.process.connect(this.server);
    return this.#session;
  }

  /** Runs `effect` at the broker, and waits until what it wrote is on disk. */
  async write<T>(effect: () => T): Promise<T> {
    const { session, server } = this;
    const written = await session.call(() => {
      const result = effect();
      return { result, state: server.state, losses: server.losses };
    });
    await session.call(() => server.persist(written.state, written.losses));
    return written.result;
  }

  async openStream(source: string): Promise<QueueStream> {
    // As a server whose bound each client sets to its own when it comes.
    this.server.allowedBytes = 0;
    return new SimulatedStream(this, source);
  }

  async close(): Promise<void> {
    this.#session.end();
  }
}

class SimulatedStream implements QueueStream {
  readonly #queue: SimulatedQueue;
  readonly #source: string;

  constructor(queue: SimulatedQueue, source: string) {
    this.#queue = queue;
    this.#source = source;
  }

  get #stream(): StreamState {
    return this.#queue.server.stream(this.#source);
  }

  tail(): Promise<StreamTail> {
    return this.#queue.session.call(() => this.#stream.tail);
  }

  async append(after: StreamTail, messages: readonly QueueMessage[]): Promise<StreamTail> {
    const tail = await this.#queue.write(() => {
      const stream = this.#stream;
      if (JSON.stringify(stream.tail) !== JSON.stringify(after)) {
        throw new TidemarkError("TM-QUEUE-CONFLICT", "The stream ends elsewhere.");
      }
      this.#checkRoom(messages);
      let { sequence } = stream.tail;
      const stored = messages.map(({ mark, body }) => ({ mark, body, sequence: ++sequence }));
      const mark = messages.at(-1)?.mark ?? stream.tail.mark;
      const tail = { sequence, mark };
      this.#set({ messages: [...stream.messages, ...stored], tail });
      return tail;
    });
    const last = messages.at(-1)?.mark;
    if (last !== undefined) this.#queue.server.hooks.onAppended?.(last);
    return tail;
  }

  async *read(after: Position, signal: AbortSignal): AsyncGenerator<QueueMessage> {
    const { server, process } = this.#queue;
    const { random, weather, counters } = process.world;
    let cursor: number | null = null;
    let losses = server.losses;
    while (!signal.aborted) {
      const { session } = this.#queue;
      let seen: StreamState = NO_STREAM;
      const page = await session.call(() => {
        seen = this.#stream;
        if (losses !== server.losses) {
          losses = server.losses;
          cursor = 0;
        }
        const isNext = ({ mark, sequence }: Stored) =>
          cursor === null ? comparePositions(mark, after) > 0 : sequence > cursor;
        const { messages } = seen;
        const first = messages.findIndex(isNext);
        return first < 0 ? [] : messages.slice(first, first + PAGE_MESSAGES);
      });
      for (const { mark, body, sequence } of page) {
        if (signal.aborted) return;
        cursor = sequence;
        yield { mark, body: random.chance(weather.damageChance) ? damaged(body) : body };
      }
      if (page.length > 0 && random.chance(0.02)) {
        counters.add("message given again");
        cursor = Math.max(0, (cursor ?? 0) - random.between(1, 4));
      }
      const isNews = () => this.#stream !== seen;
      if (page.length === 0) await server.changed(isNews, signal, session);
    }
  }

  async trim(batch: number, chunk = Number.MAX_SAFE_INTEGER): Promise<void> {
    await this.#queue.write(() => {
      const { messages, tail } = this.#stream;
      const kept = messages.filter(({ mark }) => comparePositions(mark, { batch, chunk }) > 0);
      if (kept.length === messages.length) return;
      this.#set({ messages: kept, tail });
      this.#queue.server.hooks.onTrimmed?.(batch);
    });
  }

  async reset(): Promise<void> {
    this.#queue.process.world.counters.add("stream sent again");
    await this.#queue.write(() => {
      const { tail } = this.#stream;
      this.#set({ messages: [], tail: { sequence: tail.sequence + 1, mark: null } });
    });
  }

  stats(): Promise<StreamStats> {
    return this.#queue.session.call(() => {
      const { messages } = this.#stream;
      return { messages: messages.length, bytes: bytesOf(messages) };
    });
  }

  allow(bytes: number): Promise<void> {
    return this.#queue.session.call(() => {
      this.#queue.server.allowedBytes = bytes;
      if (bytes > 0) this.#queue.process.world.counters.add("bound of the queue passed");
    });
  }

  #checkRoom(messages: readonly QueueMessage[]): void {
    const { maxStreamBytes, allowedBytes } = this.#queue.server;
    if (maxStreamBytes === Number.MAX_SAFE_INTEGER) return;
    const bound = Math.max(maxStreamBytes, allowedBytes);
    if (bytesOf(this.#stream.messages) + bytesOf(messages) <= bound) return;
    this.#queue.process.world.counters.add("queue full");
    throw new TidemarkError("TM-QUEUE-FULL", "The stream is full.");
  }

  #set(stream: StreamState): void {
    this.#queue.server.setStream(this.#source, stream);
  }
}

class SimulatedDocuments implements Documents {
  readonly #queue: SimulatedQueue;

  constructor(queue: SimulatedQueue) {
    this.#queue = queue;
  }

  async put(key: string, value: unknown): Promise<void> {
    await this.#queue.write(() => this.#put(key, value));
  }

  async get(key: string): Promise<unknown | null> {
    return (await this.read(key)).value;
  }

  async read(key: string): Promise<StandingDocument> {
    return this.#queue.session.call(() => this.#standing(key));
  }

  async replace(key: string, value: unknown, revision: number): Promise<number> {
    return await this.#queue.write(() => {
      this.#mustStandAt(key, revision);
      this.#put(key, value);
      return this.#standing(key).revision;
    });
  }

  async remove(key: string, revision?: number): Promise<void> {
    await this.#queue.write(() => {
      if (revision !== undefined) this.#mustStandAt(key, revision);
      this.#queue.server.setDocument(key, null);
    });
  }

  list(prefix: string): Promise<ReadonlyMap<string, unknown>> {
    return this.#queue.session.call(() => {
      const found = new Map<string, unknown>();
      for (const [key, { value }] of this.#queue.server.state.documents) {
        if (key.startsWith(prefix)) found.set(key, value);
      }
      return found;
    });
  }

  async *watch(prefix: string, signal: AbortSignal): AsyncGenerator<DocumentEntry> {
    const { server } = this.#queue;
    /** What was told last, by key. */
    const told = new Map<string, unknown>();
    while (!signal.aborted) {
      const { session } = this.#queue;
      const now = await this.list(prefix);
      const news = [...now].filter(([key, value]) => told.get(key) !== value);
      const gone = [...told.keys()].filter((key) => !now.has(key));
      for (const [key, value] of news) told.set(key, value);
      for (const key of gone) told.delete(key);
      for (const [key, value] of [...news, ...gone.map((key) => [key, null] as const)]) {
        if (signal.aborted) return;
        yield { key, value };
      }
      await server.changed(() => this.#isNews(prefix, told), signal, session);
    }
  }

  #standing(key: string): StandingDocument {
    return this.#queue.server.state.documents.get(key) ?? NOTHING;
  }

  #mustStandAt(key: string, revision: number): void {
    if (this.#standing(key).revision === revision) return;
    this.#queue.process.world.counters.add("document stood otherwise");
    throw new TidemarkError("TM-QUEUE-CONFLICT", "The document stands at another revision.");
  }

  #put(key: string, value: unknown): void {
    // As a broker has it: what is changed later is not changed there.
    const stored: unknown = JSON.parse(JSON.stringify(value));
    const { server } = this.#queue;
    if (server.hooks.passesBy?.(key)) return;
    server.hooks.onPut(key, stored);
    server.setDocument(key, stored);
  }

  #isNews(prefix: string, told: ReadonlyMap<string, unknown>): boolean {
    let standing = 0;
    for (const [key, { value }] of this.#queue.server.state.documents) {
      if (!key.startsWith(prefix)) continue;
      if (told.get(key) !== value) return true;
      standing++;
    }
    return standing < told.size;
  }
}

function bytesOf(messages: readonly QueueMessage[]): number {
  return messages.reduce((sum, { body }) => sum + body.length, 0);
}

function damaged(body: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(body);
  copy[0] = (copy[0] ?? 0) ^ 1;
  return copy;
}
