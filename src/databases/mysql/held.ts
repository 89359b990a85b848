import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import type { Cells, Session } from "./connection.ts";
import { errorNumber } from "./errors.ts";
import { LOCK_TIMEOUT } from "./locks.ts";

/** So long whoever looks at tables at a start waits for one that is being altered; a person may be waiting as well. */
export const LOOK_SECONDS = 5;

/**
 * `work`: looks at tables, and waits for no row. Where an ALTER waits for a transaction that has a table, every look at it waits behind that
 * one; and MySQL looks at the tables of all databases to tell the engine's numbers of any. Throws TM-TABLE-HELD.
 */
export async function tellWhoHolds<T>(session: Session, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (errorNumber(error) !== LOCK_TIMEOUT || isTidemarkError(error, "TM-TABLE-HELD")) throw error;
    const { table: name } = isTidemarkError(error) ? error.details : {};
    const asked = typeof name === "string" ? name : null;
    const held = (await byLocks(session, asked)) ?? (await byProcesses(session, asked));
    const { table = asked === null ? undefined : `${session.database}.${asked}` } = held;
    throw tableHeld({ ...held, table });
  }
}

interface Held {
  /** Of any database; undefined where it may not be known. */
  readonly table?: string | undefined;
  /** The session that waits to alter it. */
  readonly waits?: string | undefined;
  /** Those that have it. */
  readonly holders: readonly string[];
  /** Is it only likely that they do? */
  readonly guessed: boolean;
}

function tableHeld({ table, waits, holders, guessed }: Held): TidemarkError {
  const [first] = holders;
  const more = holders.length > 1 ? ` (and ${holders.length - 1} more)` : "";
  const alters = waits === undefined ? [] : [`session ${waits} waits to alter it`];
  const holds = first === undefined ? [] : [`session ${first}${more} ${heldHow(waits, guessed)}`];
  const who = [...alters, ...holds].join("; ");
  const ways = [
    ...(first === undefined || guessed
      ? ["find the session that holds it (SHOW PROCESSLIST) and end its transaction"]
      : [`end the transaction of session ${first} (in its application, or KILL ${first})`]),
    ...(waits === undefined ? [] : [`give up the alteration (KILL QUERY ${waits})`]),
  ];
  return new TidemarkError(
    "TM-TABLE-HELD",
    `${table === undefined ? "A table of the server" : `Table ${table}`} is locked, or waits to be altered, and cannot be looked at until that is over${who === "" ? "" : `: ${who}`}.`,
    {
      fix: `wait, then start again; or ${ways.join(", or ")}`,
      details: {
        errno: LOCK_TIMEOUT,
        ...(table !== undefined && { table }),
        ...(waits !== undefined && { waits }),
        holders,
      },
    },
  );
}

function heldHow(waits: string | undefined, guessed: boolean): string {
  if (guessed) return "may hold it: its transaction is open for longest";
  return waits === undefined ? "has it locked" : "holds it in a transaction that is still open";
}

const SHUTS_OUT = "('EXCLUSIVE', 'SHARED_NO_READ_WRITE')";

/**
 * Null where the server does not tell, or not us. `asked`: the table that was looked at, if it is known: others may be held as
 * well.
 */
async function byLocks(session: Session, asked: string | null): Promise<Held | null> {
  const rows = await readable(
    session,
    `SELECT h.OBJECT_SCHEMA, h.OBJECT_NAME, ht.PROCESSLIST_ID, wt.PROCESSLIST_ID
     FROM performance_schema.metadata_locks AS h
     JOIN performance_schema.threads AS ht ON ht.THREAD_ID = h.OWNER_THREAD_ID
     LEFT JOIN performance_schema.metadata_locks AS w
       ON w.OBJECT_TYPE = h.OBJECT_TYPE AND w.OBJECT_SCHEMA = h.OBJECT_SCHEMA AND w.OBJECT_NAME = h.OBJECT_NAME
       AND w.LOCK_STATUS = 'PENDING' AND w.LOCK_TYPE IN ${SHUTS_OUT} AND w.OWNER_THREAD_ID <> h.OWNER_THREAD_ID
     LEFT JOIN performance_schema.threads AS wt ON wt.THREAD_ID = w.OWNER_THREAD_ID
     WHERE h.OBJECT_TYPE = 'TABLE' AND h.LOCK_STATUS = 'GRANTED' AND ht.PROCESSLIST_ID <> CONNECTION_ID()
       AND (h.LOCK_TYPE IN ${SHUTS_OUT} OR w.OWNER_THREAD_ID IS NOT NULL)
     ORDER BY h.OBJECT_SCHEMA <> DATABASE(), h.OBJECT_NAME <=> ? DESC, ht.PROCESSLIST_TIME DESC LIMIT 100`,
    [asked],
  );
  const [first] = rows;
  if (first === undefined) return null;
  const [schema, name] = first;
  const same = rows.filter((row) => row[0] === schema && row[1] === name);
  const holders = [...new Set(same.map((row) => row[2] ?? ""))];
  const table = `${schema}.${name}`;
  return { table, waits: first[3] ?? undefined, holders, guessed: false };
}

/** Of a statement no more is told than the table: it may hold values. */
const ALTERS = "^[[:space:]]*(ALTER|CREATE|DROP|LOCK|OPTIMIZE|RENAME|REPAIR|TRUNCATE)[[:space:]]";
const ALTERED =
  /^\s*(?:ALTER|DROP|OPTIMIZE|RENAME|REPAIR|TRUNCATE)\s+TABLE\s+((?:`[^`]+`|[\w$.])+)/i;

async function byProcesses(session: Session, asked: string | null): Promise<Held> {
  const found = await readable(
    session,
    `SELECT ID, INFO, DB FROM information_schema.PROCESSLIST
     WHERE STATE = 'Waiting for table metadata lock' AND INFO REGEXP '${ALTERS}' AND ID <> CONNECTION_ID()
     ORDER BY DB <=> DATABASE() DESC, TIME DESC LIMIT 100`,
  );
  const altering = found.map(([id, text, database]) => {
    const named = ALTERED.exec(text ?? "")?.[1]?.replaceAll("`", "");
    const table = named === undefined || named.includes(".") ? named : `${database}.${named}`;
    return { waits: id, table };
  });
  const ofAsked = altering.find(({ table }) => table === `${session.database}.${asked}`);
  const { waits, table } = ofAsked ?? altering[0] ?? {};
  const open = await readable(
    session,
    `SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX
     WHERE trx_mysql_thread_id NOT IN (0, CONNECTION_ID(), ${waits ?? "0"}) ORDER BY trx_started LIMIT 1`,
  );
  const holders = open.flatMap(([id]) => id ?? []);
  return { table, waits: waits ?? undefined, holders, guessed: true };
}

/** Empty where the account may not read it, or the server has no such table. */
async function readable(
  session: Session,
  sql: string,
  values: readonly (string | null)[] = [],
): Promise<readonly Cells[]> {
  try {
    return await session.rows(sql, values);
  } catch (error) {
    if (isTidemarkError(error, "TM-CONNECTION-LOST")) throw error;
    return [];
  }
}
