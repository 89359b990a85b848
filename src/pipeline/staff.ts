import { Applier } from "../applier/applier.ts";
import type { SyncDefinition } from "../core/definition.ts";
import { keys, UNKNOWN_SOURCE } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import { LateStatus } from "../core/late-status.ts";
import type { CaptureTable } from "../core/source.ts";
import { Relay } from "../relay/relay.ts";
import { using } from "./connect.ts";
import { checkFit } from "./fit.ts";
import { LateSource, LateWorker } from "./late-source.ts";
import { Latecomer, lateSync } from "./latecomer.ts";
import { logFindings } from "./log-findings.ts";
import { Newcomers } from "./newcomers.ts";
import type { Passed } from "./passing.ts";
import type { PipelineParts, Preparation } from "./preparation.ts";
import type { AwaySource, PassedSync, Prepared, PreparedSource, Standing } from "./prepare.ts";
import type { PreparedSync } from "./prepare-target.ts";
import type { ResolvedSync } from "./resolve.ts";
import { worksAs } from "./share.ts";
import type { Worker, Workers } from "./workers.ts";

/** Sets relays and appliers to work, and those who stand in for them while a database is away. */
export class Staff {
  readonly #parts: PipelineParts;
  readonly #preparation: Preparation;
  readonly #workers: Workers;
  /** What looks on while the workers work; ends with the signal. */
  readonly #looking: Promise<void>[] = [];

  constructor(parts: PipelineParts, preparation: Preparation, workers: Workers) {
    this.#parts = parts;
    this.#preparation = preparation;
    this.#workers = workers;
  }

  add(prepared: Prepared): void {
    const { options } = this.#parts;
    for (const { name } of prepared.deferred) {
      const yet = "tables that this sync reads are yet to be created by another one";
      options.logger.warn({ sync: name }, `${yet}: restart this relay when they stand`);
    }
    if (worksAs(options, "relay")) this.#addRelays(prepared);
    if (worksAs(options, "applier")) {
      this.#addAppliers(prepared);
      this.#looking.push(this.#tellOfUnreadLogs(prepared));
    }
    for (const away of prepared.away) this.#addLate(away, prepared.standing);
  }

  /** Resolves, after the signal, when nobody looks on any more. */
  async gone(): Promise<void> {
    await Promise.all(this.#looking);
  }

  #addRelays(prepared: Prepared): void {
    for (const source of prepared.sources) {
      if (this.#parts.share.sources.has(source.name))
        this.#addRelay(source.name, this.#relayOf(source));
    }
  }

  #addRelay(name: string, worker: Worker): void {
    this.#workers.add({ name: `relay ${name}`, role: "relay", source: name, worker });
  }

  #relayOf({ name, capture, syncs }: PreparedSource): Relay {
    const { definition, options, databases, queue, ahead } = this.#parts;
    const newcomers = this.#watchNewcomers(name, capture, "relay");
    return new Relay({
      source: name,
      openSource: () => ahead.sources.take(name),
      whoAnswers: databases.whoAnswers(name),
      lookEveryMs: options.lookEveryMs,
      slowRetryMs: options.slowRetryMs,
      database: databases.placeOf(name),
      queue,
      tables: capture,
      syncs,
      maxLogBytes: definition.retention.maxLogBytes,
      maxStreamBytes: definition.queue.maxStreamBytes,
      isBoundSoft: definition.queue.isBoundSoft === true,
      keptMs: definition.retention.keptMs,
      newcomers: () => newcomers.names,
      logger: options.logger.child({ relay: name }),
    });
  }

  /** Relay and appliers of a source that the start has passed by. */
  #addLate({ name, syncs, error }: AwaySource, standing: Standing): void {
    const { definition, options, share, queue, signal } = this.#parts;
    const runsRelay = worksAs(options, "relay") && share.sources.has(name);
    const appliers = worksAs(options, "applier")
      ? syncs.filter(({ to }) => share.targets.has(to))
      : [];
    if (!runsRelay && appliers.length === 0) return;
    const logger = options.logger.child({ source: name });
    const late = new LateSource({
      error,
      prepare: () => this.#preparation.late(syncs, standing),
      isWritten: definition.syncs.some(({ to }) => to === name),
      slowRetryMs: options.slowRetryMs,
      signal,
      logger,
    });
    const watchApart = (found: Prepared | null) => {
      if (found !== null && appliers.length > 0) this.#watchApart(found);
    };
    this.#looking.push(late.found.then(watchApart).catch(() => {}));
    if (runsRelay) {
      const unknown = { ...UNKNOWN_SOURCE, name };
      const status = new LateStatus(keys.relay(name), unknown, queue, logger);
      const relayOf = ({ sources }: Prepared) => this.#relayOf(must(sources[0]));
      this.#addRelay(name, new LateWorker(late, status, relayOf));
    }
    for (const sync of appliers) {
      const status = lateSync(sync, queue, logger);
      const applierOf = (found: Prepared) => {
        const isIt = ({ definition }: Passed | ResolvedSync) => definition.name === sync.name;
        const prepared = found.syncs.find(({ resolved }) => isIt(resolved));
        if (prepared !== undefined) return this.#applierOf(prepared);
        return this.#latecomerOf(must(found.passed.find(isIt)));
      };
      this.#addApplier(sync, new LateWorker(late, status, applierOf));
    }
  }

  /** Of an applier apart: those that the relay has taken up since, with a newer config or a newer start. */
  #watchNewcomers(
    source: string,
    captured: readonly CaptureTable[],
    role: "relay" | "applier",
  ): Newcomers {
    const { definition, options, signal } = this.#parts;
    const newcomers = new Newcomers({
      syncs: definition.syncs.filter(({ from }) => from === source),
      captured,
      listTables: () =>
        using(this.#preparation.openCatalog(source), (catalog) => catalog.listTables()),
      logger: options.logger.child({ [role]: source }),
    });
    this.#looking.push(newcomers.run(signal));
    return newcomers;
  }

  #addAppliers(prepared: Prepared): void {
    this.#watchApart(prepared);
    for (const sync of prepared.syncs)
      this.#addApplier(sync.resolved.definition, this.#applierOf(sync));
    for (const passed of prepared.passed)
      this.#addApplier(passed.definition, this.#latecomerOf(passed));
  }

  /** Beside a relay it is that which looks. */
  #watchApart({ syncs, sources }: Prepared): void {
    if (worksAs(this.#parts.options, "relay")) return;
    const read = new Set(syncs.map(({ resolved }) => resolved.definition.from));
    for (const { name, capture } of sources) {
      if (read.has(name)) this.#watchNewcomers(name, capture, "applier");
    }
  }

  #addApplier({ name, from: source }: SyncDefinition, worker: Worker): void {
    this.#workers.add({ name, role: "applier", source, worker });
  }

  #latecomerOf(passed: PassedSync): Latecomer {
    const { definition, options, databases, queue } = this.#parts;
    return new Latecomer({
      passed,
      databases,
      definition,
      queue,
      slowRetryMs: options.slowRetryMs,
      logger: options.logger.child({ sync: passed.definition.name }),
      applierOf: (sync) => this.#applierOf(sync),
    });
  }

  #applierOf(sync: PreparedSync): Applier {
    const { definition, options, databases, queue, ahead } = this.#parts;
    const { resolved, plan, tables, fingerprint } = sync;
    const { name, from, to } = resolved.definition;
    for (const note of plan.notes) options.logger.warn({ sync: name }, note);
    return new Applier({
      sync: name,
      from,
      to,
      syncs: new Set(definition.syncs.map((each) => each.name)),
      database: databases.placeOf(from),
      timelineOfSource: () => ahead.catalogs.use(from, (each) => each.timeline()),
      isApart: !worksAs(options, "relay"),
      openTarget: () => ahead.targets.take(to, () => databases.openTarget(to, queue)),
      whoAnswers: databases.whoAnswers(to),
      lookEveryMs: options.lookEveryMs,
      slowRetryMs: options.slowRetryMs,
      queue,
      tables,
      fingerprint,
      checkFit: () => checkFit(sync, databases),
      runBounds: options.runBounds,
      logger: options.logger.child({ sync: name }),
    });
  }

  /** A target may have been a source before: what is applied to it is then still logged. */
  async #tellOfUnreadLogs({ syncs }: Prepared): Promise<void> {
    const { definition, options, databases } = this.#parts;
    const { logger } = options;
    const targets = new Set(syncs.map(({ resolved }) => resolved.definition.to));
    for (const { from } of definition.syncs) targets.delete(from);
    try {
      for (const target of targets) {
        for (const { message, fix } of await logFindings(target, definition, databases))
          logger.warn({ database: target }, `${message} ${fix}`);
      }
    } catch (error) {
      logger.debug({ error: String(error) }, "could not look for change logs that nobody reads");
    }
  }
}

/** Of a source that was prepared, whatever its syncs name is there. */
function must<T>(found: T | undefined): T {
  if (found === undefined) throw new TidemarkError("TM-INTERNAL", "A sync was not prepared.");
  return found;
}
