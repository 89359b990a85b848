// Statements that give the rows of a table other values, and leave its columns' names and types as they were.
import type { Connection } from "./connection.ts";
import type { ColumnIdentity } from "./layouts.ts";
import { partitionTree } from "./partitions.ts";

/** What is noted of a table, and compared. None in notes of before there were any. */
export interface Revaluable {
  /** No transaction before this one was open any more when it was noted. */
  readonly since?: string;
  /**
   * Which transaction last wrote each column, by its number. Noted with the files, and not taken from the pin: that is set
   * anew by whoever reads the log, whether it carries the table or not.
   */
  readonly columns?: Readonly<Record<string, string>> | null;
  /** The file of the table, or those of its partitions, by oid: another one where rows were written anew. */
  readonly files?: Readonly<Record<string, string>> | null;
  /**
   * What values of a user's type print as, by `number of the column.oid`: the labels of an enum, the types of a composite,
   * also deeper within.
   */
  readonly types?: Readonly<Record<string, string>> | null;
}

/** As pairs for json_build_object. `oid` is an SQL expression. */
export function revaluableSql(oid: string): string {
  return `'since', pg_snapshot_xmin(pg_current_snapshot())::text,
    'columns', (SELECT json_object_agg(a.attnum, a.xmin::text) FROM pg_attribute a
      WHERE a.attrelid = ${oid} AND a.attnum > 0 AND NOT a.attisdropped),
    'files', (SELECT json_object_agg(c.oid, c.relfilenode::text) FROM pg_class c
      WHERE c.relkind = 'r' AND c.oid = ANY (${oid} || ARRAY(SELECT relid FROM ${partitionTree(oid)} AS part))),
    'types', (WITH RECURSIVE used (attnum, type) AS (
        SELECT a.attnum, a.atttypid FROM pg_attribute a
        WHERE a.attrelid = ${oid} AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= ${FIRST_OF_USERS}
        UNION
        SELECT used.attnum, part.type FROM used JOIN pg_type t ON t.oid = used.type CROSS JOIN LATERAL (
          VALUES (t.typelem), (t.typbasetype)
          -- Before 14 there is no such column.
          UNION ALL SELECT r.rngsubtype FROM pg_range r
          WHERE t.oid = r.rngtypid OR t.oid::text = to_jsonb(r) ->> 'rngmultitypid'
          UNION ALL SELECT p.atttypid FROM pg_attribute p
          WHERE p.attrelid = t.typrelid AND p.attnum > 0 AND NOT p.attisdropped
        ) AS part (type) WHERE part.type >= ${FIRST_OF_USERS}
      ) SELECT json_object_agg(u.key, u.prints) FROM (
        SELECT used.attnum || '.' || e.oid, format('label %s', e.enumlabel)
        FROM used JOIN pg_enum e ON e.enumtypid = used.type
        UNION ALL
        SELECT used.attnum || '.' || t.oid, format('(%s)', (
          SELECT string_agg(format_type(p.atttypid, p.atttypmod), ', ' ORDER BY p.attnum)
          FROM pg_attribute p WHERE p.attrelid = t.typrelid AND p.attnum > 0 AND NOT p.attisdropped))
        FROM used JOIN pg_type t ON t.oid = used.type WHERE t.typrelid <> 0
      ) AS u(key, prints))`;
}

/** FirstNormalObjectId: the server's own types have lesser oids, and are passed over without a look. */
const FIRST_OF_USERS = 16_384;

export interface RevaluedLook {
  readonly noted: Revaluable | null;
  readonly now: Revaluable;
  /** Those on which the log depends. */
  readonly columns: () => readonly ColumnIdentity[];
  /** In SQL, as FROM takes it. */
  readonly table: string;
  /** Not where the account may read some columns only: which transaction wrote a row is not among them. */
  readonly isReadable: boolean;
}

/**
 * For people; null when nothing was. `ALTER COLUMN … TYPE` writes the column's row in the catalog, and the table into
 * another file, even where the type is the same (`USING lower(a)`). VACUUM FULL, CLUSTER and TRUNCATE do the latter
 * alone, GRANT and SET NOT NULL the former; and the first VACUUM FULL after ADD COLUMN … DEFAULT both. So the rows tell:
 * ALTER makes all of them its transaction's own, and one that is older than the note was not written anew.
 */
export async function whatRevalued(
  connection: Connection,
  look: RevaluedLook,
): Promise<string | null> {
  const { noted, now, columns } = look;
  const columnOf = (key: string) =>
    columns().find(([number]) => String(number) === key.split(".", 1)[0])?.[1];
  const [altered] = changed(noted?.columns, now.columns, columnOf);
  if (
    altered !== undefined &&
    isMoved(noted?.files, now.files) &&
    (!look.isReadable || (await isAllYounger(connection, look)))
  ) {
    return `its rows were written anew when column ${columnOf(altered)} was altered (ALTER TABLE … USING), and may have other values`;
  }
  const [key, was, is] = changed(noted?.types, now.types, columnOf);
  return key === undefined
    ? null
    : `column ${columnOf(key)} reads otherwise in rows that stand, too: ${was} is now ${is}`;
}

/**
 * Are there rows, and none among the first from before the note? Bounded: the relay waits meanwhile, and a table that was
 * written anew has none.
 */
async function isAllYounger(
  connection: Connection,
  { noted, table }: RevaluedLook,
): Promise<boolean> {
  const since = noted?.since ?? "0";
  const [row] = await connection.rows(
    `SELECT count(*) > 0 AND (
       pg_snapshot_xmin(pg_current_snapshot())::text::numeric - $1::numeric > ${TOLD_APART}
       OR NOT bool_or(age(r.xmin) > age(($1::numeric % 4294967296)::text::xid)
         -- Frozen, and of a lap of the numbers before: it looks as if it were to come.
         OR age(r.xmin) < 0))
     FROM (SELECT xmin FROM ${table} LIMIT ${LOOKED_AT}) r`,
    [since],
  );
  return row?.[0] === "t";
}

/** A row knows but half of the number of its transaction. */
const TOLD_APART = 2 ** 30;

const LOOKED_AT = 10_000;

/** Is there nothing to note? */
export function isSameValued(noted: Revaluable | null, now: Revaluable): boolean {
  return (
    noted !== null && isRecent(noted, now) && ALL.every((each) => isSame(noted[each], now[each]))
  );
}

const ALL = ["columns", "files", "types"] as const;

/** Else all rows of a table that soon drops them (a queue) would be younger than the note. */
function isRecent(noted: Revaluable, now: Revaluable): boolean {
  return BigInt(now.since ?? 0) - BigInt(noted.since ?? 0) < RENEWED_AFTER;
}

/** Transactions. A server that does nothing has no note renewed, a busy one each every minute or two. */
const RENEWED_AFTER = 100_000n;

type Facts = Readonly<Record<string, string>> | null | undefined;

function isSame(before: Facts, now: Facts): boolean {
  const keys = Object.keys(now ?? {});
  return (
    keys.length === Object.keys(before ?? {}).length &&
    keys.every((key) => before?.[key] === now?.[key])
  );
}

/** Those that were known, and are there still. */
function known(
  before: Facts,
  now: Facts,
): readonly (readonly [key: string, was: string, is: string])[] {
  return Object.entries(now ?? {}).flatMap(([key, is]) => {
    const was = before?.[key];
    return was === undefined ? [] : [[key, was, is] as const];
  });
}

/** The first of the columns that are captured. */
function changed(before: Facts, now: Facts, columnOf: (key: string) => string | undefined) {
  const other = known(before, now).find(
    ([key, was, is]) => was !== is && columnOf(key) !== undefined,
  );
  return other ?? [];
}

/** ALTER does not pass over a partition; TRUNCATE and VACUUM FULL of one do not touch the others. */
function isMoved(before: Facts, now: Facts): boolean {
  const files = known(before, now);
  return files.length > 0 && files.every(([, was, is]) => was !== is);
}
