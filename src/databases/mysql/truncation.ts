import { isTidemarkError, type TidemarkError } from "../../core/errors.ts";
import { Objections, wrongTable } from "../../core/many-tables.ts";
import { resyncCommand } from "../../core/shell.ts";
import { formatTable } from "../../core/table.ts";
import type { Session } from "./connection.ts";
import { likeness, likenessOfFile } from "./file-names.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { isHeld, LOCK_SECONDS } from "./locks.ts";
import { LAYOUTS, LOG } from "./ours.ts";

/** Between the number of a table and that of its file. */
const OF_FILE = "@";

/** The numbers of tables, by the name of each. */
export interface TableIds {
  /** The number and the file, or those of all partitions. `known`: as an earlier version may have stored it, without files. */
  get(table: string, known?: string | null): string | undefined;
  /** Is the number of a table, as `get` has given it, still that of another one or of a partition? */
  has(id: string): boolean;
}

/**
 * TRUNCATE fires no trigger, but it makes the table anew for the engine, which numbers it anew. So do
 * a rebuild (OPTIMIZE, some kinds of ALTER) and everything that swaps a table or a partition.
 *
 * Null without the right to read them. Tables that the engine's names do not tell apart share theirs:
 * a TRUNCATE of one is then taken for one of all, which stops too much rather than too little.
 */
export async function loadTableIds(session: Session, hint = ""): Promise<TableIds | null> {
  const { database, flavour } = session;
  try {
    const rows = await session.rows(
      `SELECT ${hint} NAME, CONCAT(TABLE_ID, '${OF_FILE}', ${flavour.tableFile}) FROM information_schema.${flavour.tableIds}
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
    // One that an ALTER makes (#sql-…) is about to be the table's, and one that it drops is nobody's.
    ids.delete("");
    const numbers = new Set([...ids.values()].flatMap(numbersOf));
    return {
      has: (id) => numbersOf(id).some((number) => numbers.has(number)),
      get: (table, known) => {
        const all = ids.get(likeness(table));
        const isBare = known?.includes(OF_FILE) === false;
        return isBare ? all?.replaceAll(/@\d+/gu, "") : all;
      },
    };
  } catch (error) {
    if (isTidemarkError(error, "TM-GRANT-MISSING")) return null;
    throw error;
  }
}

/** Of `get`, without the files. */
function numbersOf(ids: string): number[] {
  return ids.split(",").map((id) => Number(id.split(OF_FILE)[0]));
}

/** What is told where the numbers may not be read, and what grants the right. */
export function unseenTruncation({ account }: Session): { message: string; fix: string } {
  return {
    message:
      "TRUNCATE fires no trigger and would not be noticed: the user may not read the engine's table numbers, which takes the right PROCESS.",
    fix: `GRANT PROCESS ON *.* TO ${account}; -- as an administrator; or take the DROP right from the application's user, and let it use DELETE`,
  };
}

/** What has happened to the log since the last look. */
export interface LogSince {
  /** The highest id that a batch held then. */
  readonly highest: number;
  /** Have rows logged after it been purged? */
  readonly purged: boolean;
}

/** To MariaDB, which waits for none, a comment. */
const SHORT_WAIT = `/*+ SET_VAR(lock_wait_timeout = ${LOCK_SECONDS}) */`;
const HELD = "held";

/** Finds out that a captured table has been truncated. */
export class TruncationWatch {
  readonly #session: Session;
  #layouts: readonly StoredLayout[] = [];
  readonly #known = new Map<number, string>();
  /** As of the last look. */
  #before: TableIds | null = null;

  constructor(session: Session) {
    this.#session = session;
  }

  watch(layouts: readonly StoredLayout[]): void {
    this.#layouts = layouts;
    this.#known.clear();
    for (const { id, tableId } of layouts) if (tableId !== null) this.#known.set(id, tableId);
  }

  /**
   * False where nobody can tell now: MySQL looks at the tables of all databases, one by one, and waits for each that is being
   * altered, as does that ALTER for whoever has the table in a transaction. Throws TM-TRUNCATE-UNSEEN.
   */
  async check(since: LogSince): Promise<boolean> {
    if (this.#known.size === 0) return true;
    const tableIds = await this.#load();
    if (tableIds === HELD) return false;
    if (tableIds === null) return true;
    const objections = new Objections();
    for (const layout of this.#layouts) {
      const known = this.#known.get(layout.id);
      const now = tableIds.get(layout.table.name, known);
      if (now === undefined || known === undefined || now === known) continue;
      const inserts = since.purged ? null : { after: since.highest, layouts: [layout.id] };
      await objections.tryAsync(async () => {
        const ids = { known, now, before: this.#before, tableIds };
        if (!(await isRebuilt(this.#session, layout, { ids, inserts }))) throw truncated(layout);
        await storeTableId(this.#session, layout.id, now);
        this.#known.set(layout.id, now);
      });
    }
    objections.end();
    this.#before = tableIds;
    return true;
  }

  async #load(): Promise<TableIds | null | typeof HELD> {
    try {
      return await loadTableIds(this.#session, SHORT_WAIT);
    } catch (error) {
      if (isHeld(error)) return HELD;
      throw error;
    }
  }
}

/** Enough for what is inserted while it is counted. */
const ROWS_BEYOND = 1_000;

/**
 * Was a table that has another number merely rebuilt? Of one that was emptied every row was inserted since: where it has
 * more rows than the log has inserts, some stood there before. `inserts`: where those are that came after the number was
 * known; null when some of them have been purged.
 */
export async function isRebuilt(
  session: Session,
  { table: { name } }: Pick<StoredLayout, "table">,
  {
    ids,
    inserts,
  }: {
    readonly ids: AskedIds;
    readonly inserts: { readonly after: number; readonly layouts: readonly number[] } | null;
  },
): Promise<boolean> {
  const { known, now } = ids;
  if (hasGrown(known, now)) return true;
  if (isImported(known, now) || isExchanged(ids)) return false;
  // One partition may have been emptied or exchanged while others kept their rows.
  if (inserts === null || `${now}${known}`.includes(",") || (await isPartitioned(session, name))) {
    return false;
  }
  const logged = `SELECT COUNT(*) FROM ${LOG} WHERE id > ${inserts.after} AND layout IN (${inserts.layouts.join(", ")}) AND op = 'I'`;
  const limit = Number(await session.value(logged)) + ROWS_BEYOND;
  // In one statement, and so one snapshot: a row that is counted has its insert counted as well.
  const [row] = await session.rows(
    `SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM ${quoteName(name)} LIMIT ${limit}) AS few), (${logged})`,
  );
  return Number(row?.[0]) > Number(row?.[1]);
}

interface AskedIds {
  readonly known: string;
  readonly now: string;
  /** Of when the table had the known number, as far as they are known. */
  readonly before: TableIds | null;
  readonly tableIds: TableIds;
}

/**
 * EXCHANGE PARTITION swaps the numbers of a table and of a partition with their rows. A rebuild draws a number that nothing has
 * had, and leaves the one before to nobody; the new one may be lower than others of the last look, since it is drawn at the beginning.
 */
function isExchanged({ known, now, before, tableIds }: AskedIds): boolean {
  const latest = Math.max(...numbersOf(known));
  const isOlder = numbersOf(now).some((number) => number <= latest);
  return tableIds.has(known) || before?.has(now) === true || isOlder;
}

/** A table that is made anew has another file. IMPORT TABLESPACE puts other rows into the one that it has. */
function isImported(known: string, now: string): boolean {
  const [, before] = known.split(OF_FILE);
  const [, after] = now.split(OF_FILE);
  return before === after && Number(after ?? 0) !== 0;
}

async function isPartitioned(session: Session, table: string): Promise<boolean> {
  const rows = await session.rows(
    `SELECT 1 FROM information_schema.PARTITIONS
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND PARTITION_NAME IS NOT NULL LIMIT 1`,
    [table],
  );
  return rows.length > 0;
}

/** Are all partitions still there, with others added? Those began empty, and their rows are logged. */
function hasGrown(known: string, now: string): boolean {
  const after = new Set(now.split(","));
  const before = known.split(",");
  return before.length < after.size && before.every((id) => after.has(id));
}

async function storeTableId(session: Session, layout: number, id: string): Promise<void> {
  await session.run(`UPDATE ${LAYOUTS} SET table_id = ? WHERE id = ?`, [id, layout]);
}

export function truncated(layout: StoredLayout): TidemarkError {
  const table = formatTable(layout.table);
  return wrongTable("TM-TRUNCATE-UNSEEN", table, {
    message: `Table ${table} was made anew by the server: a TRUNCATE, a rebuild, an IMPORT TABLESPACE, or a dump that was loaded. No trigger sees that, so rows may have gone that the targets still have.`,
    mend: mendTruncated,
  });
}

function mendTruncated(tables: readonly string[]): string {
  const names = tables.map(quoteText);
  const [one, these] =
    names.length === 1
      ? [`= ${names[0]}`, "this table"]
      : [`IN (${names.join(", ")})`, "these tables"];
  const accept = `UPDATE ${LAYOUTS} SET table_id = NULL WHERE table_name ${one}`;
  return `After a TRUNCATE, ALTER IGNORE, IMPORT TABLESPACE, or a dump of ${these}: ${resyncCommand(...tables)}, then tidemark run. If only rebuilt (OPTIMIZE, ALTER): ${accept}, then run again. After a dump of the database was loaded: see TM-SOURCE-REWOUND.`;
}
