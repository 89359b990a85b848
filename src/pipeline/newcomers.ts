import { isGlob, matcherExcept } from "../config/patterns.ts";
import { sleep } from "../core/async.ts";
import type { SyncDefinition } from "../core/definition.ts";
import type { Logger } from "../core/log.ts";
import type { CaptureTable } from "../core/source.ts";
import { formatTable, type TableName } from "../core/table.ts";

/** The first look comes while whoever has just made a table may still look on. */
const FIRST_LOOK_MS = 5_000;
const LOOK_MS = 60_000;

export interface NewcomersOptions {
  /** Those that read the source. */
  readonly syncs: readonly SyncDefinition[];
  readonly captured: readonly CaptureTable[];
  readonly listTables: () => Promise<readonly TableName[]>;
  readonly logger: Logger;
}

/**
 * Tables of a source that match a glob of its syncs and came after the start. They are told and not taken up: what a
 * migration makes and drops again is not to be captured and copied unasked. So the next start is the consent.
 */
export class Newcomers {
  readonly #options: NewcomersOptions;
  readonly #matchers: readonly ((table: TableName) => boolean)[];
  readonly #captured: ReadonlySet<string>;
  #names: readonly string[] = [];

  constructor(options: NewcomersOptions) {
    this.#options = options;
    this.#matchers = options.syncs.flatMap(({ tables, except }) =>
      tables.flatMap(({ table }) => (isGlob(table) ? [matcherExcept(table, except)] : [])),
    );
    this.#captured = new Set(options.captured.map(({ schema }) => formatTable(schema.name)));
  }

  /** As of the last look. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Looks from time to time, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#matchers.length === 0) return;
    for (let ms = FIRST_LOOK_MS; ; ms = LOOK_MS) {
      await sleep(ms, signal);
      if (signal.aborted) return;
      try {
        await this.#look();
      } catch (error) {
        // The relay tells of a source that is away.
        this.#options.logger.debug({ error: String(error) }, "could not look for new tables");
      }
    }
  }

  async #look(): Promise<void> {
    const listed = await this.#options.listTables();
    const found = listed
      .filter((table) => this.#matchers.some((matches) => matches(table)))
      .map(formatTable)
      .filter((name) => !this.#captured.has(name));
    const fresh = found.filter((name) => !this.#names.includes(name));
    this.#names = found;
    if (fresh.length === 0) return;
    this.#options.logger.warn(
      { tables: fresh },
      "tables that the config's globs match have come since the start: they are synced from the next start on",
    );
  }
}
