import { AddressWatch } from "../core/address-watch.ts";
import { Bell, backoff, sleep } from "../core/async.ts";
import { keys, type Notice, type SourceStatus, UNKNOWN_SOURCE } from "../core/documents.ts";
import { TidemarkError, toTidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import { askFence } from "../core/fence.ts";
import { Hearing } from "../core/hearing.ts";
import { LateStatus, UNPUBLISHED } from "../core/late-status.ts";
import { RetryLog } from "../core/retry-log.ts";
import { isOfRights, SLOW_RETRY_MS, sleepAlive } from "../core/slow-retry.ts";
import type { ChangeLog, Source } from "../core/source.ts";
import { forgetStop, statusError } from "../core/status-error.ts";
import { Claim } from "./claim.ts";
import { HELD_CHUNK, STREAMED_CHUNK } from "./copies.ts";
import { LeftBehind } from "./left-behind.ts";
import { Mailbox } from "./mailbox.ts";
import type { RelayOptions } from "./options.ts";
import { BatchHistory, type Joined } from "./retention.ts";
import { RelayWork } from "./work.ts";

const STANDBY_POLL_MS = 1_000;
/** Whoever holds the source has claimed its name in its queue by then, or its lease is given up where it has vanished. */
const HOLDER_MS = 60_000;
const WOKEN = "woken";
const TOLD_NEWCOMERS = 50;

/**
 * Source to queue: cuts batches, publishes them in order, serves fences, copies and resends,
 * purges what is confirmed. One works per source; others stand by for its lease.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #stop = new AbortController();
  readonly #bell = new Bell();
  readonly #mailbox: Mailbox;
  readonly #claim: Claim;
  readonly #kept: {
    readonly history: BatchHistory;
    readonly leftBehind: LeftBehind;
    readonly joined: Joined;
    readonly resent: Map<string, string>;
  };
  readonly #hearing: Hearing;
  readonly #retryLog: RetryLog;
  readonly #reportLog: RetryLog;
  readonly #late: LateStatus;
  #status: SourceStatus;
  /** Has a session worked? Then what it was refused for since, for want of a right, may be put right again. */
  #hasWorked = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    const { source: name, syncs, logger, keptMs, database = null } = options;
    this.#kept = {
      history: new BatchHistory(keptMs),
      leftBehind: new LeftBehind(),
      joined: new Map(),
      resent: new Map(),
    };
    const { documents } = options.queue;
    this.#retryLog = new RetryLog(logger, "relay interrupted");
    this.#reportLog = new RetryLog(logger, UNPUBLISHED);
    this.#hearing = new Hearing(documents, keys.relay(name));
    this.#mailbox = new Mailbox(documents, name, this.#bell);
    const onLost = () => this.#bell.ring();
    this.#claim = new Claim({ source: name, syncs, database, documents, logger, onLost });
    this.#status = { ...UNKNOWN_SOURCE, name, syncs: [...syncs.keys()] };
    this.#late = new LateStatus(keys.relay(name), this.#status, options.queue, options.logger);
  }

  get status(): SourceStatus {
    return this.#status;
  }

  /**
   * Works until stop(). Retryable trouble is waited out; any other error ends it and is thrown.
   * `onReady` is called once, when changes are first being captured (here or by the relay we stand by for).
   */
  async run(onReady: () => void): Promise<void> {
    const { logger, syncs, queue, source } = this.#options;
    const mail = this.#mailbox.run([...syncs.keys()], logger, this.#stop.signal);
    const claim = this.#claim.keep(this.#stop.signal);
    try {
      let forgotten = false;
      for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
        try {
          if (!forgotten) await forgetStop(queue.documents, keys.relay(source));
          forgotten = true;
          await this.#session(onReady, () => {
            attempt = 0;
            this.#retryLog.succeeded();
          });
        } catch (error) {
          const found = toTidemarkError(error);
          await this.#recover(found);
          if (isOfRights(found)) await this.#waitForRights();
        }
        await sleep(backoff(attempt), this.#stop.signal);
      }
      // Only the relay that worked may say that work has stopped.
      if (this.#status.state === "running") await this.#reportUnlessOther({ state: "stopped" });
    } finally {
      this.stop();
      await mail;
      await claim;
      await this.#claim.leave();
    }
  }

  stop(): void {
    this.#stop.abort();
    this.#bell.ring();
  }

  async #recover(error: TidemarkError): Promise<void> {
    if (this.#stop.signal.aborted) return;
    if (!error.retryable && !(this.#hasWorked && isOfRights(error))) {
      // A standby that cannot go on says nothing of the relay that works, nor does who may not have the name.
      if (this.#status.state !== "standby" && error.code !== "TM-NAME-TAKEN") {
        const stopped = { state: "stopped", error: statusError(error) } as const;
        if (this.#hearing.hasTold) await this.#reportUnlessOther(stopped);
        else await this.#report(stopped);
      }
      throw error;
    }
    this.#retryLog.failed(error);
    if (this.#status.state !== "unknown") {
      await this.#reportUnlessOther({ error: statusError(error) });
      return;
    }
    // Nor has it begun yet, and what it meets would be told nowhere: `status` would take it for one that does not run.
    this.#status = { ...this.#status, error: statusError(error) };
    await this.#late.tellUnlessOther("running", error);
  }

  #waitForRights(): Promise<void> {
    const { slowRetryMs = SLOW_RETRY_MS } = this.#options;
    return sleepAlive(slowRetryMs, this.#stop.signal, () => this.#reportUnlessOther({}));
  }

  /** One connection to the source, from lease to loss. */
  async #session(onReady: () => void, onHealthy: () => void): Promise<void> {
    const source = await this.#options.openSource();
    let log: ChangeLog | null = null;
    let work: RelayWork | null = null;
    let watch: AddressWatch | null = null;
    try {
      const leased = await this.#lease(source, onReady);
      if (leased === null) return;
      log = leased.log;
      failpoint("relay-lease-taken");
      const { signal } = this.#stop;
      const identity = await source.identity();
      if (!(await this.#claim.take({ timeline: log.timeline, identity }, signal))) return;
      const { source: name, whoAnswers, lookEveryMs: everyMs, logger } = this.#options;
      const onMoved = () => this.#bell.ring();
      watch = new AddressWatch({ name, held: identity, whoAnswers, everyMs, logger, onMoved });
      const chunkSize = source.capabilities.streamsChunks ? STREAMED_CHUNK : HELD_CHUNK;
      const { told } = leased;
      const own = {
        ...this.#kept,
        claim: this.#claim,
        mailbox: this.#mailbox,
        bell: this.#bell,
        told,
      };
      work = await RelayWork.open(this.#options, log, { ...own, chunkSize, signal });
      // What an earlier run told last (that it had stopped, and why) must not be taken for now.
      if (this.#status.state !== "running") await this.#report(work.started());
      onReady();
      this.#hasWorked = true;
      while (!signal.aborted) {
        this.#claim.throwIfLost();
        watch.throwIfMoved();
        const goesOn = await work.step();
        await work.tend((status) => this.#report(status));
        onHealthy();
        if (!goesOn) await this.#idle(log, work);
        else if (work.lingerMs > 0) await sleep(work.lingerMs, this.#stop.signal);
      }
      // What it tells when it stops is believed until the next start.
      this.#status = { ...this.#status, ...work.started() };
    } finally {
      await watch?.close();
      await work?.close();
      // Before the lease goes: who takes it must not find the name held.
      if (this.#stop.signal.aborted) await this.#claim.leave();
      else await this.#claim.wait();
      try {
        await log?.close();
      } finally {
        await source.close();
      }
    }
  }

  async #lease(source: Source, onReady: () => void): Promise<Leased | null> {
    const waiting = { since: performance.now(), isSaid: false };
    while (!this.#stop.signal.aborted) {
      const told = this.#mailbox.notices();
      const log = await source.openChangeLog();
      if (log !== null) return { log, told };
      if (this.#status.state !== "standby" && (await this.#feedsThisQueue(waiting))) {
        this.#options.logger.info({}, "another relay holds this source: standing by");
        void this.#tellOtherConfig();
        this.#status = { ...this.#status, state: "standby" };
        onReady();
      }
      await sleep(STANDBY_POLL_MS, this.#stop.signal);
    }
    return null;
  }

  /** Of a sync that the relay at work does not have, or has otherwise, nothing else would say what it waits for. */
  async #tellOtherConfig(): Promise<void> {
    const { source, syncs, queue, logger } = this.#options;
    const { signal } = this.#stop;
    // A queue that is away, or a relay that ends meanwhile: then there is nothing to tell.
    const asked = askFence(queue.documents, source, { anywhere: true, signal });
    const held = (await asked.catch(() => null))?.syncs ?? {};
    const waiting = [...syncs].flatMap(([name, { rules }]) =>
      held[name]?.rules === rules ? [] : [name],
    );
    // One of an earlier version names none.
    if (signal.aborted || Object.keys(held).length === 0 || waiting.length === 0) return;
    const names = waiting.map((name) => `"${name}"`).join(", ");
    const what = `the relay at work was started with another config, and goes by that: nothing comes for ${names}, or not as this config says, until it is restarted with this one`;
    logger.warn({}, what);
  }

  /**
   * Is the relay that holds the source one of this queue? Until it has claimed the name it may be about to, or be about
   * to end. Throws TM-SOURCE-TAKEN when that has taken too long: whoever waits here would wait for good.
   */
  async #feedsThisQueue(waiting: { readonly since: number; isSaid: boolean }): Promise<boolean> {
    if (await this.#claim.isHeld()) return true;
    const { source, database = null, logger } = this.#options;
    if (performance.now() - waiting.since > HOLDER_MS) throw sourceTaken(source, database);
    if (!waiting.isSaid) {
      logger.warn(
        {},
        "another relay holds this source, and none is at work in this queue: waiting",
      );
    }
    waiting.isSaid = true;
    return false;
  }

  /** Waits for changes, for mail, or for the next time to tend. */
  async #idle(log: ChangeLog, work: RelayWork): Promise<void> {
    const wake = new AbortController();
    const changes = log.waitForChanges(wake.signal, work.hasFound);
    const mail = this.#bell.wait(work.untilTendMs, this.#stop.signal);
    try {
      await Promise.race([changes, mail]);
    } finally {
      // With a reason at hand none is made, stack trace and all, for each change.
      wake.abort(WOKEN);
      this.#bell.cancel();
      await changes;
      await mail;
    }
  }

  /** For who may have lost the lease: whoever has it by now tells how the source is. */
  async #reportUnlessOther(change: Partial<SourceStatus>): Promise<void> {
    if (await this.#hearing.isOther()) this.#status = { ...this.#status, ...change };
    else await this.#report(change);
  }

  async #report(change: Partial<SourceStatus>): Promise<void> {
    const heartbeatAt = new Date().toISOString();
    const newcomers = this.#options.newcomers?.().slice(0, TOLD_NEWCOMERS) ?? [];
    this.#status = { ...this.#status, newcomers, ...change, heartbeatAt };
    // A standby must not overwrite what the working relay reports.
    if (this.#status.state === "standby" || this.#status.state === "unknown") return;
    this.#hearing.told(heartbeatAt);
    try {
      await this.#options.queue.documents.put(keys.relay(this.#options.source), this.#status);
      this.#reportLog.succeeded();
    } catch (error) {
      this.#reportLog.failed(error);
    }
  }
}

interface Leased {
  readonly log: ChangeLog;
  /** What syncs had told before: the log knows all of it. */
  readonly told: ReadonlyMap<string, Notice>;
}

function sourceTaken(source: string, database: string | null): TidemarkError {
  const which = database === null ? `"${source}"` : `"${source}" (${database})`;
  return new TidemarkError(
    "TM-SOURCE-TAKEN",
    `The source ${which} is read by a relay that works for another queue: a source has one relay, and one queue.`,
    {
      fix: "Give this pipeline the queue of the other one, and its syncs other names; or end the other one first.",
      details: { source },
    },
  );
}
