import { checkOptions } from "../config/options.ts";
import { checkTopology } from "../config/topology.ts";
import { validateDefinition } from "../config/validate.ts";
import { after } from "../core/async.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import type { Notice } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Queue } from "../core/queue.ts";
import { Ahead } from "./ahead.ts";
import { checkStart } from "./check-start.ts";
import { Databases } from "./connect.ts";
import { watchNotices } from "./notices.ts";
import { Passing } from "./passing.ts";
import {
  noticesOptions,
  openOptions,
  type PipelineOptions,
  type StopOptions,
  stopOptions,
  waitOptions,
} from "./pipeline-options.ts";
import { type PipelineParts, Preparation } from "./preparation.ts";
import type { AwayDatabases } from "./prepare.ts";
import { openQueue } from "./queue.ts";
import { tellRefused } from "./refused.ts";
import { queueAdapterFor } from "./registry.ts";
import { type Share, shareOf } from "./share.ts";
import { Staff } from "./staff.ts";
import { type PipelineStatus, readStatus } from "./status.ts";
import { type WaitOptions, waitForSync } from "./wait.ts";
import { Workers } from "./workers.ts";

/** A process that is told to end is given half a minute by many that run it. */
const ANSWER_WITHIN_MS = 10_000;

/** A pipeline in this process: relays, appliers and the queue between them. */
export class Pipeline {
  readonly #definition: PipelineDefinition;
  readonly #share: Share;
  readonly #ahead: Ahead;
  /** Sources that the check has passed by: nothing is begun with one that it has not looked at. */
  readonly #away: AwayDatabases;
  /** Ends all connections with databases. */
  readonly #severing: AbortController;
  readonly #queue: Queue;
  readonly #preparation: Preparation;
  readonly #workers: Workers;
  readonly #staff: Staff;
  readonly #ending = new AbortController();
  #started: Promise<void> | null = null;
  #stopped: Promise<void> | null = null;
  #preparing: Promise<unknown> | null = null;

  /**
   * Connects and checks everything; changes nothing in any database, but notes at a target that was altered and no longer
   * fits which tables are to be copied anew. Throws what a user must mend
   * first: TM-CONFIG-INVALID, TM-CONFIG-LOOP, TM-CONFIG-OVERLAP, TM-CONNECT-FAILED, TM-GRANT-MISSING, TM-TABLE-*, TM-COLUMN-*, TM-TYPE-UNSUPPORTED …;
   * TM-USAGE where this process would have nothing to do.
   */
  static async open(definition: PipelineDefinition, options: PipelineOptions): Promise<Pipeline> {
    // A program may have put it together itself.
    validateDefinition(definition);
    checkOptions("Pipeline.open", options, openOptions);
    checkTopology(definition, "definition");
    const share = shareOf(definition, options);
    const severing = new AbortController();
    const databases = new Databases(definition, options.logger, severing.signal);
    const passing = new Passing(definition, databases, { ...options, share });
    const ahead = new Ahead(databases, new Set([...share.sources, ...share.targets]));
    try {
      return await Pipeline.#open(
        { definition, options, share, databases, passing, ahead },
        severing,
      );
    } catch (error) {
      await ahead[Symbol.asyncDispose]();
      severing.abort();
      throw error;
    }
  }

  static async #open(
    parts: Omit<PipelineParts, "signal" | "queue">,
    severing: AbortController,
  ): Promise<Pipeline> {
    const { definition, options, share, databases, passing, ahead } = parts;
    // A URL that names nothing known is cheaper to tell now than after every table was examined.
    queueAdapterFor(definition.queue.url);
    let away: AwayDatabases = { sources: new Map(), targets: new Map() };
    if (options.role !== "applier") {
      try {
        away = await checkStart(definition, {
          share,
          databases,
          passing,
          ahead,
          logger: options.logger,
        });
      } catch (error) {
        const { logger } = options;
        const tell = (queue: Queue) => tellRefused(error, share, { queue, logger });
        // What refused the start is to be told, whatever the queue is at.
        await passing.withQueue(tell).catch(() => {});
        throw error;
      }
    }
    const queue = await openQueue(definition.queue, options.logger);
    passing.queue = queue;
    return new Pipeline({ ...parts, queue }, away, severing);
  }

  private constructor(
    parts: Omit<PipelineParts, "signal">,
    away: AwayDatabases,
    severing: AbortController,
  ) {
    this.#definition = parts.definition;
    this.#ahead = parts.ahead;
    this.#share = parts.share;
    this.#queue = parts.queue;
    this.#away = away;
    this.#severing = severing;
    const all = { ...parts, signal: this.#ending.signal };
    this.#preparation = new Preparation(all);
    this.#workers = new Workers(parts.options.logger);
    this.#staff = new Staff(all, this.#preparation, this.#workers);
  }

  /**
   * Creates missing tables, starts relays (which install capture) and appliers; resolves when all run or stand by, or
   * when stop() has been called meanwhile. Another call meets the same start. Throws TM-USAGE after stop().
   */
  async start(): Promise<void> {
    if (this.#stopped !== null) throw stoppedBefore();
    this.#started ??= this.#start();
    try {
      await this.#started;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Resolves after stop(). Rejects with the last error that stopped a sync for good, once nothing
   * is left that could work on; other syncs go on meanwhile, and status() tells.
   */
  get finished(): Promise<void> {
    return this.#workers.finished;
  }

  /** The queue that this pipeline opened: for tail and other readers in this process. */
  get queue(): Queue {
    return this.#queue;
  }

  /** Names of the syncs that this process brings to their targets; of relays alone, those that read from them. */
  get ownSyncs(): readonly string[] {
    return this.#share.syncs;
  }

  status(): Promise<PipelineStatus> {
    return readStatus(this.#definition, this.#queue);
  }

  /** See {@link waitForSync}. Of a pipeline that is stopped, here and meanwhile, TM-USAGE. */
  async waitFor(options: WaitOptions = {}): Promise<void> {
    checkOptions("waitFor", options, waitOptions);
    return waitForSync(this.#definition, this.#queue, options);
  }

  /**
   * Completion notices of every sync of the definition, whichever process applies it. Ends with the signal and with
   * stop(); whoever leaves the loop ends it too.
   */
  notices(signal: AbortSignal = this.#ending.signal): AsyncGenerator<Notice> {
    checkOptions("notices", { signal }, noticesOptions);
    const names = this.#definition.syncs.map(({ name }) => name);
    return watchNotices(this.#queue, names, signal);
  }

  /**
   * Ends relays and appliers between two batches, then closes the queue; nothing of it is at work or connected when this
   * resolves. Safe to call at any time, and again. A database that has not answered for `withinMs` (default 10 seconds) is
   * left: what it was at is rolled back, and done again at the next start. A function that is a target must not wait
   * for it: it waits for the function.
   */
  async stop(options: StopOptions = {}): Promise<void> {
    checkOptions("stop", options, stopOptions);
    const { withinMs = ANSWER_WITHIN_MS } = options;
    const cancel = after(withinMs, () => this.#severing.abort());
    this.#stopped ??= this.#stop();
    try {
      await this.#stopped;
    } finally {
      cancel();
    }
  }

  /** For `await using`: see {@link stop}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #start(): Promise<void> {
    try {
      const preparing = this.#preparation.start(this.#away);
      this.#preparing = preparing;
      const prepared = await preparing;
      if (this.#ending.signal.aborted) return;
      this.#staff.add(prepared);
      await this.#workers.ready;
    } catch (error) {
      if (!this.#ending.signal.aborted) throw error;
    }
  }

  async #stop(): Promise<void> {
    this.#ending.abort();
    // A start that is under way adds no worker after this.
    await Promise.allSettled([this.#preparing]);
    const left = this.#ahead[Symbol.asyncDispose]();
    await Promise.all([this.#workers.stop(), this.#staff.gone(), left]);
    await this.#queue.close();
  }
}

function stoppedBefore(): TidemarkError {
  return new TidemarkError("TM-USAGE", "This pipeline has been stopped; it is not started again.", {
    fix: "Open another one: Pipeline.open.",
  });
}
