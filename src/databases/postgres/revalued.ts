// Statements that give the rows of a table other values, and leave its columns' names and types as they were.
import type { Connection } from "./connection.ts";
import type { ColumnIdentity } from "./layouts.ts";
import { partitionTree } from "./partitions.ts";
import { columnsOfPin } from "./pins.ts";

/** What is noted of a table, and compared. None in notes of before there were any. */
export interface Revaluable {
  /** No transaction before this one was open any more when it was noted. */
  readonly since?: string;
  /** The file of the table, or those of its partitions, by oid: another one where rows were written anew. */
  readonly files?: Readonly<Record<string, string>> | null;
  /** What values of a user's type print as, by `number of the column.oid`: the labels of an enum, the types of a composite. */
  readonly types?: Readonly<Record<string, string>> | null;
}

/** As pairs for json_build_object. `oid` is an SQL expression. */
export function revaluableSql(oid: string): string {
  return `'since', pg_snapshot_xmin(pg_current_snapshot())::text,
    'files', (SELECT json_object_agg(c.oid, c.relfilenode::text) FROM pg_class c
      WHERE c.relkind = 'r' AND c.oid = ANY (${oid} || ARRAY(SELECT relid FROM ${partitionTree(oid)} AS part))),
    'types', (SELECT json_object_agg(u.key, u.prints) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
      CROSS JOIN LATERAL (
        SELECT a.attnum || '.' || e.oid, format('label %s of type %s', e.enumlabel, e.enumtypid::regtype)
        FROM pg_enum e WHERE e.enumtypid IN (t.oid, t.typelem, t.typbasetype)
        UNION ALL
        SELECT a.attnum || '.' || c.oid, format('%s (%s)', c.oid::regtype, (
          SELECT string_agg(format_type(p.atttypid, p.atttypmod), ', ' ORDER BY p.attnum)
          FROM pg_attribute p WHERE p.attrelid = c.typrelid AND p.attnum > 0 AND NOT p.attisdropped))
        FROM pg_type c WHERE c.oid IN (t.oid, t.typelem, t.typbasetype) AND c.typrelid <> 0
      ) AS u(key, prints)
      WHERE a.attrelid = ${oid} AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= ${FIRST_OF_USERS})`;
}

/** FirstNormalObjectId: the server's own types have lesser oids, and are passed over without a look. */
const FIRST_OF_USERS = 16_384;

export interface RevaluedLook {
  readonly noted: Revaluable | null;
  readonly now: Revaluable;
  /** Those that are captured. */
  readonly columns: readonly ColumnIdentity[];
  readonly pins: readonly [before: string | null, now: string];
  /** In SQL, as FROM takes it. */
  readonly table: string;
}

/**
 * For people; null when nothing was. `ALTER COLUMN … TYPE` writes the column's row in the catalog, and the table into
 * another file, even where the type is the same (`USING lower(a)`). VACUUM FULL, CLUSTER and TRUNCATE do the latter
 * alone, GRANT and SET NOT NULL the former. Where both are seen at once, the rows tell: ALTER makes all of them its
 * transaction's own, so one that is older than the note was not written anew.
 */
export async function whatRevalued(
  connection: Connection,
  look: RevaluedLook,
): Promise<string | null> {
  const { noted, now, columns, pins } = look;
  const [before, after] = pins.map((pin) => (pin === null ? null : columnsOfPin(pin)));
  const isMoved = changed(noted?.files, now.files) !== undefined;
  const column = columns.find(([number]) => before && before[number - 1] !== after?.[number - 1]);
  if (isMoved && column !== undefined && (await isAllYounger(connection, look))) {
    return `its rows were written anew when column ${column[1]} was altered (ALTER TABLE … USING), and may have other values`;
  }
  const numbers = new Set(columns.map(([number]) => String(number)));
  const type = changed(noted?.types, now.types, (key) => numbers.has(key.split(".", 1)[0] ?? ""));
  return type === undefined ? null : `${type[0]} is now ${type[1]}, in rows that stand, too`;
}

/**
 * Are there rows, and none among the first from before the note? ALTER of a partitioned table writes all its partitions
 * anew, so a row of any will do. Bounded: the relay waits meanwhile, and a table that was written anew has none.
 */
async function isAllYounger(
  connection: Connection,
  { noted, table }: RevaluedLook,
): Promise<boolean> {
  const since = noted?.since ?? "0";
  const [row] = await connection.rows(
    `SELECT count(*) > 0 AND (
       pg_snapshot_xmin(pg_current_snapshot())::text::numeric - $1::numeric > ${TOLD_APART}
       OR NOT bool_or(age(r.xmin) > age(($1::numeric % 4294967296)::text::xid)))
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
  return noted !== null && ALL.every((each) => isSame(noted[each] ?? {}, now[each] ?? {}));
}

const ALL = ["files", "types"] as const;

type Facts = Readonly<Record<string, string>>;

function isSame(before: Facts, now: Facts): boolean {
  const keys = Object.keys(now);
  return (
    keys.length === Object.keys(before).length && keys.every((key) => before[key] === now[key])
  );
}

/** The first that was known, and is another one. */
function changed(
  before: Facts | null | undefined,
  now: Facts | null | undefined,
  counts: (key: string) => boolean = () => true,
): readonly [before: string, now: string] | undefined {
  for (const [key, is] of Object.entries(now ?? {})) {
    const was = before?.[key];
    if (was !== undefined && was !== is && counts(key)) return [was, is];
  }
  return undefined;
}
