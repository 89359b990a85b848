import { keyNames, type Layout, type LayoutColumn } from "../../core/change.ts";
import type { TableName } from "../../core/table.ts";
import type { Connection } from "./connection.ts";
import { partitionTree } from "./partitions.ts";
import { formatArrayText } from "./row-text.ts";
import type { Shape } from "./shape.ts";

/** A layout as the source keeps it. */
export interface StoredLayout extends Layout {
  readonly oid: string;
  readonly shape: Shape;
  /** Live columns that the logged text depends on, as {@link signature} gives them. */
  readonly signature: string;
  /** Is the row logged as the table has it, whatever columns that are? */
  readonly wholeRow: boolean;
  /** Is a change of any column a change of the signature, also of one that is not logged? */
  readonly allColumns: boolean;
  /**
   * The table was altered under this layout: of what stands in later batches none can tell whether it was
   * logged before or after that. Null while the layout holds.
   */
  readonly readUpTo: number | null;
  /** Taken back: by a later layout, or by someone who knows that nothing was missed. */
  readonly retired: boolean;
  /** Every target copies the table anew, so that what was logged under this layout goes by. */
  readonly forgotten: boolean;
  /** A scan must leave out tables that inherit from this one. */
  readonly only: boolean;
  /** The columns that functions were put in place for which log keys alone; null: they stand as captured. See uncarried.ts. */
  readonly kept: readonly ColumnIdentity[] | null;
  /** Rows have gone that nobody logged, or not by the key: only copying anew into an empty table makes up for them. */
  readonly blind: boolean;
}

/**
 * In place of a layout's partitions, where it is forgotten. Not null: that is what who answers for partitions that came
 * and went sets, and what was truncated unseen is not answered for by it.
 */
export const FORGOTTEN = '"forgotten"';

/** A live column as drift checks see it. */
export type ColumnIdentity = readonly [number: number, name: string, type: string];

/** What must stay as it is for logged rows to fit the layout. */
export function signature(
  live: readonly ColumnIdentity[],
  columns: readonly { readonly name: string }[],
  allColumns: boolean,
): string {
  const names = new Set(columns.map((column) => column.name));
  return JSON.stringify(allColumns ? live : live.filter(([, name]) => names.has(name)));
}

/** Are the columns still those of the layout? */
export function fits(layout: StoredLayout, now: readonly ColumnIdentity[]): boolean {
  return signature(now, layout.columns, layout.allColumns) === layout.signature;
}

/**
 * For people, where another column has the name of one of the key (two that exchanged their names, one dropped and
 * added again): rows have other keys under the same names, and those that stand at the targets would stay. Else null.
 */
export function exchangedKey(layout: StoredLayout, now: readonly ColumnIdentity[]): string | null {
  const numbersOf = (live: readonly ColumnIdentity[]) =>
    new Map(live.map(([number, name]) => [name, number]));
  const [before, after] = [JSON.parse(layout.signature) as ColumnIdentity[], now].map(numbersOf);
  const name = keyNames(layout).find(
    (each) => after?.has(each) && after.get(each) !== before?.get(each),
  );
  return name === undefined ? null : `the column ${name} of its key is another than it was`;
}

/** What the column `signature` holds, as JSON. */
interface StoredFacts {
  readonly wholeRow: boolean;
  readonly only: boolean;
  readonly allColumns: boolean;
  readonly live: string;
  readonly kept?: readonly ColumnIdentity[];
  readonly blind?: boolean;
}

/** All layouts of the timeline by id, old ones included. */
export async function loadLayouts(connection: Connection): Promise<Map<number, StoredLayout>> {
  const rows = await connection.rows(
    `SELECT id, table_oid, schema_name, table_name, columns, key, filters, shape, signature,
       retired_at IS NOT NULL, read_up_to, partitions::text = '${FORGOTTEN}'
     FROM tidemark.layouts ORDER BY id`,
  );
  return new Map(
    rows.map((row) => {
      const [id, oid, schema, name, columns] = row as string[] as [string, ...string[]];
      const [key, filters, shape, text, retired] = row.slice(5) as string[];
      const readUpTo = row[10] ?? null;
      const facts = JSON.parse(text as string) as StoredFacts;
      const { wholeRow, only, allColumns, live, kept = null, blind = false } = facts;
      return [
        Number(id),
        {
          id: Number(id),
          table: { schema: schema as string, name: name as string },
          columns: JSON.parse(columns as string) as LayoutColumn[],
          key: JSON.parse(key as string) as number[],
          filters: JSON.parse(filters as string) as string[],
          oid: oid as string,
          shape: shape as Shape,
          signature: live,
          wholeRow,
          only,
          allColumns,
          readUpTo: readUpTo === null ? null : Number(readUpTo),
          retired: retired === "t",
          forgotten: row[11] === "t",
          kept,
          blind,
        },
      ];
    }),
  );
}

const LAST_BATCH = "(SELECT coalesce(max(n), 0) FROM tidemark.batches)";

/** Both statements leave before it returns. `pin`: of the table before anything was read of it. `altered`: the layout before, where it holds no more. */
export async function insertLayout(
  connection: Connection,
  layout: StoredLayout,
  { pin, altered }: { readonly pin: string; readonly altered: number | null },
): Promise<void> {
  const retired = connection.run(
    `UPDATE tidemark.layouts SET retired_at = coalesce(retired_at, clock_timestamp()),
       read_up_to = coalesce(read_up_to, CASE WHEN id = $2 THEN ${LAST_BATCH} END)
     WHERE table_oid = $1 AND retired_at IS NULL OR id = $2`,
    [layout.oid, altered === null ? null : String(altered)],
  );
  const inserted = connection.run(
    `INSERT INTO tidemark.layouts
       (id, table_oid, schema_name, table_name, columns, key, filters, shape, signature, pin,
        partitions)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
       (SELECT CASE WHEN l.partitions::text <> '${FORGOTTEN}' THEN l.partitions END
        FROM tidemark.layouts l WHERE l.table_oid = $2 ORDER BY l.id DESC LIMIT 1))`,
    [
      String(layout.id),
      layout.oid,
      layout.table.schema,
      layout.table.name,
      JSON.stringify(layout.columns),
      JSON.stringify(layout.key),
      JSON.stringify(layout.filters),
      layout.shape,
      JSON.stringify({
        wholeRow: layout.wholeRow,
        only: layout.only,
        allColumns: layout.allColumns,
        live: layout.signature,
      } satisfies StoredFacts),
      pin,
    ],
  );
  await Promise.all([retired, inserted]);
}

/** What comes after the newest batch is unread. Gives up to where these layouts are read now; not while a batch is cut. */
export async function endReading(
  connection: Connection,
  ids: readonly number[],
): Promise<ReadonlyMap<number, number>> {
  const rows = await connection.rows(
    `UPDATE tidemark.layouts SET read_up_to = coalesce(read_up_to, ${LAST_BATCH})
     WHERE id = ANY ($1::int[]) RETURNING id, read_up_to`,
    [formatArrayText(ids.map(String))],
  );
  return new Map(rows.map(([id, readUpTo]) => [Number(id), Number(readUpTo)]));
}

/** Of a layout that stands: what has become of its capture. */
export async function noteFacts(
  connection: Connection,
  id: number,
  facts: Partial<Pick<StoredLayout, "kept" | "blind">>,
): Promise<void> {
  await connection.run(
    "UPDATE tidemark.layouts SET signature = (signature::jsonb || $2::jsonb)::text WHERE id = $1",
    [String(id), JSON.stringify(facts)],
  );
}

/** What a captured table looks like now. */
export interface TableState {
  readonly name: TableName;
  readonly columns: readonly ColumnIdentity[];
  /** Triggers of ours, by name. */
  readonly triggers: ReadonlyMap<string, TriggerState>;
  /** May the role do what only the table's owner may, and that of each of its partitions? */
  readonly owned: boolean;
  /** Does a crash of the server empty it, or a partition of it? */
  readonly unlogged: boolean;
  /** A partition of it that is a foreign table: what is written at its own server tells no trigger of ours. */
  readonly foreign: ForeignPartition | null;
}

/** Named as SQL names them. */
export interface ForeignPartition {
  readonly name: string;
  readonly parent: string;
}

export interface TriggerState {
  /** For ordinary sessions. */
  readonly enabled: boolean;
  /** For those as well that write what is replicated, or take themselves for such. */
  readonly always: boolean;
  /** The name of its function. */
  readonly runs: string;
}

/** By oid; a dropped table is absent. */
export async function loadTableStates(
  connection: Connection,
  oids: readonly string[],
): Promise<ReadonlyMap<string, TableState>> {
  const rows = await connection.rows(TABLE_STATES, [formatArrayText(oids)], "table_states");
  return new Map(
    rows.map(([oid, columns, triggers, schema, name, owned, unlogged, foreign]) => [
      oid as string,
      {
        name: { schema: schema as string, name: name as string },
        columns: JSON.parse(columns ?? "[]") as ColumnIdentity[],
        triggers: new Map(
          (JSON.parse(triggers ?? "[]") as [string, string, string][]).map(
            ([name, fires, runs]) => [
              name,
              { enabled: fires === "O" || fires === "A", always: fires === "A", runs },
            ],
          ),
        ),
        owned: owned === "t",
        unlogged: unlogged === "t",
        foreign: JSON.parse(foreign ?? "null") as ForeignPartition | null,
      },
    ]),
  );
}

const TABLE_STATES = `
SELECT c.oid::oid,
  (SELECT json_agg(json_build_array(a.attnum, a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT json_agg(json_build_array(t.tgname, t.tgenabled, p.proname))
   FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
   WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND p.pronamespace = to_regnamespace('tidemark')),
  n.nspname, c.relname, pg_has_role(c.relowner, 'USAGE') AND NOT EXISTS (
    SELECT FROM ${partitionTree("c.oid")} t JOIN pg_class p ON p.oid = t.relid
    WHERE NOT pg_has_role(p.relowner, 'USAGE')),
  c.relpersistence = 'u' OR c.relkind = 'p' AND EXISTS (
    SELECT FROM ${partitionTree("c.oid")} t JOIN pg_class p ON p.oid = t.relid
    WHERE p.relpersistence = 'u'),
  CASE c.relkind WHEN 'p' THEN (
    SELECT json_build_object('name', p.oid::regclass::text, 'parent', h.inhparent::regclass::text)
    FROM ${partitionTree("c.oid")} t JOIN pg_class p ON p.oid = t.relid JOIN pg_inherits h ON h.inhrelid = p.oid
    WHERE p.relkind = 'f' ORDER BY p.oid LIMIT 1) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[])`;
