import { Bell, backoff, sleep } from "../core/async.ts";
import type { Layout } from "../core/change.ts";
import {
  type FenceDocument,
  keys,
  type RefusalDocument,
  type RequestDocument,
  type SourceStatus,
  UNKNOWN_SOURCE,
} from "../core/documents.ts";
import { isTidemarkError, type TidemarkError, toTidemarkError } from "../core/errors.ts";
import { timelineHash } from "../core/hash.ts";
import type { Logger } from "../core/log.ts";
import type { BatchHeader } from "../core/position.ts";
import type { Queue, QueueStream } from "../core/queue.ts";
import type { CaptureTable, ChangeLog, Source } from "../core/source.ts";
import { forgetStop, statusError } from "../core/status-error.ts";
import { formatTable } from "../core/table.ts";
import { type ChunkSize, Copies, HELD_CHUNK, STREAMED_CHUNK } from "./copies.ts";
import { Linger } from "./linger.ts";
import { Mailbox } from "./mailbox.ts";
import { Publisher } from "./publisher.ts";
import { BatchHistory, Retention } from "./retention.ts";

export interface RelayOptions {
  readonly source: string;
  readonly openSource: () => Promise<Source>;
  readonly queue: Queue;
  readonly tables: readonly CaptureTable[];
  /** Names of the syncs that read this source. */
  readonly syncs: readonly string[];
  readonly maxLogBytes: number;
  /** The queue's bound of one stream. */
  readonly maxStreamBytes: number;
  readonly logger: Logger;
}

const STANDBY_POLL_MS = 1_000;
const TEND_EVERY_MS = 1_000;

/**
 * Source to queue: cuts batches, publishes them in order, serves fences, copies and resends,
 * purges what is confirmed. One works per source; others stand by for its lease.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #stop = new AbortController();
  readonly #bell = new Bell();
  readonly #mailbox: Mailbox;
  readonly #history = new BatchHistory();
  #status: SourceStatus;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#mailbox = new Mailbox(options.queue.documents, options.source, this.#bell);
    this.#status = { ...UNKNOWN_SOURCE, name: options.source };
  }

  get status(): SourceStatus {
    return this.#status;
  }

  /**
   * Works until stop(). Retryable trouble is waited out; any other error ends it and is thrown.
   * `onReady` is called once, when changes are first being captured (here or by the relay we stand by for).
   */
  async run(onReady: () => void): Promise<void> {
    const { logger, syncs } = this.#options;
    const mail = this.#mailbox.run(syncs, logger, this.#stop.signal);
    try {
      await forgetStop(this.#options.queue.documents, keys.relay(this.#options.source));
      for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
        try {
          await this.#session(onReady, () => {
            attempt = 0;
          });
        } catch (error) {
          await this.#recover(toTidemarkError(error));
        }
        await sleep(backoff(attempt), this.#stop.signal);
      }
      // Only the relay that worked may say that work has stopped.
      if (this.#status.state === "running") await this.#report({ state: "stopped" });
    } finally {
      this.stop();
      await mail;
    }
  }

  stop(): void {
    this.#stop.abort();
    this.#bell.ring();
  }

  async #recover(error: TidemarkError): Promise<void> {
    const { logger } = this.#options;
    if (this.#stop.signal.aborted) return;
    if (!error.retryable) {
      // A standby that cannot go on says nothing of the relay that works.
      if (this.#status.state !== "standby") {
        await this.#report({ state: "stopped", error: statusError(error) });
      }
      throw error;
    }
    logger.warn({ code: error.code, err: error }, "relay interrupted: trying again");
    await this.#report({ error: statusError(error) });
  }

  /** One connection to the source, from lease to loss. */
  async #session(onReady: () => void, onHealthy: () => void): Promise<void> {
    const source = await this.#options.openSource();
    let log: ChangeLog | null = null;
    let work: RelayWork | null = null;
    try {
      log = await this.#lease(source, onReady);
      if (log === null) return;
      const { signal } = this.#stop;
      const chunkSize = source.capabilities.streamsChunks ? STREAMED_CHUNK : HELD_CHUNK;
      const own = { mailbox: this.#mailbox, history: this.#history, bell: this.#bell };
      work = await RelayWork.open(this.#options, log, { ...own, chunkSize, signal });
      // What an earlier run told last (that it had stopped, and why) must not be taken for now.
      if (this.#status.state !== "running") await this.#report(work.started());
      onReady();
      while (!signal.aborted) {
        const busy = await work.step();
        if (work.tendDue(TEND_EVERY_MS)) await this.#report(await work.tend());
        onHealthy();
        if (!busy) await this.#idle(log, work);
        else if (work.lingerMs > 0) await sleep(work.lingerMs, this.#stop.signal);
      }
    } finally {
      await work?.close();
      try {
        await log?.close();
      } finally {
        await source.close();
      }
    }
  }

  async #lease(source: Source, onReady: () => void): Promise<ChangeLog | null> {
    while (!this.#stop.signal.aborted) {
      const log = await source.openChangeLog();
      if (log !== null) return log;
      if (this.#status.state !== "standby") {
        this.#options.logger.info({}, "another relay holds this source: standing by");
        this.#status = { ...this.#status, state: "standby" };
        onReady();
      }
      await sleep(STANDBY_POLL_MS, this.#stop.signal);
    }
    return null;
  }

  /** Waits for changes, for mail, or for the next time to tend. */
  async #idle(log: ChangeLog, work: RelayWork): Promise<void> {
    const wake = new AbortController();
    const changes = log.waitForChanges(wake.signal);
    const mail = this.#bell.wait(work.untilTend(TEND_EVERY_MS), this.#stop.signal);
    try {
      await Promise.race([changes, mail]);
    } finally {
      wake.abort();
      this.#bell.cancel();
      await changes;
      await mail;
    }
  }

  async #report(change: Partial<SourceStatus>): Promise<void> {
    const heartbeatAt = new Date().toISOString();
    this.#status = { ...this.#status, ...change, heartbeatAt };
    // A standby must not overwrite what the working relay reports.
    if (this.#status.state === "standby" || this.#status.state === "unknown") return;
    try {
      await this.#options.queue.documents.put(keys.relay(this.#options.source), this.#status);
    } catch (error) {
      this.#options.logger.warn({ err: error }, "status could not be published");
    }
  }
}

/** What outlives one session with the source. */
interface Kept {
  readonly mailbox: Mailbox;
  readonly history: BatchHistory;
  readonly chunkSize: ChunkSize;
  readonly bell: Bell;
  readonly signal: AbortSignal;
}

/** What the lease holder does, step by step. */
class RelayWork {
  readonly #options: RelayOptions;
  readonly #log: ChangeLog;
  readonly #mailbox: Mailbox;
  readonly #stream: QueueStream;
  readonly #publisher: Publisher;
  readonly #retention: Retention;
  readonly #copies: Copies;
  readonly #resent = new Map<string, string>();
  readonly #linger = new Linger();
  /** How long to let changes gather before the next step. */
  lingerMs = 0;
  #layouts: readonly Layout[] = [];
  #last: BatchHeader | null = null;
  #tendedAt = 0;

  static async open(
    options: RelayOptions,
    log: ChangeLog,
    { mailbox, history, bell, chunkSize, signal }: Kept,
  ): Promise<RelayWork> {
    const stream = await options.queue.openStream(options.source);
    const { source, queue, logger, maxLogBytes, maxStreamBytes } = options;
    const { documents } = queue;
    const common = { source, log, stream, logger };
    const retention = new Retention({ ...common, documents, mailbox, maxLogBytes, history });
    const makeRoom = () => retention.makeRoom();
    const onFailure = () => bell.ring();
    const room = { maxStreamBytes, makeRoom };
    const publisher = new Publisher({ ...common, queue, ...room, signal, onFailure });
    mailbox.rewind();
    const names = options.tables.map(
      ({ schema }) => [formatTable(schema.name), schema.name] as const,
    );
    const copies = new Copies(new Map(names), chunkSize);
    const work = new RelayWork(options, log, mailbox, { stream, publisher, retention, copies });
    await work.#open();
    return work;
  }

  private constructor(
    options: RelayOptions,
    log: ChangeLog,
    mailbox: Mailbox,
    parts: { stream: QueueStream; publisher: Publisher; retention: Retention; copies: Copies },
  ) {
    this.#options = options;
    this.#log = log;
    this.#mailbox = mailbox;
    this.#stream = parts.stream;
    this.#publisher = parts.publisher;
    this.#retention = parts.retention;
    this.#copies = parts.copies;
  }

  async #open(): Promise<void> {
    const { tables, syncs, logger } = this.#options;
    this.#layouts = await this.#log.capture(tables);
    await this.#putSchemas();
    await this.#retention.open();
    for (const sync of this.#retention.subscribers) {
      if (syncs.includes(sync)) continue;
      logger.warn(
        { sync },
        "a sync that is not in this config holds the change log: see docs/reference/commands.md",
      );
    }
    this.#last = await this.#log.batches.last();
    // First of all make room: what waits to be published may find the queue full of what nobody needs.
    await this.#retention.tend(this.#last?.batch ?? 0);
    await this.#publisher.reconcile(this.#oldestNeeded());
  }

  /** How things stand, without asking anybody. */
  started(): Partial<SourceStatus> {
    return {
      state: "running",
      timeline: this.#log.timeline,
      batch: this.#last?.batch ?? 0,
      lastBatchAt: this.#last?.cutAt ?? null,
      error: null,
    };
  }

  /** Readers must find a layout before the first change that names it. */
  async #putSchemas(): Promise<void> {
    const { source, queue, tables } = this.#options;
    for (const { schema } of tables) {
      await queue.documents.put(keys.table(source, formatTable(schema.name)), schema);
    }
    // Last: an applier that comes meanwhile must not take some of the tables for all.
    const names = tables.map(({ schema }) => formatTable(schema.name));
    await queue.documents.put(keys.tables(source), names);
    for (const layout of this.#layouts) {
      await queue.documents.put(keys.layout(source, this.#log.timeline, layout.id), layout);
    }
  }

  /** Cuts and publishes what there is; true when there was something. */
  async step(): Promise<boolean> {
    this.#publisher.throwIfFailed();
    await this.#serveRequests();
    const fences = this.#mailbox.fences();
    const next = this.#copies.next();
    const cut = await this.#log.batches.cut(next?.request);
    if (cut.header !== null) {
      await this.#publisher.publishBatch(cut.header, this.#linger.count(cut.pages));
      this.#last = cut.header;
    }
    if (next !== null && cut.chunk !== null) {
      const copy = next.job.describe(cut.chunk);
      const readTo = next.job.position;
      await this.#publisher.publishChunk(this.#position(), cut.chunk, { copy, readTo });
      next.job.sent(cut.chunk);
    }
    await this.#answerFences(fences);
    this.lingerMs = this.#linger.next();
    this.#log.observe?.(this.#linger.transactions);
    return cut.header !== null || cut.chunk !== null;
  }

  close(): Promise<void> {
    return this.#publisher.close();
  }

  tendDue(everyMs: number): boolean {
    return this.untilTend(everyMs) === 0;
  }

  untilTend(everyMs: number): number {
    return Math.max(0, this.#tendedAt + everyMs - performance.now());
  }

  /** Purges, checks that the queue still holds what was sent, and tells how things stand. */
  async tend(): Promise<Partial<SourceStatus>> {
    this.#tendedAt = performance.now();
    if (!(await this.#publisher.inStep())) {
      this.#options.logger.warn({}, "the queue is not where it was left: filling in from the log");
      this.#copies.restart();
      await this.#putSchemas();
      await this.#publisher.reconcile(this.#oldestNeeded());
    }
    const stats = await this.#retention.tend(this.#last?.batch ?? 0);
    const queue = await this.#stream.stats();
    return {
      ...this.started(),
      logRows: stats.rows,
      logBytes: stats.bytes,
      queueMessages: queue.messages,
      queueBytes: queue.bytes,
    };
  }

  async #serveRequests(): Promise<void> {
    for (const [sync, request] of this.#mailbox.takeRequests()) {
      this.#copies.update(sync, request);
      const { resend } = request ?? {};
      if (!resend || this.#resent.get(sync) === resend.id) continue;
      // Asked by an applier that has caught up since and could not take its question back.
      if (!this.#retention.hasConfirmed(sync, resend.from)) await this.#resend(sync, resend);
      this.#resent.set(sync, resend.id);
    }
  }

  async #resend(sync: string, resend: NonNullable<RequestDocument["resend"]>): Promise<void> {
    const { source, queue, logger } = this.#options;
    logger.info({ sync, from: resend.from }, "resending from the change log");
    this.#copies.restart();
    // Whoever lost messages may have lost the documents that explain them.
    await this.#putSchemas();
    try {
      await this.#publisher.resendFrom(Math.min(resend.from, this.#oldestNeeded()));
    } catch (error) {
      if (!isTidemarkError(error, "TM-BATCH-PURGED")) throw error;
      const at = new Date().toISOString();
      const refusal: RefusalDocument = { at, from: resend.from, message: error.message };
      await queue.documents.put(keys.refusal(source, sync), refusal);
      await this.#publisher.resendFrom(this.#oldestNeeded());
    }
  }

  /** These were asked before the cut, so the newest batch holds all that was committed before them. */
  async #answerFences(fences: ReadonlyMap<string, FenceDocument>): Promise<void> {
    for (const [id, fence] of fences) {
      const { timeline, batch, hash } = this.#position();
      if (fence.join !== null) await this.#retention.subscribe(fence.join, batch);
      await this.#mailbox.answer(id, { ...fence, answer: { timeline, batch, hash } });
    }
  }

  /** What an empty stream must begin with: for nobody, only what is still to come. */
  #oldestNeeded(): number {
    return Math.min(this.#retention.oldestNeeded, (this.#last?.batch ?? 0) + 1);
  }

  #position(): BatchHeader {
    if (this.#last !== null) return this.#last;
    const now = new Date().toISOString();
    const hash = timelineHash(this.#log.timeline);
    const { timeline } = this.#log;
    return { timeline, batch: 0, hash, prevHash: hash, cutAt: now, committedAt: now };
  }
}
