import { madeByAnother } from "../../core/log-version.ts";
import { logLost } from "../../core/rewound.ts";
import type { Cells, Session } from "./connection.ts";
import { quoteName, quoteText } from "./identifiers.ts";

/** Everything of ours begins with this. */
export const PREFIX = "tidemark_";

export const LOG = `${PREFIX}change_log`;
export const LAYOUTS = `${PREFIX}layouts`;
export const BATCHES = `${PREFIX}batches`;
export const DELETIONS = `${PREFIX}deletions`;
export const SUBSCRIBERS = `${PREFIX}subscribers`;
export const SOURCE = `${PREFIX}source`;
export const PROGRESS = `${PREFIX}progress`;
export const PROGRESS_TABLES = `${PREFIX}progress_tables`;
export const PARKED = `${PREFIX}parked`;

const SOURCE_PART = [SOURCE, LAYOUTS, BATCHES, SUBSCRIBERS, DELETIONS, LOG];
const TARGET_PART = [PROGRESS, PROGRESS_TABLES, PARKED];
export const ourTables: readonly string[] = [...SOURCE_PART, ...TARGET_PART];

export type Part = "source" | "target";

const COLUMNS: Readonly<Record<string, string>> = {
  // One row: which history of which server this is. Written when all else stands.
  [SOURCE]: `
  id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  timeline CHAR(36) NOT NULL,
  identity VARCHAR(700) NOT NULL`,

  // The shapes in which rows were logged, never removed: the log may still hold rows of each.
  [LAYOUTS]: `
  id INT UNSIGNED NOT NULL PRIMARY KEY,
  table_name VARCHAR(255) NOT NULL,
  definition LONGTEXT NOT NULL,
  signature CHAR(64) NOT NULL,
  triggers CHAR(64) NULL,
  table_id LONGTEXT NULL,
  read_up_to BIGINT UNSIGNED NULL,
  active TINYINT(1) NOT NULL,
  KEY by_table (table_name)`,

  // definition: the exact ids of the batch's log rows, and its times. high_id: the highest id that
  // any batch up to this one holds.
  [BATCHES]: `
  n BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  prev_hash CHAR(64) NOT NULL,
  hash CHAR(64) NOT NULL,
  definition LONGTEXT NOT NULL,
  log_rows BIGINT UNSIGNED NOT NULL,
  high_id BIGINT UNSIGNED NOT NULL,
  cut_at VARCHAR(32) NOT NULL,
  committed_at VARCHAR(32) NOT NULL,
  purged TINYINT(1) NOT NULL DEFAULT 0`,

  [SUBSCRIBERS]: `
  sync VARCHAR(255) NOT NULL PRIMARY KEY,
  confirmed BIGINT UNSIGNED NOT NULL,
  updated_at DATETIME(6) NOT NULL`,

  // Those that no batch holds: by the id of the log row that marks where each began (latecomers-sql.ts).
  [DELETIONS]: `
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY`,

  // row_after is never null: a row whose text the server cannot build must fail, not vanish.
  [LOG]: `
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at DATETIME(6) NOT NULL,
  layout INT UNSIGNED NOT NULL,
  op CHAR(1) NOT NULL,
  key_before LONGTEXT NULL,
  row_after LONGTEXT NOT NULL,
  filters VARCHAR(255) NOT NULL,
  origin VARCHAR(255) NULL`,

  [PROGRESS]: `
  sync VARCHAR(255) NOT NULL PRIMARY KEY,
  timeline VARCHAR(255) NOT NULL,
  batch BIGINT UNSIGNED NOT NULL,
  chunk BIGINT UNSIGNED NOT NULL,
  hash VARCHAR(255) NOT NULL,
  updated_at DATETIME(6) NOT NULL`,

  [PROGRESS_TABLES]: `
  sync VARCHAR(255) NOT NULL,
  table_name VARCHAR(255) NOT NULL,
  state VARCHAR(16) NOT NULL,
  cursor_text LONGTEXT NULL,
  copy VARCHAR(255) NOT NULL,
  has_rows BOOLEAN NOT NULL,
  PRIMARY KEY (sync, table_name)`,

  // Written and read by the columns of core/parked.ts.
  [PARKED]: `
  sync VARCHAR(255) NOT NULL,
  id CHAR(16) NOT NULL,
  source_table VARCHAR(255) NOT NULL,
  row_key LONGTEXT NOT NULL,
  code VARCHAR(64) NOT NULL,
  message LONGTEXT NOT NULL,
  batch BIGINT NOT NULL,
  parked_at VARCHAR(32) NOT NULL,
  changed_at VARCHAR(32) NOT NULL,
  changes BIGINT NOT NULL,
  row_data LONGTEXT NOT NULL,
  PRIMARY KEY (sync, id)`,
};

/** Stays for ever, in no batch: its absence tells that someone has emptied the log (drift.ts). */
const FIRST_LOG_ROW = `INSERT IGNORE INTO ${LOG} (id, at, layout, op, row_after, filters) VALUES (0, UTC_TIMESTAMP(6), 0, '-', '', '')`;

/** Is the name one that only what is ours may have? */
export function isOurs(name: string): boolean {
  return name.toLowerCase().startsWith(PREFIX);
}

/** Is it a table that we have made? */
export function isOurTable(name: string): boolean {
  return [...SOURCE_PART, ...TARGET_PART].includes(name.toLowerCase());
}

/** Without one of these it is not known what was logged and sent. */
const NEVER_LOST = [LAYOUTS, BATCHES, LOG];

/** The columns of such a table, by its definition above: keys are written in capitals. */
function columnsOf(table: string): readonly string[] {
  return [...(COLUMNS[table] ?? "").matchAll(/^ +([a-z_]+) /gm)].map(([, name]) => name ?? "");
}

/** Another version's tables have other columns: they are neither written nor read. Throws TM-LOG-VERSION. */
export async function assertOursFit(session: Session, part: Part): Promise<void> {
  const wanted = part === "source" ? SOURCE_PART : TARGET_PART;
  const rows = await session.rows(
    `SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${wanted.map(quoteText).join(", ")})
     ORDER BY TABLE_NAME, ORDINAL_POSITION`,
  );
  for (const [table, found] of Map.groupBy(rows, ([name]) => name ?? "")) {
    const columns = found.map(([, column]) => column).join(", ");
    const known = columnsOf(table).join(", ");
    if (columns !== known) throw madeByAnother(session.database, { table, columns, known });
  }
}

/** The statements that create what is missing of our tables. Throws TM-SOURCE-REWOUND, TM-LOG-VERSION. */
export async function planOurs(session: Session, part: Part): Promise<readonly string[]> {
  await assertOursFit(session, part);
  const standing = await standingTables(session);
  const wanted = part === "source" ? SOURCE_PART : TARGET_PART;
  const missing = wanted.filter((table) => !standing.has(table));
  // No statement here is undone when the next fails: a set-up that was cut off is taken up where it was.
  const isBegun = standing.has(SOURCE) && (await session.value(`SELECT 1 FROM ${SOURCE}`)) !== null;
  const lost = NEVER_LOST.filter((table) => missing.includes(table));
  if (part === "source" && isBegun && lost.length > 0) throw logLost(session.database, lost);
  const lacksFirst = part === "source" && !isBegun;
  return [
    ...missing.map((table) => create(session, table)),
    ...(lacksFirst ? [FIRST_LOG_ROW] : []),
  ];
}

export async function createOurs(session: Session, part: Part): Promise<void> {
  for (const statement of await planOurs(session, part)) await session.run(statement);
}

function create(session: Session, table: string): string {
  return `CREATE TABLE IF NOT EXISTS ${quoteName(table)} (${COLUMNS[table]}\n) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE ${session.flavour.exactCollation}`;
}

export const STANDING_TABLES = `SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()
  AND TABLE_NAME IN (${ourTables.map(quoteText).join(", ")})`;

/** Those of our tables that exist. */
export async function standingTables(session: Session): Promise<ReadonlySet<string>> {
  return namesOf(await session.rows(STANDING_TABLES));
}

/** The names in an answer of one column. */
export function namesOf(rows: readonly Cells[]): ReadonlySet<string> {
  return new Set(rows.map(([name]) => name ?? ""));
}

/** The operation of a log row that is no change. With a layout: from here on what went before is forgotten (resync). */
export const MARK = "-";
