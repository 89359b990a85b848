import { isTidemarkError } from "../../core/errors.ts";
import type { Session } from "./connection.ts";
import { quoteName } from "./identifiers.ts";

/**
 * A text that stays the same for as long as nobody alters the table: the statement that would create it.
 * Cheaper than any question to information_schema, and waits for nobody but a statement that is just
 * altering the table.
 */
export async function loadPin(session: Session, table: string): Promise<string> {
  const [row] = await session.rows(`SHOW CREATE TABLE ${quoteName(table)}`, [], { table });
  return (row?.[1] ?? "").replace(/ AUTO_INCREMENT=\d+/, "");
}

/** Tells at each cut, for the price of a look at the few tables in it, whether they were altered. */
export class Pins {
  readonly #session: Session;
  readonly #known = new Map<string, string>();
  #asked: ReadonlySet<string> = new Set();

  constructor(session: Session) {
    this.#session = session;
  }

  /** All are unknown again, and so altered. */
  forget(): void {
    this.#known.clear();
  }

  /**
   * Is one of these not as it was? To be asked after the log was read: what was logged is then logged
   * before any ALTER that this does not see.
   */
  async differ(tables: ReadonlySet<string>): Promise<boolean> {
    this.#asked = tables;
    for (const table of tables) {
      if ((await this.#load(table)) !== this.#known.get(table)) return true;
    }
    return false;
  }

  /** Knows those asked about last as they are, if `check` finds that they fit. */
  async renew(check: () => Promise<void>): Promise<void> {
    // First: what is altered during the check is found the next time.
    const pins: [string, string][] = [];
    for (const table of this.#asked) pins.push([table, await this.#load(table)]);
    await check();
    for (const [table, pin] of pins) this.#known.set(table, pin);
  }

  /** Empty for a table that is gone. */
  async #load(table: string): Promise<string> {
    try {
      return await loadPin(this.#session, table);
    } catch (error) {
      if (isTidemarkError(error, "TM-TABLE-MISSING")) return "";
      throw error;
    }
  }
}
