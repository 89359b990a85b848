import { isTidemarkError } from "../../core/errors.ts";
import type { Cells, Session } from "./connection.ts";
import { quoteName } from "./identifiers.ts";

/**
 * A text that stays the same for as long as nobody alters the table: the statement that would create it.
 * Cheaper than any question to information_schema, and waits for nobody but a statement that is just
 * altering the table.
 */
export async function loadPin(session: Session, table: string): Promise<string> {
  const [row] = await session.rows(pinQuery(table), [], { table });
  return pinOf(row);
}

/** So many at a time, so that neither the statement nor its answer is large. */
const PINS_AT_ONCE = 100;

/** As {@link loadPin}, of many: empty for a table that is gone. */
async function loadPins(session: Session, tables: readonly string[]): Promise<string[]> {
  const pins: string[] = [];
  for (let at = 0; at < tables.length; at += PINS_AT_ONCE) {
    const some = tables.slice(at, at + PINS_AT_ONCE);
    try {
      const found = await session.flight(some.map(pinQuery));
      pins.push(...found.map(([row]) => pinOf(row)));
    } catch (error) {
      // One is gone, or cannot be had now.
      if (!isTidemarkError(error)) throw error;
      for (const table of some) pins.push(await loadPinIfThere(session, table));
    }
  }
  return pins;
}

async function loadPinIfThere(session: Session, table: string): Promise<string> {
  try {
    return await loadPin(session, table);
  } catch (error) {
    if (isTidemarkError(error, "TM-TABLE-MISSING")) return "";
    throw error;
  }
}

export function pinQuery(table: string): string {
  return `SHOW CREATE TABLE ${quoteName(table)}`;
}

export function pinOf(row: Cells | undefined): string {
  return (row?.[1] ?? "").replace(/ AUTO_INCREMENT=\d+/, "");
}

/**
 * A check looks at all tables, and knows only those whose text was taken before: so each time more of them are
 * taken along that nobody has asked about, and a copy of thousands of tables is not as many checks.
 */
const FIRST_AHEAD = 10;
const MORE_AHEAD = 10;

/** Tells at each cut, for the price of a look at the few tables in it, whether they were altered. */
export class Pins {
  readonly #session: Session;
  readonly #known = new Map<string, string>();
  #tables: readonly string[] = [];
  #asked: ReadonlySet<string> = new Set();
  #ahead = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  /** The tables that a check looks at. All are unknown again, and so altered. */
  watch(tables: readonly string[]): void {
    this.#tables = tables;
    this.#known.clear();
    this.#ahead = 0;
  }

  /**
   * Is one of these not as it was? To be asked after the log was read: what was logged is then logged
   * before any ALTER that this does not see.
   */
  async differ(tables: ReadonlySet<string>): Promise<boolean> {
    this.#asked = tables;
    const asked = [...tables];
    // What is not known yet is not as it was, whatever it is.
    if (asked.some((table) => !this.#known.has(table))) return true;
    const pins = await loadPins(this.#session, asked);
    return asked.some((table, at) => pins[at] !== this.#known.get(table));
  }

  /** Knows those asked about last as they are, and more that are unknown, if `check` finds that they fit. */
  async renew(check: () => Promise<void>): Promise<void> {
    const unknown = this.#tables.filter((table) => !this.#known.has(table));
    const taken = [...new Set([...this.#asked, ...unknown.slice(0, this.#ahead)])];
    this.#ahead = Math.max(FIRST_AHEAD, this.#ahead * MORE_AHEAD);
    // First: what is altered during the check is found the next time.
    const pins = await loadPins(this.#session, taken);
    await check();
    for (const [at, table] of taken.entries()) this.#known.set(table, pins[at] ?? "");
  }
}
