import type { AddressWatch } from "../core/address-watch.ts";
import { type ReadAhead, sleep } from "../core/async.ts";
import type { Notice } from "../core/documents.ts";
import type { Piece } from "../core/message.ts";
import { Pace } from "../core/pace.ts";
import type { QueueStream } from "../core/queue.ts";
import { Confirmer } from "./confirmer.ts";
import { HistoryCheck } from "./history-check.ts";
import type { Lessons } from "./lessons.ts";
import type { Missing } from "./missing.ts";
import type { NoticeWriter } from "./notice-writer.ts";
import type { ApplierOptions, ApplierParts } from "./options.ts";
import type { Orders } from "./orders.ts";
import { Arrivals, readAhead } from "./pieces.ts";
import { assertNotPutBack } from "./put-back.ts";
import type { Requests } from "./requests.ts";
import type { ToldStatus } from "./told-status.ts";
import { ApplierWork } from "./work.ts";

/** Documents are written again so often: a queue that lost them is whole again soon after that. */
const RENEW_MS = 4_000;
/** So long the rest of a chunk is awaited with what was written of it uncommitted. */
const CHUNK_SILENCE_MS = 1_000;
/** So long a start waits until its first notice stands in the queue. */
const TOLD_WITHIN_MS = 2_000;

interface FollowingParts extends ApplierParts {
  readonly options: ApplierOptions;
  readonly status: ToldStatus;
  readonly requests: Requests;
  readonly missing: Missing;
  readonly lessons: Lessons;
  readonly watch: AddressWatch;
  readonly notices: NoticeWriter;
  readonly orders: Orders;
  readonly signal: AbortSignal;
  /** See ApplierWork.begin. */
  readonly confirm: () => Promise<boolean>;
  readonly onReady: () => void;
  readonly onHealthy: () => void;
}

/** What is at work from the first piece to the last. */
interface Consuming {
  readonly work: ApplierWork;
  readonly stream: QueueStream;
  readonly confirmer: Confirmer;
  readonly pieces: ReadAhead<Piece>;
  readonly arrivals: Arrivals;
  readonly history: HistoryCheck;
}

/** One session of an applier at its work: reads the stream, applies it batch by batch, and tells how far it is. */
export class Following {
  readonly #parts: FollowingParts;
  #wake = () => {};

  constructor(parts: FollowingParts) {
    this.#parts = parts;
  }

  /** Has it look whether something is due, though nothing has come. */
  wake(): void {
    this.#wake();
  }

  /**
   * Until it is stopped. True when a resync is asked for: it is begun anew after that. Throws TM-TIMELINE-CHANGED, and
   * whatever the target refuses.
   */
  async run(): Promise<boolean> {
    const { options, session, notices, orders, missing, lessons, status, signal } = this.#parts;
    const stream = await options.queue.openStream(options.from);
    const work = new ApplierWork(options, this.#parts, lessons);
    if (!(await work.begin(this.#parts.confirm, signal))) return false;
    await this.#parts.requests.checkRefusal(work.progress.position);
    const confirmer = new Confirmer(session, notices);
    this.#afterCommit(work, confirmer, null);
    // The notice of an earlier run may say that the target has it all: who waits as soon as this one works would believe it.
    if (work.states.pending > 0) {
      await Promise.race([confirmer.told(), sleep(TOLD_WITHIN_MS, signal)]);
    }
    this.#parts.onReady();
    const reading = new AbortController();
    const stop = () => reading.abort();
    signal.addEventListener("abort", stop, { once: true });
    await missing.untilWhole(stream, work.progress.position, {
      signal,
      stillHere: async () => {
        status.report({});
        await confirmer.regain();
      },
    });
    const ordering = orders.run(reading.signal);
    const arrivals = new Arrivals();
    const pieces = readAhead(stream, work.progress.position, {
      arrivals,
      falseStarts: lessons.falseStarts,
      signal: reading.signal,
    });
    this.#wake = () => pieces.wake();
    const history = new HistoryCheck(options, work, {
      signal: reading.signal,
      onFailure: this.#wake,
    });
    const beating = new AbortController();
    if (session.mayHoldMore) void status.beat(beating.signal, session, signal);
    try {
      return await this.#consume({ work, stream, confirmer, pieces, arrivals, history });
    } finally {
      beating.abort();
      signal.removeEventListener("abort", stop);
      reading.abort();
      await pieces.close();
      await ordering;
      await history.ended();
      await this.#rollback(work);
      await confirmer.close();
    }
  }

  /** The session is closed next, which undoes as much: the error that led here is the one to tell. */
  async #rollback(work: ApplierWork): Promise<void> {
    try {
      await work.rollback();
    } catch (error) {
      this.#parts.options.logger.debug({ err: error }, "the transaction could not be rolled back");
    }
  }

  async #consume(consuming: Consuming): Promise<boolean> {
    const { work, stream, confirmer, pieces, arrivals, history } = consuming;
    const { session, watch, orders, requests, status, missing, signal } = this.#parts;
    let [reported, renewed] = [performance.now(), performance.now()];
    const pace = new Pace();
    while (!signal.aborted) {
      // Between two transactions only: within one there is nothing to make durable.
      const due = work.open ? Number.POSITIVE_INFINITY : confirmer.dueInMs;
      const untilReport = Math.max(0, reported + pace.everyMs - performance.now());
      const found = await pieces.available(Math.min(untilReport, due));
      confirmer.throwIfFailed();
      history.throwIfFailed();
      watch.throwIfMoved();
      if (!work.open) await confirmer.regain();
      const now = performance.now();
      if (found || !this.#isSettled(work)) pace.moved();
      if (now - reported >= pace.everyMs) {
        reported = now;
        status.report(work.statusNow());
        if (work.copyIsSilent()) this.#putRequest(work);
      }
      if (now - renewed >= RENEW_MS) {
        renewed = now;
        confirmer.renew();
        requests.renew();
      }
      const carriedOut = work.dirty ? "nothing" : await orders.carryOut(work);
      if (carriedOut === "resync") return true;
      if (carriedOut === "done") status.report(work.statusNow());
      if (!found) {
        if (due < untilReport) confirmer.flush();
        else {
          if (!work.open) await assertNotPutBack(session, work.progress);
          const isEmpty = !(await missing.check(stream, work.inbox, arrivals));
          if (isEmpty) await this.#checkIdle(work, history);
        }
        // The rest of a chunk that does not come must not keep what was written of it open.
        if (arrivals.quietMs >= CHUNK_SILENCE_MS) await this.#commitIfDue(consuming, true);
        continue;
      }
      const piece = await pieces.next();
      if (piece === null) return false;
      // The rest of a large batch may be long in coming.
      const isDue = piece.copy === null || confirmer.dueInMs === 0;
      if (!piece.mark.last && !work.open && isDue) confirmer.flush();
      await work.take(piece);
      if (work.wantsNewAttempt) this.#putRequest(work);
      const idle = pieces.ready === 0 && !work.inbox.inChunk;
      const { batch } = work.progress.position;
      await this.#commitIfDue(consuming, idle || missing.isBehind(batch));
    }
    return false;
  }

  /** Is nothing known to be on its way? */
  #isSettled(work: ApplierWork): boolean {
    const { awaitResend } = this.#parts.requests;
    return work.inbox.atBoundary && work.states.pending === 0 && !awaitResend;
  }

  async #commitIfDue({ work, confirmer }: Consuming, idle: boolean): Promise<void> {
    const notice = await work.commitIfDue(idle);
    if (notice === null) return;
    this.#parts.onHealthy();
    this.#parts.missing.found();
    this.#afterCommit(work, confirmer, notice);
  }

  async #checkIdle(work: ApplierWork, history: HistoryCheck): Promise<void> {
    // Nothing follows; nor will it, when this sync was given up and the queue has lost all that told so.
    await this.#parts.requests.checkRefusal(work.progress.position);
    await history.look();
  }

  #afterCommit(work: ApplierWork, confirmer: Confirmer, notice: Notice | null): void {
    const { requests, status } = this.#parts;
    requests.applied(work.progress.position);
    confirmer.committed(notice ?? work.notice());
    this.#putRequest(work);
    const wasCopying = status.now.state === "copying";
    status.note({ ...work.statusNow(), error: null });
    // The end of a copy is told at once; all else waits for the heartbeat.
    if (notice === null || (wasCopying && work.states.pending === 0)) status.report({});
  }

  #putRequest(work: ApplierWork): void {
    this.#parts.requests.put(work.states.requests(), work.inbox.position);
  }
}
