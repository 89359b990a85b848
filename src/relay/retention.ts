import { keys, type Notice, type RefusalDocument } from "../core/documents.ts";
import { failpoint } from "../core/failpoint.ts";
import { heldOf } from "../core/fence.ts";
import type { Logger } from "../core/log.ts";
import { Mutex } from "../core/mutex.ts";
import { comparePositions, type Position, START } from "../core/position.ts";
import type { Documents, QueueStream } from "../core/queue.ts";
import { aheadOf } from "../core/rewound.ts";
import type { ChangeLog, LogStats } from "../core/source.ts";
import { hasBatch } from "./history.ts";
import type { LeftBehind, Reader } from "./left-behind.ts";
import type { Mailbox } from "./mailbox.ts";

export interface RetentionOptions {
  readonly source: string;
  /** Those of the config, whether the log is kept for them or not. */
  readonly syncs: readonly string[];
  readonly log: ChangeLog;
  readonly stream: QueueStream;
  readonly documents: Documents;
  readonly mailbox: Mailbox;
  readonly maxLogBytes: number;
  readonly keptMs: number;
  readonly logger: Logger;
  readonly history: BatchHistory;
  readonly leftBehind: LeftBehind;
  readonly joined: Joined;
}

/** When a sync has come, by this process's own clock, and what was kept for it then. Outlives the relay's sessions. */
export type Joined = Map<string, { readonly at: number; readonly kept: number }>;

const ALL_CHUNKS = Number.MAX_SAFE_INTEGER;
/** A sync is given up only for what it has not confirmed for so long. */
const PATIENCE_MS = 30_000;
/** Of the log's bound: what all have applied stays for a while only in a log that is smaller. */
const SMALL = 1 / 2;

/**
 * Decides what of the log may go: what every subscriber has confirmed, or, at the bound, what the
 * slowest one still needed; that one is then told so (G7: the source's disk is never filled).
 */
export class Retention {
  readonly #options: RetentionOptions;
  #confirmed = new Map<string, number>();
  /** Notices that tell of batches which the source has. */
  readonly #checked = new Map<string, Notice>();
  /** One who is given up and joins anew at that moment has either kept its place or lost it. */
  readonly #subscribing = new Mutex();
  #trimmed: Position = START;
  #purgedAt = Number.NEGATIVE_INFINITY;
  /** What all had read at the last call of {@link tend}. */
  #readBefore: Position = START;
  /** What a sync is being told that was given up. */
  #telling: Promise<void> = Promise.resolve();

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    this.#confirmed = new Map(await this.#options.log.subscribers.list());
  }

  get subscribers(): readonly string[] {
    return [...this.#confirmed.keys()];
  }

  /** The first batch that some subscriber may still need. */
  get oldestNeeded(): number {
    return Math.min(...this.#confirmed.values(), Number.MAX_SAFE_INTEGER) + 1;
  }

  /** Has this sync told that it holds the batch? */
  hasConfirmed(sync: string, batch: number): boolean {
    return (this.#noticeOf(sync)?.position.batch ?? 0) >= batch;
  }

  /**
   * From here on the log is kept for this sync. What is kept for it already stays: a question asked
   * in an earlier life may be answered only now, and must not give up what the sync is about to read.
   */
  async subscribe(sync: string, from: number): Promise<void> {
    await this.#subscribing.run(async () => {
      const kept = Math.min(this.#confirmed.get(sync) ?? from, from);
      await this.#options.log.subscribers.set(sync, kept);
      this.#confirmed.set(sync, kept);
      // Coming again and again is no progress.
      if (this.#options.joined.get(sync)?.kept !== kept) {
        this.#options.joined.set(sync, { at: performance.now(), kept });
      }
      this.#options.leftBehind.returned(sync);
      await this.#telling.catch(() => {});
      await this.#options.documents.remove(keys.refusal(this.#options.source, sync));
    });
  }

  /** It has lost what it had confirmed beyond this batch, and is sent that again. */
  async putBack(sync: string, batch: number): Promise<void> {
    if ((this.#confirmed.get(sync) ?? 0) <= batch) return;
    await this.#options.log.subscribers.set(sync, batch);
    this.#confirmed.set(sync, batch);
  }

  /**
   * Only what was given here counts as a confirmation: a source that was put back to an older state must not purge by
   * what it does not know any more. `told`: see {@link hasBatch}. Throws TM-SOURCE-REWOUND.
   */
  async check(told: ReadonlyMap<string, Notice>): Promise<void> {
    const { log, source } = this.#options;
    for (const [sync, notice] of told) {
      if (notice.timeline !== log.timeline || this.#checked.get(sync) === notice) continue;
      const { batch } = notice.position;
      if (!(await hasBatch(log, heldOf(notice)))) throw aheadOf(source, { sync, batch });
      this.#checked.set(sync, notice);
    }
  }

  /** As `tend`, without purging, which may take its time: whoever takes over is waited for. */
  async begin(last: number): Promise<void> {
    await this.#review(last);
    await this.#trim(this.#allRead(last));
  }

  /** Takes in confirmations, purges, trims. Call about once a second. `last`: the newest batch. */
  async tend(last: number): Promise<LogStats> {
    const stats = await this.#review(last);
    await this.#purge(last, stats);
    await this.#tellAgain(last);
    for (const { sync, place } of this.#readers()) {
      if (place.batch >= last) this.#options.leftBehind.caughtUp(sync);
    }
    await this.#trim(this.#spared(this.#allRead(last)));
    return stats;
  }

  async #review(last: number): Promise<LogStats> {
    await this.#takeConfirmations();
    await this.#takeBack(last);
    const stats = await this.#options.log.stats();
    this.#options.history.note(last);
    if (stats.bytes > this.#options.maxLogBytes) {
      await this.#subscribing.run(() => this.#expireSlowest(stats));
    }
    return stats;
  }

  /**
   * Trims what all have read by now, and what only they need who are left behind. `end`: where the stream ended
   * before what finds no room. Touches the queue alone: a batch may just be read from the log.
   */
  async makeRoom(end: Position): Promise<void> {
    if (this.#confirmed.size === 0) return;
    const { leftBehind, logger } = this.#options;
    for (const sync of leftBehind.judge(this.#readers(), end)) {
      logger.warn(
        { sync },
        "the queue is full of what this sync does not read: the others go on, and it is sent that again when it asks",
      );
    }
    await this.#trim(this.#allRead(0));
  }

  async #takeConfirmations(): Promise<void> {
    const { log } = this.#options;
    for (const [sync, known] of this.#confirmed) {
      const notice = this.#checked.get(sync);
      const batch = notice?.position.batch ?? 0;
      if (batch < known && notice !== undefined && notice === this.#noticeOf(sync))
        await this.#keepAgain(sync, batch);
      if (batch <= known) continue;
      await log.subscribers.set(sync, batch);
      failpoint("confirmation-stored");
      this.#confirmed.set(sync, batch);
    }
  }

  /**
   * A target was put back, as from a backup, and what it lacks still stands in the queue for a slower one: it meets no
   * hole, so asks for nothing, and all of it would go once the slower one has it. Not where what follows may be purged: what
   * others ask for would be looked for from there on. The newest header outlives its changes: so this batch's own tells.
   */
  async #keepAgain(sync: string, batch: number): Promise<void> {
    const { log, logger } = this.#options;
    if ((await log.batches.header(batch)) === null) return;
    logger.info({ sync, batch }, "target was put back: what it lacks is kept for it");
    await this.putBack(sync, batch);
  }

  /**
   * One that was given up may have had all of it from the queue before it heard of that. It misses nothing and is told
   * nothing; the queue is kept for it again, or what only it has read would fill it for good.
   */
  async #takeBack(last: number): Promise<void> {
    for (const sync of this.#options.syncs) {
      const applied = this.#checked.get(sync)?.position.batch ?? -1;
      if (applied >= last && !this.#confirmed.has(sync)) await this.subscribe(sync, applied);
    }
  }

  async #purge(last: number, { bytes }: LogStats): Promise<void> {
    const { history, keptMs, maxLogBytes, log } = this.#options;
    const isSmall = this.#confirmed.size > 0 && bytes <= maxLogBytes * SMALL;
    const upTo = Math.min(this.#purgeable(last), isSmall ? history.before(keptMs) : last);
    // Rotation frees space only some time after a purge: asking again with the same number lets it go on.
    if (upTo <= 0) return;
    const now = performance.now();
    // No longer than what all have applied is kept anyway.
    if (isSmall && now - this.#purgedAt < Math.min(log.purgeEveryMs ?? 0, keptMs)) return;
    this.#purgedAt = now;
    failpoint("purge-due");
    await log.batches.purge(upTo);
    failpoint("purged");
  }

  /** With nobody to keep it for, it goes as it comes: else a log whose only reader was given up would grow without a bound. */
  #purgeable(last: number): number {
    return this.#confirmed.size === 0 ? last : this.oldestNeeded - 1;
  }

  /**
   * A queue may lose what a sync was told that was given up. While nothing changes at the source nobody would
   * find out: the sync has all that the stream holds.
   */
  async #tellAgain(last: number): Promise<void> {
    const { documents, source, syncs } = this.#options;
    for (const sync of syncs) {
      const applied = this.#noticeOf(sync)?.position.batch;
      if (applied === undefined || applied >= this.#purgeable(last)) continue;
      if (this.#confirmed.has(sync)) continue;
      const key = keys.refusal(source, sync);
      const isTold = (await documents.get(key)) !== null;
      // It may have begun anew meanwhile.
      if (isTold || this.#confirmed.has(sync)) continue;
      const message = `${sync} has applied batch ${applied} of ${source}; what follows is no longer in the change log.`;
      const at = new Date().toISOString();
      const refusal: RefusalDocument = { at, from: applied + 1, message };
      this.#telling = documents.put(key, refusal);
      await this.#telling;
    }
  }

  /**
   * Nothing is kept for who reads beside the appliers (`tail`), and a busy machine holds it up for longer than them: so batches
   * stay until the next call, which needs no bound, since a full queue makes room by itself. Not what copies, which is large.
   */
  #spared(read: Position): Position {
    const before = this.#readBefore;
    this.#readBefore = read;
    return read.chunk === ALL_CHUNKS && comparePositions(before, read) < 0 ? before : read;
  }

  async #trim(upTo: Position): Promise<void> {
    // It may also go back: what was taken out may have been sent again.
    if (comparePositions(upTo, this.#trimmed) === 0) return;
    const { stream } = this.#options;
    if (upTo.chunk === ALL_CHUNKS) await stream.trim(upTo.batch);
    else await stream.trim(upTo.batch, upTo.chunk);
    this.#trimmed = upTo;
  }

  /** What all that the queue is kept for have surely read; with none, all but the newest batch is free. */
  #allRead(last: number): Position {
    const kept = this.#readers().filter((reader) => !this.#options.leftBehind.has(reader));
    const [first] = kept.map(({ place }) => place).sort(comparePositions);
    return first ?? { batch: Math.max(0, last - 1), chunk: ALL_CHUNKS };
  }

  #readers(): readonly Reader[] {
    return [...this.#confirmed].map(([sync, batch]) => ({
      sync,
      place: this.#readTo(sync, batch),
    }));
  }

  /** Chunks that follow a batch are for those that copy; they have been read only when the notice says so. */
  #readTo(sync: string, confirmed: number): Position {
    const notice = this.#noticeOf(sync);
    if (notice === undefined || notice.position.batch < confirmed) {
      return { batch: confirmed, chunk: 0 };
    }
    const { position, tablesPending } = notice;
    return tablesPending > 0 ? position : { batch: position.batch, chunk: ALL_CHUNKS };
  }

  /** A notice of another timeline says nothing about this one's numbers. */
  #noticeOf(sync: string): Notice | undefined {
    const { log, mailbox } = this.#options;
    const notice = mailbox.progressOf(sync);
    return notice?.timeline === log.timeline ? notice : undefined;
  }

  /** What is kept for it may be what an earlier target of that name needed: it has yet to tell where it stands. */
  #hasJustJoined(sync: string): boolean {
    const joined = this.#options.joined.get(sync);
    return joined !== undefined && performance.now() - joined.at < PATIENCE_MS;
  }

  async #expireSlowest(stats: LogStats): Promise<void> {
    const { documents, source, log, logger, maxLogBytes, history } = this.#options;
    const slowest = [...this.#confirmed].sort((a, b) => a[1] - b[1])[0];
    // Space comes back only some time after a purge. Who merely reads what is being written does not
    // hold the log, and giving it up would free nothing.
    if (slowest === undefined || slowest[1] >= history.before(PATIENCE_MS)) return;
    const [sync, confirmed] = slowest;
    // Nor would it to give up another in its place.
    if (this.#hasJustJoined(sync)) return;
    const message = `The change log of ${source} passed its bound (${stats.bytes} of ${maxLogBytes} bytes); ${sync} had confirmed only batch ${confirmed}.`;
    logger.error({ sync, confirmed, bytes: stats.bytes }, "retention bound: sync must copy anew");
    const refusal: RefusalDocument = { at: new Date().toISOString(), from: confirmed + 1, message };
    await documents.put(keys.refusal(source, sync), refusal);
    await log.subscribers.remove(sync);
    this.#confirmed.delete(sync);
  }
}

/** Which batch was the newest at what time, by this process's own clock. Outlives the relay's sessions. */
export class BatchHistory {
  #entries: { readonly at: number; readonly batch: number }[] = [];
  readonly #horizonMs: number;

  /** `keptMs`: the furthest that anybody asks for, beside what is asked of those who are slow. */
  constructor(keptMs: number) {
    this.#horizonMs = Math.max(keptMs, PATIENCE_MS);
  }

  note(batch: number): void {
    const at = performance.now();
    if (batch < (this.#entries.at(-1)?.batch ?? 0)) this.#entries = [];
    this.#entries.push({ at, batch });
    // Of those older than anybody asks for, only the newest counts.
    const first = this.#entries.findLastIndex((entry) => at - entry.at >= this.#horizonMs);
    if (first > 0) this.#entries.splice(0, first);
  }

  /** The newest batch of `ms` ago; 0 when that is not known. */
  before(ms: number): number {
    const now = performance.now();
    return this.#entries.findLast(({ at }) => now - at >= ms)?.batch ?? 0;
  }
}
