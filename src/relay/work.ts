import type { Bell } from "../core/async.ts";
import type { Layout } from "../core/change.ts";
import {
  type FenceDocument,
  keys,
  type Notice,
  type RefusalDocument,
  type RequestDocument,
  type SourceStatus,
} from "../core/documents.ts";
import { isTidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import { timelineHash } from "../core/hash.ts";
import { Pace } from "../core/pace.ts";
import type { BatchHeader, Position } from "../core/position.ts";
import type { QueueStream } from "../core/queue.ts";
import { isMeant } from "../core/same-source.ts";
import type { ChangeLog, Chunk, LogStats } from "../core/source.ts";
import { formatTable } from "../core/table.ts";
import { Appender, type Room } from "./appender.ts";
import type { Claim } from "./claim.ts";
import { type ChunkSize, Copies, type NextChunk } from "./copies.ts";
import { hasBatch } from "./history.ts";
import type { LeftBehind } from "./left-behind.ts";
import { Linger } from "./linger.ts";
import type { Mailbox } from "./mailbox.ts";
import type { RelayOptions } from "./options.ts";
import { Publisher } from "./publisher.ts";
import { type BatchHistory, type Joined, Retention } from "./retention.ts";

/** Documents written at the same time: there may be thousands. */
const AT_A_TIME = 64;

async function inGroups<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += AT_A_TIME) {
    await Promise.all(items.slice(at, at + AT_A_TIME).map(work));
  }
}

type Resend = NonNullable<RequestDocument["resend"]>;

/** What outlives one session with the source. */
export interface Kept {
  readonly claim: Claim;
  readonly mailbox: Mailbox;
  readonly history: BatchHistory;
  readonly leftBehind: LeftBehind;
  readonly joined: Joined;
  /** By sync: the resend that was served last. */
  readonly resent: Map<string, string>;
  readonly bell: Bell;
  readonly chunkSize: ChunkSize;
  readonly signal: AbortSignal;
  /** What syncs had told before the log was opened. */
  readonly told: ReadonlyMap<string, Notice>;
}

/** What the lease holder does, step by step. */
export class RelayWork {
  readonly #options: RelayOptions;
  readonly #log: ChangeLog;
  readonly #claim: Claim;
  readonly #mailbox: Mailbox;
  readonly #stream: QueueStream;
  readonly #publisher: Publisher;
  readonly #retention: Retention;
  readonly #copies: Copies;
  readonly #leftBehind: LeftBehind;
  readonly #resent: Map<string, string>;
  readonly #linger = new Linger();
  /** How long to let changes gather before the next step. */
  lingerMs = 0;
  /** Had the last cut changes? */
  hasFound = false;
  readonly #bell: Bell;
  #layouts: readonly Layout[] = [];
  #last: BatchHeader | null = null;
  /** What syncs had told before the last cut. */
  #told: ReadonlyMap<string, Notice> = new Map();
  readonly #pace = new Pace();
  #tendedAt = 0;
  #stats: LogStats | null = null;
  /** Purging and counting: the log and the queue take their time for it, and changes need not wait. */
  #tending: Promise<void> | null = null;
  #tendFailure: { readonly error: unknown } | null = null;

  static async open(
    options: RelayOptions,
    log: ChangeLog,
    { claim, mailbox, history, leftBehind, joined, resent, bell, chunkSize, signal, told }: Kept,
  ): Promise<RelayWork> {
    const stream = await options.queue.openStream(options.source);
    const { source, syncs, queue, logger, maxLogBytes, keptMs } = options;
    const { maxStreamBytes, isBoundSoft = false } = options;
    const { documents } = queue;
    const common = { source, log, stream, logger };
    const kept = { documents, mailbox, maxLogBytes, keptMs, history, leftBehind, joined };
    const retention = new Retention({ ...common, ...kept, syncs: [...syncs.keys()] });
    const room: Room = {
      make: (end) => work.#makeRoom(end),
      found: () => leftBehind.roomFound(),
    };
    const onFailure = () => bell.ring();
    const bounded = { stream, maxStreamBytes, isBoundSoft, room, logger, signal };
    const appender = new Appender(bounded);
    const publisher = new Publisher({ ...common, queue, appender, signal, onFailure });
    mailbox.rewind();
    const names = options.tables.map(
      ({ schema }) => [formatTable(schema.name), schema.name] as const,
    );
    const copies = new Copies(new Map(names), chunkSize);
    const parts = { claim, stream, publisher, retention, copies, bell, leftBehind, resent };
    const work: RelayWork = new RelayWork(options, log, mailbox, parts);
    await work.#open(told);
    return work;
  }

  private constructor(
    options: RelayOptions,
    log: ChangeLog,
    mailbox: Mailbox,
    parts: {
      claim: Claim;
      stream: QueueStream;
      publisher: Publisher;
      retention: Retention;
      copies: Copies;
      bell: Bell;
      leftBehind: LeftBehind;
      resent: Map<string, string>;
    },
  ) {
    this.#options = options;
    this.#log = log;
    this.#mailbox = mailbox;
    this.#claim = parts.claim;
    this.#stream = parts.stream;
    this.#publisher = parts.publisher;
    this.#retention = parts.retention;
    this.#copies = parts.copies;
    this.#bell = parts.bell;
    this.#leftBehind = parts.leftBehind;
    this.#resent = parts.resent;
  }

  async #open(told: ReadonlyMap<string, Notice>): Promise<void> {
    const { tables, syncs, logger } = this.#options;
    this.#layouts = await this.#log.capture(tables);
    await this.#putSchemas();
    await this.#retention.open();
    for (const sync of this.#retention.subscribers) {
      if (syncs.has(sync)) continue;
      logger.warn(
        { sync },
        "the change log is kept for a sync that is not in this config: tidemark doctor tells how it lets go",
      );
    }
    // Its targets go on here where the queue was lost, or is another one now; else it is a pipeline beside this one.
    if (this.#claim.isNewHere && this.#retention.subscribers.length > 0) {
      logger.warn(
        { syncs: this.#retention.subscribers },
        "this source was read through another queue, or this one has lost all: a target of these names that is copied anew here takes the place of the one before it, for which the change log is kept no longer",
      );
    }
    this.#last = await this.#log.batches.last();
    await this.#retention.check(told);
    // First of all make room: what waits to be published may find the queue full of what nobody needs.
    await this.#retention.begin(this.#last?.batch ?? 0);
    // Nor can one who asks for what the queue has not got wait for room in it.
    await this.#serveRequests();
    await this.#publisher.reconcile(this.#oldestNeeded());
  }

  /** How things stand, without asking anybody. */
  started(): Partial<SourceStatus> {
    return {
      state: "running",
      timeline: this.#log.timeline,
      batch: this.#last?.batch ?? 0,
      lastBatchAt: this.#last?.cutAt ?? null,
      warnings: this.#log.warnings ?? [],
      error: null,
    };
  }

  /** Readers must find a layout before the first change that names it. */
  async #putSchemas(): Promise<void> {
    const { source, queue, tables } = this.#options;
    await inGroups(tables, ({ schema }) =>
      queue.documents.put(keys.table(source, formatTable(schema.name)), schema),
    );
    // Last: an applier that comes meanwhile must not take some of the tables for all.
    const names = tables.map(({ schema }) => formatTable(schema.name));
    await queue.documents.put(keys.tables(source), names);
    await inGroups(this.#layouts, (layout) =>
      queue.documents.put(keys.layout(source, this.#log.timeline, layout.id), layout),
    );
  }

  /**
   * Cuts and publishes what there is. True when the next step is to follow by itself: there is more to
   * copy, or such load that it will find something. Else the source tells when; a step too many would cost
   * it an empty cut for each transaction.
   */
  async step(): Promise<boolean> {
    this.#publisher.throwIfFailed();
    if (this.#tendFailure !== null) throw this.#tendFailure.error;
    await this.#serveRequests();
    const fences = this.#mailbox.fences();
    this.#told = this.#mailbox.notices();
    const next = this.#copies.next();
    const cut = await this.#log.batches.cut(next.map(({ request }) => request));
    if (cut.header !== null) {
      failpoint("cut-stored");
      await this.#publisher.publishBatch(cut.header, this.#linger.count(cut.pages));
      this.#last = cut.header;
    }
    await this.#publishChunks(next, cut.chunks);
    // Who asks is told that the target has all of it, and what ALTER does to rows is in no batch.
    const here = [...fences.values()].some(({ anywhere }) => !anywhere);
    const isKnown = !here || (await this.#log.batches.look?.()) !== false;
    // The others stay, and are looked at with the next step.
    const now = isKnown ? fences : new Map([...fences].filter(([, { anywhere }]) => anywhere));
    await this.#answerFences(now);
    this.lingerMs = this.#linger.next(cut.overtaken);
    this.#log.observe?.(this.#linger.transactions);
    const moved = cut.header !== null || cut.chunks.length > 0;
    if (moved) this.#pace.moved();
    this.hasFound = cut.header !== null;
    return moved && (next.length > 0 || this.lingerMs > 0);
  }

  /** As many as the source gave of those it was asked for. */
  async #publishChunks(asked: readonly NextChunk[], chunks: readonly Chunk[]): Promise<void> {
    const given = chunks.flatMap((chunk, i) => {
      const job = asked[i]?.job;
      return job === undefined ? [] : [{ chunk, job, copy: job.describe(chunk) }];
    });
    const [first] = given;
    if (first === undefined) return;
    await this.#publisher.publishChunks(this.#position(), given, first.job.position);
    failpoint("chunk-sent");
    for (const { job, chunk } of given) job.sent(chunk);
  }

  /** Nothing is under way any more when it resolves. */
  async close(): Promise<void> {
    await this.#publisher.close();
    await this.#tending;
  }

  get untilTendMs(): number {
    const { everyMs } = this.#pace;
    if (this.#tending !== null) return everyMs;
    return Math.max(0, this.#tendedAt + everyMs - performance.now());
  }

  /**
   * When it is time: checks that the source has what is said to be applied of it, and that the queue still holds
   * what was sent; then purges in the background and tells how things stand.
   */
  async tend(report: (status: Partial<SourceStatus>) => Promise<void>): Promise<void> {
    if (this.untilTendMs > 0) return;
    this.#tendedAt = performance.now();
    await this.#retention.check(this.#told);
    if (!(await this.#publisher.inStep())) {
      // What is there may be of a database that has the name by now: it is not ours to clear away.
      await this.#claim.prove();
      this.#options.logger.warn({}, "the queue is not where it was left: filling in from the log");
      this.#copies.restart();
      await this.#putSchemas();
      await this.#publisher.reconcile(this.#oldestNeeded());
    }
    this.#tending = this.#purge(report).finally(() => {
      this.#tending = null;
    });
  }

  /** Never rejects: the next step is told. `last` is read whole: what is cut meanwhile is not touched. */
  async #purge(report: (status: Partial<SourceStatus>) => Promise<void>): Promise<void> {
    try {
      const stats = await this.#retention.tend(this.#last?.batch ?? 0);
      // A log that shrinks goes on shrinking when asked again.
      const { rows, bytes } = stats;
      if (rows !== this.#stats?.rows || bytes !== this.#stats.bytes) this.#pace.moved();
      this.#stats = stats;
      const queue = await this.#stream.stats();
      await report({
        ...this.started(),
        logRows: rows,
        logBytes: bytes,
        queueMessages: queue.messages,
        queueBytes: queue.bytes,
      });
    } catch (error) {
      this.#tendFailure = { error };
      this.#bell.ring();
    }
  }

  async #serveRequests(): Promise<void> {
    for (const [sync, request] of this.#mailbox.takeRequests()) {
      this.#copies.update(sync, request);
      const resend = this.#wantedResend(sync, request);
      if (resend !== null) await this.#resend(sync, resend);
    }
  }

  /** What this request asks to be sent again and has not got yet. */
  #wantedResend(sync: string, request: RequestDocument | null): Resend | null {
    const resend = request?.resend ?? null;
    if (resend === null || this.#resent.get(sync) === resend.id) return null;
    // Asked by an applier that has caught up since and could not take its question back.
    return this.#retention.hasConfirmed(sync, resend.from) ? null : resend;
  }

  /** False when somebody misses what he would wait for in vain while the queue is full of other things. */
  async #makeRoom(end: Position): Promise<boolean> {
    await this.#answerUrgent();
    await this.#retention.makeRoom(end);
    return [...this.#mailbox.newRequests()].every(
      ([sync, request]) => this.#wantedResend(sync, request) === null,
    );
  }

  async #resend(sync: string, resend: Resend): Promise<void> {
    const { source, queue, logger } = this.#options;
    this.#leftBehind.returned(sync);
    logger.info({ sync, from: resend.from }, "resending from the change log");
    this.#copies.restart();
    // What is about to be sent again must not be purged meanwhile.
    await this.#tending;
    // Whoever lost messages may have lost the documents that explain them.
    await this.#putSchemas();
    // Nor need be sent what it has caught up with meanwhile, and what may be purged by now.
    if (this.#retention.hasConfirmed(sync, resend.from)) return;
    await this.#publisher.empty();
    // From here on it is the stream that lacks them, which each session mends.
    this.#resent.set(sync, resend.id);
    try {
      await this.#publisher.reconcile(Math.min(resend.from, this.#oldestNeeded()));
      await this.#retention.putBack(sync, resend.from - 1);
    } catch (error) {
      if (!isTidemarkError(error, "TM-BATCH-PURGED")) throw error;
      const at = new Date().toISOString();
      const refusal: RefusalDocument = { at, from: resend.from, message: error.message };
      await queue.documents.put(keys.refusal(source, sync), refusal);
      await this.#publisher.empty();
      await this.#publisher.reconcile(this.#oldestNeeded());
    }
  }

  /**
   * A sync that begins anew may be the one for whose earlier life the queue is full: it cannot wait for room.
   * Any batch will do to join at. Nor can one wait that may read of what fills the queue only when it knows whose it is.
   */
  async #answerUrgent(): Promise<void> {
    const urgent = [...this.#mailbox.fences()].filter(
      ([, { join, anywhere }]) => join !== null || anywhere,
    );
    await this.#answerFences(new Map(urgent));
  }

  /** These were asked before the cut, so the newest batch holds all that was committed before them. */
  async #answerFences(fences: ReadonlyMap<string, FenceDocument>): Promise<void> {
    const syncs = Object.fromEntries(this.#options.syncs);
    const { database = null } = this.#options;
    for (const [id, fence] of fences) {
      const { timeline, batch, hash } = this.#position();
      if (fence.join !== null && isMeant(fence.meant, { timeline, database })) {
        await this.#claim.prove();
        await this.#retention.subscribe(fence.join, batch);
      }
      const fits = fence.holds === null || (await hasBatch(this.#log, fence.holds));
      const answer = { timeline, batch, hash, fits, syncs, database };
      await this.#mailbox.answer(id, { ...fence, answer });
      failpoint("fence-answered");
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
