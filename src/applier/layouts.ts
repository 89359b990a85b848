import type { Layout } from "../core/change.ts";
import { keys } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Documents } from "../core/queue.ts";
import { formatTable } from "../core/table.ts";
import { LayoutMapping, type SyncTable } from "./mapping.ts";

/**
 * So many layouts are asked for one by one. Who needs more, as in a first copy, needs most of them: then all are asked for
 * at once, since a queue far away answers each question slowly.
 */
const ONE_BY_ONE = 8;

/** Finds how changes of a layout are to be read, once per layout. */
export class LayoutMappings {
  readonly #documents: Documents;
  readonly #source: string;
  readonly #timeline: string;
  readonly #tables: ReadonlyMap<string, SyncTable>;
  readonly #mappings = new Map<number, LayoutMapping | null>();
  /** By key; what stands of a layout stays as it is. */
  #listed: ReadonlyMap<string, unknown> = new Map();

  constructor(
    documents: Documents,
    source: string,
    timeline: string,
    tables: readonly SyncTable[],
  ) {
    this.#documents = documents;
    this.#source = source;
    this.#timeline = timeline;
    this.#tables = new Map(tables.map((table) => [table.source, table]));
  }

  /** Null: a table that this sync does not carry; undefined: not looked up yet. For the hot loop. */
  known(layoutId: number): LayoutMapping | null | undefined {
    return this.#mappings.get(layoutId);
  }

  async lookUp(layoutId: number): Promise<LayoutMapping | null> {
    const layout = await this.#load(layoutId);
    const table = this.#tables.get(formatTable(layout.table));
    const mapping = table === undefined ? null : new LayoutMapping(table, layout);
    this.#mappings.set(layoutId, mapping);
    return mapping;
  }

  async #load(id: number): Promise<Layout> {
    if (this.#mappings.size === ONE_BY_ONE) {
      this.#listed = await this.#documents.list(keys.layouts(this.#source, this.#timeline));
    }
    const key = keys.layout(this.#source, this.#timeline, id);
    const document = this.#listed.get(key) ?? (await this.#documents.get(key));
    if (document !== null) return document as Layout;
    throw new TidemarkError(
      "TM-APPLY-GAP",
      `Layout ${id} of ${this.#source} is not in the queue; the relay is asked for it.`,
    );
  }
}
