import { AddressWatch } from "../core/address-watch.ts";
import { backoff, type ReadAhead, sleep } from "../core/async.ts";
import { keys, type Notice, type SyncStatus } from "../core/documents.ts";
import { isTidemarkError, type TidemarkError, toTidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import type { Piece } from "../core/message.ts";
import { Pace } from "../core/pace.ts";
import type { Documents, QueueStream } from "../core/queue.ts";
import { isOfRights, SLOW_RETRY_MS, sleepAlive } from "../core/slow-retry.ts";
import { forgetStop, statusError } from "../core/status-error.ts";
import type { ApplierSession, Target } from "../core/target.ts";
import { noteAltered } from "./altered.ts";
import { Confirmer } from "./confirmer.ts";
import { HistoryCheck } from "./history-check.ts";
import { isGap } from "./inbox.ts";
import { holdsCopies, joinStream } from "./join.ts";
import { isAskedAsText, Lessons } from "./lessons.ts";
import { Missing } from "./missing.ts";
import { NoticeWriter } from "./notice-writer.ts";
import type { ApplierOptions, ApplierParts } from "./options.ts";
import { Orders } from "./orders.ts";
import { Parking, parkedTable } from "./parking.ts";
import { Arrivals, readAhead } from "./pieces.ts";
import { assertNotPutBack } from "./put-back.ts";
import { Requests } from "./requests.ts";
import { emptyForResync, mustHave, withdraw } from "./resync.ts";
import { standBy } from "./standby.ts";
import { ascertain, confirmTimeline } from "./timeline.ts";
import { ToldStatus } from "./told-status.ts";
import { ApplierWork } from "./work.ts";

/** Documents are written again so often: a queue that lost them is whole again soon after that. */
const RENEW_MS = 4_000;
/** So long the rest of a chunk is awaited with what was written of it uncommitted. */
const CHUNK_SILENCE_MS = 1_000;
/** So long a start waits until its first notice stands in the queue. */
const TOLD_WITHIN_MS = 2_000;

/**
 * Queue to target for one sync: takes batches in order, applies them with progress in one
 * transaction, tells that they are applied, asks for what is missing. One works per sync; others
 * stand by for its lease.
 */
export class Applier {
  readonly #options: ApplierOptions;
  readonly #stop = new AbortController();
  readonly #requests: Requests;
  readonly #status: ToldStatus;
  readonly #missing = new Missing();
  readonly #lessons = new Lessons();
  /** Lets the session that works look whether something is due, though nothing has come. */
  #wake = () => {};
  /** Has a session worked? Then what it was refused for since, for want of a right, may be put right again. */
  #hasWorked = false;
  /** Was the target looked at before this session? Then it may have been altered since. */
  #sessions = 0;

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.#requests = new Requests(options);
    this.#status = new ToldStatus(options);
  }

  get status(): SyncStatus {
    return this.#status.now;
  }

  /** As {@link Relay.run}: until stop(), or the first error that waiting cannot mend. */
  async run(onReady: () => void): Promise<void> {
    const { logger, queue, sync } = this.#options;
    try {
      let [forgotten, mayHaveLease] = [false, true];
      for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
        try {
          if (!forgotten) await forgetStop(queue.documents, keys.applier(sync));
          forgotten = true;
          await this.#session(onReady, () => {
            attempt = 0;
          });
          mayHaveLease = true;
        } catch (error) {
          mayHaveLease = false;
          if (this.#stop.signal.aborted) break;
          const found = await ascertain(toTidemarkError(error), (followed) =>
            this.#confirm(followed),
          );
          if (found === null) break;
          this.#lessons.learn(found);
          if (isAskedAsText(found)) {
            logger.info({ table: found.details.asText }, found.message);
            continue;
          }
          await this.#recover(found);
          logger.warn({ err: found }, "applier interrupted: trying again");
          if (isOfRights(found)) await this.#waitForRights();
        }
        await sleep(backoff(attempt), this.#stop.signal);
      }
      // Only the applier that worked may say that work has stopped.
      const { state } = this.#status.now;
      if (state === "running" || state === "copying") {
        if (mayHaveLease) this.#status.report({ state: "stopped" });
        else await this.#status.reportUnlessOther({ state: "stopped" });
      }
    } finally {
      this.stop();
      await Promise.all([this.#requests.close(), this.#status.close()]);
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  async #recover(error: TidemarkError): Promise<void> {
    if (!this.#isWaitedOut(error)) {
      const told = await this.#driftOr(error);
      const { altered } = told.details;
      if (this.#status.now.state !== "standby" && Array.isArray(altered)) {
        const { documents } = this.#options.queue;
        const withDocuments = (use: (from: Documents) => Promise<void>) => use(documents);
        await noteAltered({ ...this.#options, withDocuments }, altered);
      }
      throw await this.#stopped(told);
    }
    await this.#status.reportUnlessOther({ error: statusError(error) });
    if (!isGap(error)) return;
    this.#lessons.falseStarts.forget();
    try {
      await this.#requests.askResend(this.#status.now.position);
    } catch (failure) {
      const second = toTidemarkError(failure);
      if (!this.#isWaitedOut(second)) throw await this.#stopped(second);
      // The gap is met again, and then asked about again.
      this.#options.logger.warn({ err: second }, "a resend could not be asked for");
    }
  }

  #isWaitedOut(error: TidemarkError): boolean {
    return error.retryable || (this.#hasWorked && isOfRights(error));
  }

  #waitForRights(): Promise<void> {
    const { slowRetryMs = SLOW_RETRY_MS } = this.#options;
    return sleepAlive(slowRetryMs, this.#stop.signal, () => this.#status.reportUnlessOther({}));
  }

  /** A target that was altered under the applier refuses rows in many words: what was altered says more than any of them. */
  async #driftOr(error: TidemarkError): Promise<TidemarkError> {
    try {
      await this.#options.checkFit();
    } catch (found) {
      if (isTidemarkError(found, "TM-SCHEMA-DRIFT")) return found;
    }
    return error;
  }

  async #stopped(error: TidemarkError): Promise<TidemarkError> {
    await this.#status.reportStopped(error);
    return error;
  }

  async #session(onReady: () => void, onHealthy: () => void): Promise<void> {
    const { sync, tables, queue, openTarget, checkFit, logger } = this.#options;
    if (this.#sessions++ > 0) await checkFit();
    const target = await openTarget();
    let session: ApplierSession | null = null;
    let notices: NoticeWriter | null = null;
    let watch: AddressWatch | null = null;
    try {
      const parked = target.parked === null ? null : parkedTable(target.parked);
      const bound = [...tables, ...(parked === null ? [] : [parked])].map((table) => table.bound);
      session = await standBy(() => target.openApplier(sync, bound), {
        ...{ status: this.#status, logger, onReady, signal: this.#stop.signal },
      });
      if (session === null) return;
      failpoint("applier-lease-taken");
      watch = await this.#watch(target);
      const { documents } = queue;
      const leased = session;
      notices = await NoticeWriter.open({
        ...{ sync, documents, logger },
        proveLease: () => leased.loadPlace(),
        onWritten: () => failpoint("notice-told"),
        onOutdated: () => this.#wake(),
      });
      const held = { session, notices };
      const stored = await session.load();
      const { signal } = this.#stop;
      const progress = holdsCopies(stored)
        ? stored
        : await joinStream(this.#options, held, { stored, signal });
      if (progress === null) return;
      // Whoever has just joined was told by the relay itself.
      const confirm = async () => progress !== stored || this.#confirm(stored.timeline);
      const parking =
        parked === null || target.parked === null
          ? null
          : await Parking.open(sync, parked, target.parked);
      const { parked: rows } = target;
      const aside = parked === null || rows === null ? null : { rows, bound: parked.bound };
      const resync = async (names: readonly string[]) => {
        const emptied = new Set(names);
        mustHave(tables, names);
        await withdraw(held, this.#options, emptied);
        await emptyForResync(held.session, { sync, tables, parked: aside }, emptied);
        for (const name of names) this.#lessons.emptied(name);
      };
      const orders = new Orders({ documents, sync, logger, resync });
      const parts = { session, progress, parking };
      const hooks = { watch, notices, orders, onReady, onHealthy, confirm };
      if (await this.#follow(parts, hooks)) await orders.resync();
    } finally {
      try {
        await watch?.close();
        await notices?.close();
        await session?.close();
      } finally {
        await target.close();
      }
    }
  }

  async #watch(target: Target): Promise<AddressWatch> {
    const { to: name, whoAnswers, lookEveryMs: everyMs, logger } = this.#options;
    const held = await target.identity();
    const onMoved = () => this.#wake();
    return new AddressWatch({ name, held, whoAnswers, everyMs, logger, onMoved });
  }

  /** False when stopped. Throws TM-TIMELINE-CHANGED. */
  #confirm(followed: string): Promise<boolean> {
    const { signal } = this.#stop;
    const tell = (error: TidemarkError | null) =>
      this.#status.report({ error: error === null ? null : statusError(error) });
    return confirmTimeline(this.#options, followed, { signal, tell });
  }

  /** True when a resync is asked for: it is begun anew after that. */
  async #follow(
    parts: ApplierParts,
    hooks: {
      readonly watch: AddressWatch;
      readonly notices: NoticeWriter;
      readonly orders: Orders;
      readonly onReady: () => void;
      readonly onHealthy: () => void;
      /** See ApplierWork.begin. */
      readonly confirm: () => Promise<boolean>;
    },
  ): Promise<boolean> {
    const { from, queue } = this.#options;
    const stream = await queue.openStream(from);
    const work = new ApplierWork(this.#options, parts, this.#lessons);
    if (!(await work.begin(hooks.confirm, this.#stop.signal))) return false;
    await this.#requests.checkRefusal(work.progress.position);
    const confirmer = new Confirmer(parts.session, hooks.notices);
    this.#afterCommit(work, confirmer, null);
    // The notice of an earlier run may say that the target has it all: who waits as soon as this one works would believe it.
    if (work.states.pending > 0) {
      await Promise.race([confirmer.told(), sleep(TOLD_WITHIN_MS, this.#stop.signal)]);
    }
    hooks.onReady();
    this.#hasWorked = true;
    const reading = new AbortController();
    const stop = () => reading.abort();
    this.#stop.signal.addEventListener("abort", stop, { once: true });
    await this.#missing.untilWhole(stream, work.progress.position, {
      signal: this.#stop.signal,
      stillHere: async () => {
        this.#status.report({});
        await confirmer.regain();
      },
    });
    const ordering = hooks.orders.run(reading.signal);
    const arrivals = new Arrivals();
    const pieces = readAhead(stream, work.progress.position, {
      arrivals,
      falseStarts: this.#lessons.falseStarts,
      signal: reading.signal,
    });
    this.#wake = () => pieces.wake();
    const { signal } = reading;
    const history = new HistoryCheck(this.#options, work, { signal, onFailure: this.#wake });
    const beating = new AbortController();
    if (parts.session.mayHoldMore === true) void this.#status.beat(beating.signal);
    try {
      const { watch, orders, onHealthy } = hooks;
      const { session } = parts;
      const consuming = { session, pieces, arrivals, confirmer, watch, orders, history, onHealthy };
      return await this.#consume(work, stream, consuming);
    } finally {
      beating.abort();
      this.#stop.signal.removeEventListener("abort", stop);
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
      this.#options.logger.debug({ err: error }, "the transaction could not be rolled back");
    }
  }

  async #consume(
    work: ApplierWork,
    stream: QueueStream,
    { session, pieces, arrivals, confirmer, watch, orders, history, onHealthy }: Consuming,
  ): Promise<boolean> {
    let [reported, renewed] = [performance.now(), performance.now()];
    const pace = new Pace();
    while (!this.#stop.signal.aborted) {
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
        this.#status.report(work.statusNow());
        if (work.copyIsSilent()) this.#putRequest(work);
      }
      if (now - renewed >= RENEW_MS) {
        renewed = now;
        confirmer.renew();
        this.#requests.renew();
      }
      const carriedOut = work.dirty ? "nothing" : await orders.carryOut(work);
      if (carriedOut === "resync") return true;
      if (carriedOut === "done") this.#status.report(work.statusNow());
      if (!found) {
        if (due < untilReport) confirmer.flush();
        else {
          if (!work.open) await assertNotPutBack(session, work.progress);
          const isEmpty = !(await this.#missing.check(stream, work.inbox, arrivals));
          if (isEmpty) await this.#checkIdle(work, history);
        }
        // The rest of a chunk that does not come must not keep what was written of it open.
        const isQuiet = arrivals.quietMs >= CHUNK_SILENCE_MS;
        if (isQuiet) await this.#commitIfDue(work, true, { confirmer, onHealthy });
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
      await this.#commitIfDue(work, idle || this.#missing.isBehind(batch), {
        confirmer,
        onHealthy,
      });
    }
    return false;
  }

  /** Is nothing known to be on its way? */
  #isSettled(work: ApplierWork): boolean {
    return work.inbox.atBoundary && work.states.pending === 0 && !this.#requests.awaitResend;
  }

  async #commitIfDue(
    work: ApplierWork,
    idle: boolean,
    { confirmer, onHealthy }: Pick<Consuming, "confirmer" | "onHealthy">,
  ): Promise<void> {
    const notice = await work.commitIfDue(idle);
    if (notice === null) return;
    onHealthy();
    this.#missing.found();
    this.#afterCommit(work, confirmer, notice);
  }

  async #checkIdle(work: ApplierWork, history: HistoryCheck): Promise<void> {
    // Nothing follows; nor will it, when this sync was given up and the queue has lost all that told so.
    await this.#requests.checkRefusal(work.progress.position);
    await history.look();
  }

  #afterCommit(work: ApplierWork, confirmer: Confirmer, notice: Notice | null): void {
    this.#requests.applied(work.progress.position);
    confirmer.committed(notice ?? work.notice());
    this.#putRequest(work);
    const wasCopying = this.#status.now.state === "copying";
    this.#status.note({ ...work.statusNow(), error: null });
    // The end of a copy is told at once; all else waits for the heartbeat.
    if (notice === null || (wasCopying && work.states.pending === 0)) this.#status.report({});
  }

  #putRequest(work: ApplierWork): void {
    this.#requests.put(work.states.requests(), work.inbox.position);
  }
}

interface Consuming {
  readonly session: ApplierSession;
  readonly pieces: ReadAhead<Piece>;
  readonly arrivals: Arrivals;
  readonly confirmer: Confirmer;
  readonly watch: AddressWatch;
  readonly orders: Orders;
  readonly history: HistoryCheck;
  readonly onHealthy: () => void;
}
