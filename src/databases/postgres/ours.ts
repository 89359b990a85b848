import type { DatabaseOptions } from "../../core/database.ts";
import type { TidemarkError } from "../../core/errors.ts";
import { madeByAnother } from "../../core/log-version.ts";
import { logLost } from "../../core/rewound.ts";
import type { TableName } from "../../core/table.ts";
import { Connection } from "./connection.ts";
import { OUR_SCHEMA } from "./identifiers.ts";
import { clonedLog } from "./identity.ts";
import { logOfAnother, refuseOwners, refuseSchema } from "./our-schema.ts";
import { formatArrayText } from "./row-text.ts";

/** How many log tables rotate: one is written, one is read empty, one waits to be truncated. */
export const LOG_TABLES = [0, 1, 2] as const;

/**
 * Of a log table, in order. Their names tell the version of the log (see logMisfit): where a row comes to
 * be read in another way, one of them gets another name.
 */
export const LOG_COLUMNS = "id, xid, logged_at, kind, row";

export function logTable(slot: number): string {
  return `${OUR_SCHEMA}.change_log_${slot}`;
}

/** Which log table writers use, as an expression. */
export const LOG_SLOT = `${OUR_SCHEMA}.log_slot()`;

/**
 * Sends writers to a log table. The server puts the constant in place of the call when it plans an
 * expression, and plans anew when the function is replaced: so a trigger asks for it without looking
 * anything up. (STABLE: an IMMUTABLE function's value would stay in the plan for good.)
 */
export function writeToSlot(slot: number): string {
  return `CREATE OR REPLACE FUNCTION ${LOG_SLOT} RETURNS integer LANGUAGE sql STABLE AS 'SELECT ${slot}'`;
}

/**
 * Where the server has LZ4 (14 or later, if it was built so). The application waits while a long row is compressed,
 * and pglz takes several times as long.
 */
function compressWithLz4(table: string): string {
  return `DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
    EXECUTE 'ALTER TABLE ${table} ALTER COLUMN row SET COMPRESSION lz4';
  END IF;
END $$`;
}

/** One object of ours: created when `name` (a relation; with parentheses, a function) is not there. */
interface OurObject {
  readonly name: string;
  readonly ddl: readonly string[];
}

const SOURCE_OBJECTS: readonly OurObject[] = [
  // CACHE 1: a session that holds numbers in stock would log later changes under earlier ids.
  { name: "tidemark.change_seq", ddl: ["CREATE SEQUENCE tidemark.change_seq AS bigint CACHE 1"] },
  // Every column and constraint costs each logged statement; only our triggers write these tables.
  ...LOG_TABLES.map((slot) => ({
    name: logTable(slot),
    ddl: [
      `CREATE TABLE ${logTable(slot)} (
  id bigint DEFAULT nextval('tidemark.change_seq'),
  xid xid8 DEFAULT pg_current_xact_id(),
  logged_at timestamptz DEFAULT clock_timestamp(),
  kind text,
  row text
) WITH (autovacuum_enabled = false)`,
      `CREATE INDEX change_log_${slot}_xid ON ${logTable(slot)} (xid)`,
      compressWithLz4(logTable(slot)),
    ],
  })),
  { name: LOG_SLOT, ddl: [writeToSlot(0), `REVOKE ALL ON FUNCTION ${LOG_SLOT} FROM PUBLIC`] },
  {
    name: "tidemark.layouts",
    ddl: [
      `CREATE TABLE tidemark.layouts (
  id integer PRIMARY KEY,
  table_oid oid NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  columns json NOT NULL,
  key json NOT NULL,
  filters json NOT NULL,
  shape text NOT NULL,
  signature text NOT NULL,
  pin text,
  partitions json,
  read_up_to bigint,
  captured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  retired_at timestamptz
)`,
    ],
  },
  {
    name: "tidemark.batches",
    ddl: [
      `CREATE TABLE tidemark.batches (
  n bigint PRIMARY KEY,
  prev_hash text NOT NULL,
  hash text NOT NULL,
  snapshot pg_snapshot NOT NULL,
  cut_at timestamptz NOT NULL,
  committed_at timestamptz NOT NULL
)`,
    ],
  },
  {
    name: "tidemark.subscribers",
    ddl: [
      `CREATE TABLE tidemark.subscribers (
  sync text PRIMARY KEY,
  confirmed bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
)`,
    ],
  },
  {
    // Last: its one row says that all of the above stands, and holds the snapshot before batch 1.
    name: "tidemark.source",
    ddl: [
      `CREATE TABLE tidemark.source (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  timeline text NOT NULL,
  server text NOT NULL,
  database_oid oid NOT NULL,
  start pg_snapshot NOT NULL,
  purged bigint NOT NULL DEFAULT 0,
  switched_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
)`,
    ],
  },
];

const PARKED = "tidemark.parked";

const TARGET_OBJECTS: readonly OurObject[] = [
  {
    name: "tidemark.progress",
    ddl: [
      `CREATE TABLE tidemark.progress (
  sync text PRIMARY KEY,
  timeline text NOT NULL DEFAULT '',
  batch bigint NOT NULL DEFAULT 0,
  chunk bigint NOT NULL DEFAULT 0,
  hash text NOT NULL DEFAULT '',
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50)`,
    ],
  },
  {
    name: "tidemark.progress_tables",
    ddl: [
      `CREATE TABLE tidemark.progress_tables (
  sync text NOT NULL,
  source_table text NOT NULL,
  state text NOT NULL,
  cursor text,
  copy text NOT NULL,
  has_rows boolean NOT NULL,
  PRIMARY KEY (sync, source_table)
)`,
    ],
  },
  {
    // Written and read by the columns of core/parked.ts.
    name: PARKED,
    ddl: [
      `CREATE TABLE ${PARKED} (
  sync text NOT NULL,
  id text NOT NULL,
  source_table text NOT NULL,
  row_key text NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  batch bigint NOT NULL,
  parked_at text NOT NULL,
  changed_at text NOT NULL,
  changes bigint NOT NULL,
  row_data text NOT NULL,
  PRIMARY KEY (sync, id)
)`,
    ],
  },
];

type End = "source" | "target";
const OBJECTS = { source: SOURCE_OBJECTS, target: TARGET_OBJECTS };

const SCHEMA_DDL = [
  `CREATE SCHEMA ${OUR_SCHEMA}`,
  `COMMENT ON SCHEMA ${OUR_SCHEMA} IS 'Made by Tidemark; "tidemark uninstall" removes it.'`,
];

/** What of a target's plan makes our own objects. */
export const TARGET_DDL: ReadonlySet<string> = new Set([
  ...SCHEMA_DDL,
  ...TARGET_OBJECTS.flatMap(({ ddl }) => ddl),
]);

export function missingSourceObjects(connection: Connection): Promise<readonly string[]> {
  return missing(connection, SOURCE_OBJECTS);
}

/** Throws TM-LOG-VERSION. */
export async function missingTargetObjects(connection: Connection): Promise<readonly string[]> {
  await assertTargetFits(connection);
  return missing(connection, TARGET_OBJECTS);
}

/** As {@link logMisfit}, of what a target keeps. Throws TM-LOG-VERSION. */
export async function assertTargetFits(connection: Connection): Promise<void> {
  const rows = await connection.rows(
    `SELECT current_database(), name, string_agg(attname, ', ' ORDER BY attnum)
     FROM unnest($1::text[]) name
     JOIN pg_attribute ON attrelid = to_regclass(name) AND attnum > 0 AND NOT attisdropped
     GROUP BY name`,
    [formatArrayText(TARGET_OBJECTS.map(({ name }) => name))],
  );
  for (const { name, ddl } of TARGET_OBJECTS) {
    const [database, , columns] = rows.find((row) => row[1] === name) ?? [];
    // Constraints are written in capitals.
    const known = [...ddl.join("").matchAll(/^ {2}([a-z_]+) /gm)]
      .map((found) => found[1])
      .join(", ");
    if (!columns || columns === known) continue;
    throw madeByAnother(database ?? "", { table: name, columns, known });
  }
}

const CREATE_KEY = "hashtextextended('tidemark create', 0)";

/** Processes that start together create tables one after the other: IF NOT EXISTS alone can race. */
export async function creating(connection: Connection, work: () => Promise<void>): Promise<void> {
  await connection.script(`SELECT pg_advisory_lock(${CREATE_KEY})`);
  try {
    await work();
  } finally {
    if (!connection.lost) await connection.script(`SELECT pg_advisory_unlock(${CREATE_KEY})`);
  }
}

/** Another version's log has other columns: it is neither written nor read. Null when there is none. */
async function logMisfit(connection: Connection): Promise<TidemarkError | null> {
  const [row] = await connection.rows(
    `SELECT current_database(), string_agg(attname, ', ' ORDER BY attnum)
     FROM pg_attribute
     WHERE attrelid = to_regclass('${logTable(0)}') AND attnum > 0 AND NOT attisdropped`,
  );
  const [database, columns] = row ?? [];
  if (columns === null || columns === undefined || columns === LOG_COLUMNS) return null;
  return madeByAnother(database ?? "", { table: logTable(0), columns, known: LOG_COLUMNS });
}

/** Without one of these it is not known what was logged and sent. */
const NEVER_LOST = [
  "tidemark.change_seq",
  ...LOG_TABLES.map(logTable),
  "tidemark.layouts",
  "tidemark.batches",
];

/** Null where all stands, or nothing was begun. */
async function lostLog(connection: Connection): Promise<TidemarkError | null> {
  const [[row]] = await Promise.all([
    connection.rows(
      `SELECT current_database(), string_agg(name, ',')
       FROM unnest($1::text[]) name
       WHERE to_regclass(name) IS NULL AND to_regclass('tidemark.source') IS NOT NULL`,
      [formatArrayText(NEVER_LOST)],
    ),
    refuseSchema(connection, OUR_RELATIONS),
  ]);
  const [database, lost] = row ?? [];
  return lost === null || lost === undefined ? null : logLost(database ?? "", lost.split(","));
}

/** As {@link logOfAnother}. */
export function logHeldByAnother(connection: Connection): ReturnType<typeof logOfAnother> {
  return logOfAnother(connection, namesOf(SOURCE_OBJECTS));
}

/** What is wrong with the log as a whole; null when nothing is. */
export async function logFault(connection: Connection): Promise<TidemarkError | null> {
  // Before whatever a copy of the database does to tables and triggers, which would be told as broken capture.
  const asked = [logMisfit(connection), lostLog(connection)];
  const another = logHeldByAnother(connection);
  // Of another version's the second may fail, or call a table foreign.
  await Promise.allSettled([...asked, another]);
  const held = await another;
  if (held?.readable === false) return held.error;
  return (await asked[0]) ?? (await asked[1]) ?? (await clonedLog(connection));
}

/** Throws TM-LOG-VERSION, TM-SOURCE-REWOUND, TM-SOURCE-CLONED. */
export async function assertLogFits(connection: Connection): Promise<void> {
  const fault = await logFault(connection);
  if (fault !== null) throw fault;
}

export async function createSourceObjects(connection: Connection): Promise<void> {
  await create(connection, "source");
}

export async function createTargetObjects(connection: Connection): Promise<void> {
  await create(connection, "target");
}

async function create(connection: Connection, end: End): Promise<void> {
  const objects = OBJECTS[end];
  if ((await missing(connection, objects)).length === 0) return;
  await connection.transaction("BEGIN", async () => {
    await connection.script(`SELECT pg_advisory_xact_lock(${CREATE_KEY})`);
    const statements = await missing(connection, objects);
    // At once: each would be a way to the server of its own.
    if (statements.length > 0) await connection.script(statements.join(";\n"));
    // In a schema that somebody has made meanwhile.
    await assertOwned(connection, end);
  });
}

async function missing(
  connection: Connection,
  objects: readonly OurObject[],
): Promise<readonly string[]> {
  const [rows] = await Promise.all([
    connection.rows(
      `SELECT n.nspname FROM pg_namespace n WHERE n.nspname = '${OUR_SCHEMA}'
       UNION ALL
       SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = '${OUR_SCHEMA}'
       UNION ALL
       SELECT n.nspname || '.' || p.proname || '()' FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
       WHERE n.nspname = '${OUR_SCHEMA}'`,
    ),
    refuseSchema(connection, OUR_RELATIONS),
  ]);
  const there = new Set(rows.map(([name]) => name));
  const statements = there.has(OUR_SCHEMA) ? [] : [...SCHEMA_DDL];
  for (const object of objects) if (!there.has(object.name)) statements.push(...object.ddl);
  return statements;
}

const namesOf = (objects: readonly OurObject[]) => objects.map(({ name }) => name);

/** The tables that an applier writes besides those of a sync. */
export const TARGET_TABLES: readonly TableName[] = namesOf(TARGET_OBJECTS).map((name) => ({
  schema: OUR_SCHEMA,
  name: name.slice(OUR_SCHEMA.length + 1),
}));

/** All that {@link refuseSchema} may take for ours. */
export const OUR_RELATIONS: readonly string[] = namesOf([...SOURCE_OBJECTS, ...TARGET_OBJECTS]);

/** A session of that end, before it reads anything of ours. Throws as {@link assertOwned} and {@link Connection.open}. */
export async function openOwned(options: DatabaseOptions, end: End): Promise<Connection> {
  const connection = await Connection.open(options, end);
  try {
    await assertOwned(connection, end);
    return connection;
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/**
 * As {@link refuseOwners}. A target calls no function of ours, which may be those of another role that reads the database.
 * Who waits for a lease asks once it has it: somebody may have made all that is ours since.
 */
export function assertOwned(connection: Connection, end: End): Promise<void> {
  return refuseOwners(connection, namesOf(OBJECTS[end]), end === "source");
}
