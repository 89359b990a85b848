import type { Catalog } from "../core/database.ts";
import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import type { Queue } from "../core/queue.ts";
import type { Ahead } from "./ahead.ts";
import { checkStart } from "./check-start.ts";
import { type Databases, using } from "./connect.ts";
import { DocumentCatalog } from "./document-catalog.ts";
import { refuseAltered } from "./fit.ts";
import { type Passing, refuseIfNoneIsLeft } from "./passing.ts";
import type { PipelineOptions } from "./pipeline-options.ts";
import {
  type AwayDatabases,
  type PassBy,
  type Prepared,
  type PrepareOptions,
  prepare,
  type Standing,
  type WithCatalog,
} from "./prepare.ts";
import { tellRefused } from "./refused.ts";
import { type Share, worksAs } from "./share.ts";

/** How long an applier on its own waits for the relay to tell the source's tables. */
const TABLES_TIMEOUT_MS = 60_000;

/** What a pipeline has opened, for those who work in it. */
export interface PipelineParts {
  readonly definition: PipelineDefinition;
  readonly options: PipelineOptions;
  readonly share: Share;
  readonly databases: Databases;
  /** What the check has left open. */
  readonly ahead: Ahead;
  readonly passing: Passing;
  readonly queue: Queue;
  /** Aborts when the pipeline is stopped. */
  readonly signal: AbortSignal;
}

/** Finds out, and makes, what the workers of this process need. */
export class Preparation {
  readonly #parts: PipelineParts;

  constructor(parts: PipelineParts) {
    this.#parts = parts;
  }

  /** Of all that this process works on. `away`: databases that the check has passed by. Tells the queue what refuses the start. */
  async start(away: AwayDatabases): Promise<Prepared> {
    const { options, share, passing, queue, signal, ahead } = this.#parts;
    try {
      const prepared = await this.#prepare(this.#syncs(), { passBy: passing.ask, away, ahead });
      refuseIfNoneIsLeft(share, prepared, prepared.passed);
      return prepared;
    } catch (error) {
      if (!signal.aborted) await tellRefused(error, share, { queue, logger: options.logger });
      throw error;
    }
  }

  /**
   * As at any start, of the syncs of a source that it has passed by: nothing is made before all was looked at.
   * `standing`: what has begun meanwhile.
   */
  async late(syncs: readonly SyncDefinition[], standing: Standing): Promise<Prepared> {
    const { definition, options, databases, passing, signal } = this.#parts;
    const passBy: PassBy = async (sync, error, end) =>
      end === "target" && (await passing.ask(sync, error, end));
    const asked = { passBy, standing, signal };
    const parts = { share: null, databases, passing, logger: options.logger };
    try {
      if (!worksAs(options, "relay")) return await this.#prepare(syncs, asked);
      const away = await checkStart({ ...definition, syncs }, { ...parts, ...asked });
      return await this.#prepare(syncs, { ...asked, away });
    } catch (error) {
      // What is not begun is in nobody's way.
      for (const { from } of syncs) standing.delete(from);
      throw error;
    }
  }

  /** What tells of a source's tables: an applier apart is told by its relay. */
  openCatalog(source: string): Promise<Catalog> {
    const { options, databases, queue, signal } = this.#parts;
    if (worksAs(options, "relay")) return databases.openCatalog(source);
    return DocumentCatalog.open(queue.documents, source, {
      timeoutMs: options.tablesWithinMs ?? TABLES_TIMEOUT_MS,
      signal,
      logger: options.logger,
    });
  }

  /** An applier apart knows sources by what their relays tell: it must not wait for those that it does not read. */
  #syncs(): readonly SyncDefinition[] {
    const { definition, options, share } = this.#parts;
    if (worksAs(options, "relay")) return definition.syncs;
    return definition.syncs.filter(({ to }) => share.targets.has(to));
  }

  #prepare(
    syncs: readonly SyncDefinition[],
    more: Pick<PrepareOptions, "passBy" | "standing" | "away" | "ahead">,
  ): Promise<Prepared> {
    const { definition, options, databases, signal } = this.#parts;
    const withCatalog: WithCatalog = (source, use) => using(this.openCatalog(source), use);
    return prepare({ ...definition, syncs }, databases, {
      create: worksAs(options, "applier"),
      ...(worksAs(options, "relay") ? {} : { withCatalog }),
      // What checks all before it starts has noted it then; an applier apart looks here first.
      onUnfit: (sync) => refuseAltered(sync, databases, { ...definition, ...options }),
      ...(options.databases ? { targets: new Set(options.databases) } : {}),
      signal,
      ...more,
    });
  }
}
