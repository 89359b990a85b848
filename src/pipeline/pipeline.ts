import { z } from "zod";
import { Applier } from "../applier/applier.ts";
import type { RunBounds } from "../applier/group.ts";
import type { ApplierOptions } from "../applier/options.ts";
import { aLogger, aSignal, checkOptions, milliseconds, names } from "../config/options.ts";
import { checkTopology } from "../config/topology.ts";
import { validateDefinition } from "../config/validate.ts";
import { after } from "../core/async.ts";
import type { Catalog } from "../core/database.ts";
import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import { keys, type Notice, UNKNOWN_SOURCE } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import type { CaptureTable } from "../core/source.ts";
import { Relay } from "../relay/relay.ts";
import { checkStart } from "./check-start.ts";
import { Databases, using } from "./connect.ts";
import { DocumentCatalog } from "./document-catalog.ts";
import { checkFit, refuseAltered } from "./fit.ts";
import { LateSource, LateWorker } from "./late-source.ts";
import { LateStatus } from "./late-status.ts";
import { Latecomer, lateSync } from "./latecomer.ts";
import { logFindings } from "./log-findings.ts";
import { Newcomers } from "./newcomers.ts";
import { watchNotices } from "./notices.ts";
import { type Passed, Passing, refuseIfNoneIsLeft } from "./passing.ts";
import {
  type AwaySource,
  type PassBy,
  type PassedSync,
  type Prepared,
  type PreparedSource,
  type PrepareOptions,
  prepare,
  type Standing,
} from "./prepare.ts";
import type { PreparedSync } from "./prepare-target.ts";
import { openQueue } from "./queue.ts";
import { tellRefused } from "./refused.ts";
import { queueAdapterFor } from "./registry.ts";
import type { ResolvedSync } from "./resolve.ts";
import { type Share, type ShareOptions, shareOf } from "./share.ts";
import { type PipelineStatus, readStatus } from "./status.ts";
import { type WaitOptions, waitForSync } from "./wait.ts";
import { type Worker, Workers } from "./workers.ts";

export interface PipelineOptions extends ShareOptions {
  readonly logger: Logger;
  /**
   * Refuses the start where a source or target cannot be opened which has been at work before, and so would be waited for while the
   * other syncs go on: of a program that ends when all is synced.
   */
  readonly mustOpenAll?: boolean | undefined;
  /** For tests: see {@link ApplierOptions.runBounds}. */
  readonly runBounds?: RunBounds | undefined;
  /** For tests: how often it is asked which server answers. */
  readonly lookEveryMs?: number | undefined;
  /** For tests: how long after an error of rights it is tried again. */
  readonly slowRetryMs?: number | undefined;
  /** For tests: how long an applier on its own waits for the relay to tell the source's tables. */
  readonly tablesWithinMs?: number | undefined;
}

export interface StopOptions {
  /** So long at most databases may take for what they are at. */
  readonly withinMs?: number | undefined;
}

const openOptions = z.strictObject({
  logger: aLogger,
  role: z.enum(["all", "relay", "applier"], "must be all, relay or applier").optional(),
  databases: names.optional(),
  lookEveryMs: milliseconds.optional(),
  mustOpenAll: z.boolean().optional(),
  slowRetryMs: milliseconds.optional(),
  tablesWithinMs: milliseconds.optional(),
  runBounds: z.looseObject({}).optional(),
});
const waitOptions = z.strictObject({
  sync: z.union([z.string(), names], "must be the name of a sync, or a list of names").optional(),
  timeoutMs: milliseconds.optional(),
  signal: aSignal.optional(),
});
const noticesOptions = z.strictObject({ signal: aSignal });
const stopOptions = z.strictObject({ withinMs: milliseconds.optional() });

/** A process that is told to end is given half a minute by many that run it. */
const ANSWER_WITHIN_MS = 10_000;
/** How long an applier on its own waits for the relay to tell the source's tables. */
const TABLES_TIMEOUT_MS = 60_000;

/** A pipeline in this process: relays, appliers and the queue between them. */
export class Pipeline {
  readonly #definition: PipelineDefinition;
  readonly #options: PipelineOptions;
  readonly #share: Share;
  readonly #databases: Databases;
  readonly #passing: Passing;
  /** Sources that the check has passed by: nothing is begun with one that it has not looked at. */
  readonly #away: ReadonlyMap<string, TidemarkError>;
  /** Ends all connections of {@link #databases}. */
  readonly #severing: AbortController;
  readonly #queue: Queue;
  readonly #workers: Workers;
  readonly #ending = new AbortController();
  #started: Promise<void> | null = null;
  #stopped: Promise<void> | null = null;
  #preparing: Promise<unknown> | null = null;
  /** What looks on while the workers work; ends with {@link #ending}. */
  readonly #looking: Promise<void>[] = [];

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
    // A URL that names nothing known is cheaper to tell now than after every table was examined.
    queueAdapterFor(definition.queue.url);
    let away: ReadonlyMap<string, TidemarkError> = new Map();
    if (options.role !== "applier") {
      try {
        away = await checkStart(definition, { share, databases, passing, logger: options.logger });
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
    return new Pipeline({ definition, options, share, databases, passing, away, severing, queue });
  }

  private constructor(parts: {
    definition: PipelineDefinition;
    options: PipelineOptions;
    share: Share;
    databases: Databases;
    passing: Passing;
    away: ReadonlyMap<string, TidemarkError>;
    severing: AbortController;
    queue: Queue;
  }) {
    this.#definition = parts.definition;
    this.#options = parts.options;
    this.#share = parts.share;
    this.#databases = parts.databases;
    this.#passing = parts.passing;
    this.#away = parts.away;
    this.#severing = parts.severing;
    this.#queue = parts.queue;
    this.#workers = new Workers(parts.options.logger);
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
    const { signal } = this.#ending;
    try {
      const preparing = this.#prepare(this.#toPrepare(), {
        passBy: this.#passing.ask,
        away: this.#away,
      });
      this.#preparing = preparing;
      const prepared = await this.#toldIfRefused(preparing);
      if (signal.aborted) return;
      for (const { name } of prepared.deferred) {
        const yet = "tables that this sync reads are yet to be created by another one";
        this.#options.logger.warn({ sync: name }, `${yet}: restart this relay when they stand`);
      }
      if (this.#does("relay")) this.#addRelays(prepared);
      if (this.#does("applier")) {
        this.#addAppliers(prepared);
        this.#looking.push(this.#tellOfUnreadLogs(prepared));
      }
      for (const away of prepared.away) this.#addLate(away, prepared.standing);
      await this.#workers.ready;
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  #prepare(
    definition: PipelineDefinition,
    options: Pick<PrepareOptions, "passBy" | "standing" | "away">,
  ): Promise<Prepared> {
    return prepare(definition, this.#databases, {
      create: this.#does("applier"),
      openCatalog: (source) => this.#openCatalog(source),
      // What checks all before it starts has noted it then; an applier apart looks here first.
      onUnfit: (sync) =>
        refuseAltered(sync, this.#databases, { ...this.#definition, ...this.#options }),
      ...(this.#options.databases ? { targets: new Set(this.#options.databases) } : {}),
      signal: this.#ending.signal,
      ...options,
    });
  }

  async #toldIfRefused(preparing: Promise<Prepared>): Promise<Prepared> {
    try {
      const prepared = await preparing;
      refuseIfNoneIsLeft(this.#share, prepared, prepared.passed);
      return prepared;
    } catch (error) {
      const { logger } = this.#options;
      if (!this.#ending.signal.aborted)
        await tellRefused(error, this.#share, { queue: this.#queue, logger });
      throw error;
    }
  }

  /** An applier apart knows sources by what their relays tell: it must not wait for those that it does not read. */
  #toPrepare(): PipelineDefinition {
    if (this.#does("relay")) return this.#definition;
    const syncs = this.#definition.syncs.filter(({ to }) => this.#share.targets.has(to));
    return { ...this.#definition, syncs };
  }

  async #stop(): Promise<void> {
    this.#ending.abort();
    // A start that is under way adds no worker after this.
    await Promise.allSettled([this.#preparing]);
    await Promise.all([this.#workers.stop(), ...this.#looking]);
    await this.#queue.close();
  }

  /** A target may have been a source before: what is applied to it is then still logged. */
  async #tellOfUnreadLogs({ syncs }: Prepared): Promise<void> {
    const { logger } = this.#options;
    const targets = new Set(syncs.map(({ resolved }) => resolved.definition.to));
    for (const { from } of this.#definition.syncs) targets.delete(from);
    try {
      for (const target of targets) {
        for (const { message, fix } of await logFindings(target, this.#definition, this.#databases))
          logger.warn({ database: target }, `${message} ${fix}`);
      }
    } catch (error) {
      logger.debug({ error: String(error) }, "could not look for change logs that nobody reads");
    }
  }

  #does(role: "relay" | "applier"): boolean {
    const { role: asked = "all" } = this.#options;
    return asked === "all" || asked === role;
  }

  #openCatalog(source: string): Promise<Catalog> {
    if (this.#does("relay")) return this.#databases.openCatalog(source);
    return DocumentCatalog.open(this.#queue.documents, source, {
      timeoutMs: this.#options.tablesWithinMs ?? TABLES_TIMEOUT_MS,
      signal: this.#ending.signal,
      logger: this.#options.logger,
    });
  }

  #addRelays(prepared: Prepared): void {
    for (const source of prepared.sources) {
      if (this.#share.sources.has(source.name)) this.#addRelay(source.name, this.#relayOf(source));
    }
  }

  #addRelay(name: string, worker: Worker): void {
    this.#workers.add({ name: `relay ${name}`, role: "relay", source: name, worker });
  }

  #relayOf({ name, capture, syncs }: PreparedSource): Relay {
    const newcomers = this.#watchNewcomers(name, capture, "relay");
    return new Relay({
      source: name,
      openSource: () => this.#databases.openSource(name),
      whoAnswers: this.#databases.whoAnswers(name),
      lookEveryMs: this.#options.lookEveryMs,
      slowRetryMs: this.#options.slowRetryMs,
      database: this.#databases.placeOf(name),
      queue: this.#queue,
      tables: capture,
      syncs,
      maxLogBytes: this.#definition.retention.maxLogBytes,
      maxStreamBytes: this.#definition.queue.maxStreamBytes,
      isBoundSoft: this.#definition.queue.isBoundSoft === true,
      keptMs: this.#definition.retention.keptMs,
      newcomers: () => newcomers.names,
      logger: this.#options.logger.child({ relay: name }),
    });
  }

  /** Relay and appliers of a source that the start has passed by. */
  #addLate({ name, syncs, error }: AwaySource, standing: Standing): void {
    const runsRelay = this.#does("relay") && this.#share.sources.has(name);
    const appliers = this.#does("applier")
      ? syncs.filter(({ to }) => this.#share.targets.has(to))
      : [];
    if (!runsRelay && appliers.length === 0) return;
    const logger = this.#options.logger.child({ source: name });
    const late = new LateSource({
      error,
      prepare: () => this.#prepareLate({ ...this.#definition, syncs }, standing),
      isWritten: this.#definition.syncs.some(({ to }) => to === name),
      slowRetryMs: this.#options.slowRetryMs,
      signal: this.#ending.signal,
      logger,
    });
    this.#looking.push(late.found.then(() => {}).catch(() => {}));
    if (runsRelay) {
      const unknown = { ...UNKNOWN_SOURCE, name };
      const status = new LateStatus(keys.relay(name), unknown, this.#queue, logger);
      const relayOf = ({ sources }: Prepared) => this.#relayOf(must(sources[0]));
      this.#addRelay(name, new LateWorker(late, status, relayOf));
    }
    for (const sync of appliers) {
      const status = lateSync(sync, this.#queue, logger);
      const applierOf = (found: Prepared) => {
        const isIt = ({ definition }: Passed | ResolvedSync) => definition.name === sync.name;
        const prepared = found.syncs.find(({ resolved }) => isIt(resolved));
        if (prepared !== undefined) return this.#applierOf(prepared);
        return this.#latecomerOf(must(found.passed.find(isIt)));
      };
      this.#addApplier(sync, new LateWorker(late, status, applierOf));
    }
  }

  /** As at any start: nothing is made before all was looked at. */
  async #prepareLate(definition: PipelineDefinition, standing: Standing): Promise<Prepared> {
    const { signal } = this.#ending;
    const passBy: PassBy = async (sync, error, end) =>
      end === "target" && (await this.#passing.ask(sync, error, end));
    const options = { passBy, standing, signal };
    const { logger } = this.#options;
    const parts = { share: null, databases: this.#databases, passing: this.#passing, logger };
    try {
      if (this.#does("relay")) await checkStart(definition, { ...parts, ...options });
      return await this.#prepare(definition, options);
    } catch (error) {
      // What is not begun is in nobody's way.
      for (const { from } of definition.syncs) standing.delete(from);
      throw error;
    }
  }

  /** Of an applier apart: those that the relay has taken up since, with a newer config or a newer start. */
  #watchNewcomers(
    source: string,
    captured: readonly CaptureTable[],
    role: "relay" | "applier",
  ): Newcomers {
    const newcomers = new Newcomers({
      syncs: this.#definition.syncs.filter(({ from }) => from === source),
      captured,
      listTables: () => using(this.#openCatalog(source), (catalog) => catalog.listTables()),
      logger: this.#options.logger.child({ [role]: source }),
    });
    this.#looking.push(newcomers.run(this.#ending.signal));
    return newcomers;
  }

  #addAppliers(prepared: Prepared): void {
    if (!this.#does("relay")) {
      const read = new Set(prepared.syncs.map(({ resolved }) => resolved.definition.from));
      for (const { name, capture } of prepared.sources) {
        if (read.has(name)) this.#watchNewcomers(name, capture, "applier");
      }
    }
    for (const sync of prepared.syncs)
      this.#addApplier(sync.resolved.definition, this.#applierOf(sync));
    for (const passed of prepared.passed)
      this.#addApplier(passed.definition, this.#latecomerOf(passed));
  }

  #addApplier({ name, from: source }: SyncDefinition, worker: Worker): void {
    this.#workers.add({ name, role: "applier", source, worker });
  }

  #latecomerOf(passed: PassedSync): Latecomer {
    return new Latecomer({
      passed,
      databases: this.#databases,
      definition: this.#definition,
      queue: this.#queue,
      slowRetryMs: this.#options.slowRetryMs,
      logger: this.#options.logger.child({ sync: passed.definition.name }),
      applierOf: (sync) => this.#applierOf(sync),
    });
  }

  #applierOf(sync: PreparedSync): Applier {
    const { resolved, plan, tables, fingerprint } = sync;
    const { name, from, to } = resolved.definition;
    for (const note of plan.notes) this.#options.logger.warn({ sync: name }, note);
    return new Applier({
      sync: name,
      from,
      to,
      syncs: new Set(this.#definition.syncs.map((each) => each.name)),
      database: this.#databases.placeOf(from),
      timelineOfSource: () => using(this.#databases.openCatalog(from), (each) => each.timeline()),
      isApart: !this.#does("relay"),
      openTarget: () => this.#databases.openTarget(to, this.#queue),
      whoAnswers: this.#databases.whoAnswers(to),
      lookEveryMs: this.#options.lookEveryMs,
      slowRetryMs: this.#options.slowRetryMs,
      queue: this.#queue,
      tables,
      fingerprint,
      checkFit: () => checkFit(sync, this.#databases),
      runBounds: this.#options.runBounds,
      logger: this.#options.logger.child({ sync: name }),
    });
  }
}

/** Of a source that was prepared, whatever its syncs name is there. */
function must<T>(found: T | undefined): T {
  if (found === undefined) throw new TidemarkError("TM-INTERNAL", "A sync was not prepared.");
  return found;
}

function stoppedBefore(): TidemarkError {
  return new TidemarkError("TM-USAGE", "This pipeline has been stopped; it is not started again.", {
    fix: "Open another one: Pipeline.open.",
  });
}
