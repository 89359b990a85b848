import { DeliverTarget } from "../applier/deliver-target.ts";
import type { WhoAnswers } from "../core/address-watch.ts";
import type { Catalog, DatabaseAdapter, DatabaseOptions } from "../core/database.ts";
import type { DatabaseDefinition, PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import { placeOfUrl } from "../core/secrets.ts";
import type { Source } from "../core/source.ts";
import type { Target } from "../core/target.ts";
import { Identities } from "./identities.ts";
import { databaseAdapterFor } from "./registry.ts";
import type { SyncEnds } from "./resolve.ts";

/** Opens parts of the databases of a definition by name. Whoever opens, closes. */
export class Databases {
  readonly #definitions: ReadonlyMap<string, DatabaseDefinition>;
  readonly #logger: Logger;
  readonly #signal: AbortSignal | undefined;
  /** What is known of them by those that were opened to be prepared. */
  readonly identities: Identities;

  /** `signal`: see {@link DatabaseOptions.signal}. */
  constructor(definition: PipelineDefinition, logger: Logger, signal?: AbortSignal) {
    this.#definitions = new Map(definition.databases.map((entry) => [entry.name, entry]));
    this.#logger = logger;
    this.#signal = signal;
    this.identities = new Identities(definition, (name) => this.kindOf(name));
  }

  /** What kind of source and target a sync joins. */
  endsOf(sync: SyncDefinition): SyncEnds {
    const target = this.#get(sync.to);
    const targetSchema =
      "url" in target ? databaseAdapterFor(target.url, sync.to).defaultSchema : null;
    return { sourceKind: this.kindOf(sync.from), targetSchema };
  }

  /** The adapter's kind; `function` for a function. */
  kindOf(name: string): string {
    const definition = this.#get(name);
    return "url" in definition ? databaseAdapterFor(definition.url, name).kind : "function";
  }

  /** Where the definition says that it is, without a secret; null where it does not say. */
  placeOf(name: string): string | null {
    const definition = this.#get(name);
    return "url" in definition ? placeOfUrl(definition.url) : null;
  }

  /** `signal` ends it, too. */
  openCatalog(name: string, signal?: AbortSignal): Promise<Catalog> {
    const { adapter, options } = this.#adapter(name, signal);
    return adapter.openCatalog(options);
  }

  /** Asks by a connection of its own which server answers for it now; undefined where there is none to ask. */
  whoAnswers(name: string): WhoAnswers | undefined {
    if (!this.hasAddress(name)) return undefined;
    return (asking) => {
      const { adapter, options } = this.#adapter(name, asking);
      return using(adapter.openCatalog(options), (catalog) => catalog.identity());
    };
  }

  /** Is it a server? */
  hasAddress(name: string): boolean {
    const definition = this.#get(name);
    return "url" in definition && databaseAdapterFor(definition.url, name).hasAddress;
  }

  /** `signal` ends it, too. */
  async openSource(name: string, signal?: AbortSignal): Promise<Source> {
    const { adapter, options } = this.#adapter(name, signal);
    return adapter.openSource(options);
  }

  /** `queue` is where a function's progress is kept; null to plan only. `signal` ends it, too. */
  async openTarget(name: string, queue: Queue | null, signal?: AbortSignal): Promise<Target> {
    const definition = this.#get(name);
    if ("deliver" in definition)
      return new DeliverTarget(definition.deliver, queue?.documents ?? null);
    const { adapter, options } = this.#adapter(name, signal);
    return adapter.openTarget(options);
  }

  #adapter(
    name: string,
    ending?: AbortSignal,
  ): { adapter: DatabaseAdapter; options: DatabaseOptions } {
    const definition = this.#get(name);
    if (!("url" in definition)) {
      throw new TidemarkError(
        "TM-CONFIG-INVALID",
        `"${name}" is a function: it can only be a target.`,
      );
    }
    const { url } = definition;
    const signals = [ending, this.#signal].filter((signal) => signal !== undefined);
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    const logger = this.#logger.child({ database: name });
    return {
      adapter: databaseAdapterFor(url, name),
      options: { name, url, logger, signal },
    };
  }

  #get(name: string): DatabaseDefinition {
    const definition = this.#definitions.get(name);
    if (definition !== undefined) return definition;
    throw new TidemarkError("TM-CONFIG-INVALID", `No database is named "${name}".`, {
      fix: `Known: ${[...this.#definitions.keys()].join(", ")}.`,
    });
  }
}

/** Opens, uses, closes, whatever happens. */
export async function using<T extends { close(): Promise<void> }, R>(
  open: Promise<T>,
  use: (opened: T) => Promise<R>,
): Promise<R> {
  const opened = await open;
  try {
    return await use(opened);
  } finally {
    await opened.close();
  }
}
