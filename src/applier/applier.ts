import { AddressWatch } from "../core/address-watch.ts";
import { backoff, sleep } from "../core/async.ts";
import { keys, type SyncStatus } from "../core/documents.ts";
import { isTidemarkError, type TidemarkError, toTidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import type { Documents } from "../core/queue.ts";
import { RetryLog } from "../core/retry-log.ts";
import { isOfRights, SLOW_RETRY_MS, sleepAlive } from "../core/slow-retry.ts";
import { forgetStop, statusError } from "../core/status-error.ts";
import type { ApplierSession, Target } from "../core/target.ts";
import { noteAltered } from "./altered.ts";
import { Following } from "./following.ts";
import { isGap } from "./inbox.ts";
import { holdsCopies, joinStream } from "./join.ts";
import { isAskedAsText, Lessons } from "./lessons.ts";
import { Missing } from "./missing.ts";
import { NoticeWriter } from "./notice-writer.ts";
import type { ApplierOptions } from "./options.ts";
import { Orders } from "./orders.ts";
import { Parking, parkedTable } from "./parking.ts";
import { Requests } from "./requests.ts";
import { emptyForResync, mustHave, withdraw } from "./resync.ts";
import { standBy } from "./standby.ts";
import { ascertain, confirmTimeline } from "./timeline.ts";
import { ToldStatus } from "./told-status.ts";

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
  #following: Following | null = null;
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
    const retryLog = new RetryLog(logger, "applier interrupted");
    try {
      let [forgotten, mayHaveLease] = [false, true];
      for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
        try {
          if (!forgotten) await forgetStop(queue.documents, keys.applier(sync));
          forgotten = true;
          await this.#session(onReady, () => {
            attempt = 0;
            retryLog.succeeded();
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
          retryLog.failed(found);
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
        onOutdated: () => this.#following?.wake(),
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
      const beginsToWork = () => {
        onReady();
        this.#hasWorked = true;
      };
      this.#following = new Following({
        ...{ options: this.#options, session, progress, parking },
        ...{ status: this.#status, requests: this.#requests },
        ...{ missing: this.#missing, lessons: this.#lessons, signal: this.#stop.signal },
        ...{ watch, notices, orders, confirm, onReady: beginsToWork, onHealthy },
      });
      if (await this.#following.run()) await orders.resync();
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
    const onMoved = () => this.#following?.wake();
    return new AddressWatch({ name, held, whoAnswers, everyMs, logger, onMoved });
  }

  /** False when stopped. Throws TM-TIMELINE-CHANGED. */
  #confirm(followed: string): Promise<boolean> {
    const { signal } = this.#stop;
    const tell = (error: TidemarkError | null) =>
      this.#status.report({ error: error === null ? null : statusError(error) });
    return confirmTimeline(this.#options, followed, { signal, tell });
  }
}
