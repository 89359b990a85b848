import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { resyncCommand } from "../../core/shell.ts";
import { formatTable } from "../../core/table.ts";
import type { Session } from "./connection.ts";
import { likeness, likenessOfFile } from "./file-names.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { LAYOUTS, LOG } from "./ours.ts";

/** The numbers of tables, by the name of each. */
export interface TableIds {
  /** The number, or those of all partitions. */
  get(table: string): string | undefined;
}

/**
 * TRUNCATE fires no trigger, but it makes the table anew for the engine, which numbers it anew. So do
 * a rebuild (OPTIMIZE, some kinds of ALTER) and everything that swaps a table or a partition.
 *
 * Null without the right to read them. Tables that the engine's names do not tell apart share theirs:
 * a TRUNCATE of one is then taken for one of all, which stops too much rather than too little.
 */
export async function loadTableIds(session: Session): Promise<TableIds | null> {
  const { database, flavour } = session;
  try {
    const rows = await session.rows(
      `SELECT NAME, TABLE_ID FROM information_schema.${flavour.tableIds}
       WHERE NAME LIKE ? ORDER BY TABLE_ID`,
      [`${database.replace(/[^a-z0-9]+/giu, "%")}/%`],
    );
    const ids = new Map<string, string>();
    for (const [file, id] of rows) {
      const [folder = "", name = ""] = (file ?? "").split("/");
      if (likenessOfFile(folder) !== likeness(database)) continue;
      // What follows the sign is a partition.
      const table = likenessOfFile(name.split("#")[0] ?? "");
      const known = ids.get(table);
      ids.set(table, known === undefined ? (id ?? "") : `${known},${id}`);
    }
    return { get: (table) => ids.get(likeness(table)) };
  } catch (error) {
    if (isTidemarkError(error, "TM-GRANT-MISSING")) return null;
    throw error;
  }
}

/** What is told where the numbers may not be read, and what grants the right. */
export function unseenTruncation({ account }: Session): { message: string; fix: string } {
  return {
    message:
      "TRUNCATE fires no trigger and would not be noticed: the user may not read the engine's table numbers, which takes the right PROCESS.",
    fix: `GRANT PROCESS ON *.* TO ${account} -- as an administrator; or take the DROP right from the application's user, and let it use DELETE`,
  };
}

/** What has happened to the log since the last look. */
export interface LogSince {
  /** The highest id that a batch held then. */
  readonly highest: number;
  /** Have rows logged after it been purged? */
  readonly purged: boolean;
}

/** Finds out that a captured table has been truncated. */
export class TruncationWatch {
  readonly #session: Session;
  #layouts: readonly StoredLayout[] = [];
  readonly #known = new Map<number, string>();

  constructor(session: Session) {
    this.#session = session;
  }

  watch(layouts: readonly StoredLayout[]): void {
    this.#layouts = layouts;
    this.#known.clear();
    for (const { id, tableId } of layouts) if (tableId !== null) this.#known.set(id, tableId);
  }

  /** Throws TM-TRUNCATE-UNSEEN. */
  async check(since: LogSince): Promise<void> {
    if (this.#known.size === 0) return;
    const ids = await loadTableIds(this.#session);
    for (const layout of this.#layouts) {
      const now = ids?.get(layout.table.name);
      const known = this.#known.get(layout.id);
      if (now === undefined || known === undefined || now === known) continue;
      const whole = !`${now}${known}`.includes(",");
      if (!hasGrown(known, now) && !(whole && (await this.#isRebuilt(layout, since))))
        throw truncated(layout);
      await storeTableId(this.#session, layout.id, now);
      this.#known.set(layout.id, now);
    }
  }

  /** Rows that nobody has inserted since the last look were there before: then none have gone. */
  async #isRebuilt({ id, table }: StoredLayout, { highest, purged }: LogSince): Promise<boolean> {
    if (purged) return false;
    const inserts = await this.#session.rows(
      `SELECT 1 FROM ${LOG} WHERE id > ? AND layout = ? AND (op = 'I' OR (op = 'U' AND key_before IS NOT NULL)) LIMIT 1`,
      [highest, id],
    );
    if (inserts.length > 0) return false;
    return (await this.#session.rows(`SELECT 1 FROM ${quoteName(table.name)} LIMIT 1`)).length > 0;
  }
}

/** Are all partitions still there, with others added? Those began empty, and their rows are logged. */
export function hasGrown(known: string, now: string): boolean {
  const after = new Set(now.split(","));
  const before = known.split(",");
  return before.length < after.size && before.every((id) => after.has(id));
}

export async function storeTableId(session: Session, layout: number, id: string): Promise<void> {
  await session.run(`UPDATE ${LAYOUTS} SET table_id = ? WHERE id = ?`, [id, layout]);
}

export function truncated(layout: StoredLayout): TidemarkError {
  const table = formatTable(layout.table);
  const accept = `UPDATE ${LAYOUTS} SET table_id = NULL WHERE table_name = ${quoteText(table)}`;
  return new TidemarkError(
    "TM-TRUNCATE-UNSEEN",
    `Table ${table} was made anew by the server: a TRUNCATE, a rebuild, or a dump that was loaded. No trigger sees that, so rows may have gone that the targets still have.`,
    {
      fix: `After a TRUNCATE, or a dump of this table: ${resyncCommand(table)}, then tidemark run. If it was only rebuilt (OPTIMIZE, ALTER): ${accept}, then run again. After a dump of the database was loaded: see TM-SOURCE-REWOUND.`,
      details: { table },
    },
  );
}
