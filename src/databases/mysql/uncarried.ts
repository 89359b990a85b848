// Captured tables that no sync of this config carries: capture is additive (decision 0007).
import type { Logger } from "../../core/log.ts";
import { formatTable } from "../../core/table.ts";
import type { Session } from "./connection.ts";
import { endReading, isAlteredSince, LOST, type StoredLayout } from "./layouts.ts";
import { LAYOUTS } from "./ours.ts";
import { loadFacts } from "./table-facts.ts";

/**
 * Nobody stops for these tables, nor is anybody asked whether what they have become fits. What is logged of one that
 * was altered is unread, and it is copied anew by whoever carries it again.
 */
export class Uncarried {
  readonly #session: Session;
  readonly #logger: Logger;
  #layouts: readonly StoredLayout[] = [];

  constructor(session: Session, logger: Logger) {
    this.#session = session;
    this.#logger = logger;
  }

  get layouts(): readonly StoredLayout[] {
    return this.#layouts;
  }

  watch(layouts: readonly StoredLayout[]): void {
    this.#layouts = layouts;
  }

  /** What comes after this batch is unread where the table was altered. Gives the layouts that this holds for. */
  async endReading(tables: ReadonlySet<string>, batch: number): Promise<readonly StoredLayout[]> {
    const open = this.#layouts.filter(
      ({ table, readUpTo }) => readUpTo === null && tables.has(table.name),
    );
    if (open.length === 0) return [];
    const facts = await loadFacts(
      this.#session,
      open.map(({ table }) => table.name),
    );
    const ended = open
      .filter((layout) => isAlteredSince(layout, facts.get(layout.table.name)))
      .map((layout) => ({ ...layout, readUpTo: batch }));
    for (const { id, table } of ended) {
      await endReading(this.#session, id, batch);
      this.#logger.warn(
        { table: formatTable(table) },
        "a captured table that no sync of this config carries was altered: it is copied anew when one does",
      );
    }
    this.#layouts = this.#layouts.map((each) => ended.find(({ id }) => id === each.id) ?? each);
    return ended;
  }

  /** Rows of these have gone of which nobody knows which: whoever carries one again is told. */
  async lose(tables: Iterable<string>): Promise<void> {
    for (const { id, table } of this.#layouts) {
      if (![...tables].includes(table.name)) continue;
      await this.#session.run(`UPDATE ${LAYOUTS} SET triggers = ? WHERE id = ?`, [LOST, id]);
    }
  }
}
