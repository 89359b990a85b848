import { madeByAnother } from "../../core/log-version.ts";
import { logLost } from "../../core/rewound.ts";
import type { Connection } from "./connection.ts";
import { quoteName } from "./identifiers.ts";

/** Everything of ours in a file begins so; nothing of the user's may. */
export const PREFIX = "tidemark_";
export const LOG = "tidemark_change_log";
export const PARKED = "tidemark_parked";

/** So the triggers begin that mark the tables of a target; see marks.ts. */
export const MARK = `${PREFIX}mark_`;

export function isMark(trigger: string): boolean {
  return trigger.startsWith(MARK);
}

/** Is the name one that only what is ours may have? */
export function isOurs(name: string): boolean {
  return name.toLowerCase().startsWith(PREFIX);
}

/** Is it a table that we have made? */
export function isOurTable(name: string): boolean {
  const folded = name.toLowerCase();
  return (
    Object.hasOwn({ ...SOURCE_TABLES, ...TARGET_TABLES }, folded) || ONCE_OURS.includes(folded)
  );
}

/**
 * The tables of a source.
 *
 * - `tidemark_source`: one row.
 * - `tidemark_layouts`: what was captured, ever; `current` marks the layout triggers log with now,
 *   `only_columns` that its update trigger fires for the captured columns only.
 * - `tidemark_change_log`: the changes. AUTOINCREMENT, because an id may never come again after a
 *   purge; ids have no holes, which is how a log cut by hand is found out. The value columns
 *   k1… and c1… are added as tables need them and have no type, so that every value keeps its
 *   storage class. `op`: i, u, d; k = the old key of a key change; x = a row that a REPLACE may be
 *   about to displace (see displaced.ts); - = nothing.
 *
 * What is cut of it, and for whom it is kept: see records.ts.
 */
export const SOURCE_TABLES: Readonly<Record<string, string>> = {
  tidemark_source: `CREATE TABLE tidemark_source (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  timeline TEXT NOT NULL,
  path TEXT NOT NULL,
  inode TEXT NOT NULL
)`,
  tidemark_layouts: `CREATE TABLE tidemark_layouts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  table_name TEXT NOT NULL,
  definition TEXT NOT NULL,
  only_columns INTEGER NOT NULL,
  current INTEGER NOT NULL
)`,
  [LOG]: `CREATE TABLE ${LOG} (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  layout INTEGER NOT NULL,
  op TEXT NOT NULL,
  filters TEXT,
  origin TEXT
)`,
  tidemark_displaced: `CREATE INDEX tidemark_displaced ON ${LOG} (id) WHERE op = 'x'`,
};

/** The tables of a target: what each sync has applied (G2). */
export const TARGET_TABLES: Readonly<Record<string, string>> = {
  tidemark_progress: `CREATE TABLE tidemark_progress (
  sync TEXT NOT NULL PRIMARY KEY,
  timeline TEXT NOT NULL,
  batch INTEGER NOT NULL,
  chunk INTEGER NOT NULL,
  hash TEXT NOT NULL
) WITHOUT ROWID`,
  tidemark_progress_tables: `CREATE TABLE tidemark_progress_tables (
  sync TEXT NOT NULL,
  table_name TEXT NOT NULL,
  state TEXT NOT NULL,
  cursor TEXT,
  copy TEXT NOT NULL,
  has_rows INTEGER NOT NULL,
  PRIMARY KEY (sync, table_name)
) WITHOUT ROWID`,
  // Written and read by the columns of core/parked.ts.
  [PARKED]: `CREATE TABLE ${PARKED} (
  sync TEXT NOT NULL,
  id TEXT NOT NULL,
  source_table TEXT NOT NULL,
  row_key TEXT NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  batch INTEGER NOT NULL,
  parked_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  changes INTEGER NOT NULL,
  row_data TEXT NOT NULL,
  PRIMARY KEY (sync, id)
)`,
};

/** The log's other columns come and go with the tables (see SOURCE_TABLES). Throws TM-LOG-VERSION. */
function assertFit(connection: Connection, objects: Readonly<Record<string, string>>): void {
  for (const [table, sql] of Object.entries(objects)) {
    const known = [...sql.matchAll(/^ {2}([a-z_]+) /gm)].map(([, name]) => name);
    const columns = connection
      .rows<{ name: string }>(`SELECT name FROM pragma_table_info('${table}')`)
      .map(({ name }) => name)
      .filter((name) => table !== LOG || known.includes(name));
    if (columns.length === 0 || known.length === 0 || columns.join() === known.join()) continue;
    const told = { columns: columns.join(", "), known: known.join(", ") };
    throw madeByAnother(connection.name, { table, ...told });
  }
}

/** The statements that make what is missing of these, in order. Throws TM-LOG-VERSION. */
export function missingObjects(
  connection: Connection,
  objects: Readonly<Record<string, string>>,
): string[] {
  assertFit(connection, objects);
  const there = new Set(
    connection
      .rows<{ name: string }>("SELECT name FROM sqlite_schema WHERE name LIKE 'tidemark%'")
      .map((row) => row.name),
  );
  return Object.entries(objects)
    .filter(([name]) => !there.has(name))
    .map(([, sql]) => sql);
}

/** Without one of these it is not known what was logged and sent. */
const NEVER_LOST = ["tidemark_layouts", LOG];

/** As `missingObjects`, of a source. Also throws TM-SOURCE-REWOUND where a log that was begun is not whole any more. */
export function missingOfSource(connection: Connection): string[] {
  const missing = missingObjects(connection, SOURCE_TABLES);
  const lost = NEVER_LOST.filter((name) => missing.includes(SOURCE_TABLES[name] ?? ""));
  const isBegun = !missing.includes(SOURCE_TABLES.tidemark_source ?? "");
  if (isBegun && lost.length > 0) throw logLost(connection.name, lost);
  return missing;
}

/** The log's own widths: how many key and value columns it has. */
export function logWidth(connection: Connection): {
  readonly keys: number;
  readonly values: number;
} {
  const names = connection
    .rows<{ name: string }>("SELECT name FROM pragma_table_info(?)", LOG)
    .map((row) => row.name);
  const count = (letter: string) =>
    names.filter((name) => name.startsWith(letter) && /^\d+$/.test(name.slice(1))).length;
  return { keys: count("k"), values: count("c") };
}

/** Versions before had them in the source's own file. */
const ONCE_OURS = ["tidemark_batches", "tidemark_subscribers"];

/** The statements that remove all of ours; triggers first, so that no write meets a missing log. */
export function uninstallStatements(connection: Connection): string[] {
  const ours = [...Object.keys(SOURCE_TABLES), ...Object.keys(TARGET_TABLES), ...ONCE_OURS];
  return connection
    .rows<{ type: string; name: string }>(
      "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'table') ORDER BY type DESC, rowid",
    )
    .filter(({ type, name }) => (type === "trigger" ? isOurs(name) : ours.includes(name)))
    .map(({ type, name }) => `DROP ${type.toUpperCase()} ${quoteName(name)}`);
}
