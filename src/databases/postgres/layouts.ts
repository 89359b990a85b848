import type { Layout, LayoutColumn } from "../../core/change.ts";
import type { Connection } from "./connection.ts";
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
  /** Taken back: by a later layout, or by someone who knows that nothing was missed. */
  readonly retired: boolean;
  /** A scan must leave out tables that inherit from this one. */
  readonly only: boolean;
}

/** A live column as drift checks see it. */
export type ColumnIdentity = readonly [number: number, name: string, type: string];

/** What must stay as it is for logged rows to fit the layout. */
export function signature(
  live: readonly ColumnIdentity[],
  columns: readonly { readonly name: string }[],
  wholeRow: boolean,
): string {
  const names = new Set(columns.map((column) => column.name));
  return JSON.stringify(wholeRow ? live : live.filter(([, name]) => names.has(name)));
}

/** What the column `signature` holds, as JSON. */
interface StoredFacts {
  readonly wholeRow: boolean;
  readonly only: boolean;
  readonly live: string;
}

/** All layouts of the timeline by id, old ones included. */
export async function loadLayouts(connection: Connection): Promise<Map<number, StoredLayout>> {
  const rows = await connection.rows(
    `SELECT id, table_oid, schema_name, table_name, columns, key, filters, shape, signature,
       retired_at IS NOT NULL
     FROM tidemark.layouts ORDER BY id`,
  );
  return new Map(
    (rows as string[][]).map((row) => {
      const [id, oid, schema, name, columns, key, filters, shape, text, retired] = row as [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
      ];
      const { wholeRow, only, live } = JSON.parse(text) as StoredFacts;
      return [
        Number(id),
        {
          id: Number(id),
          table: { schema, name },
          columns: JSON.parse(columns) as LayoutColumn[],
          key: JSON.parse(key) as number[],
          filters: JSON.parse(filters) as string[],
          oid,
          shape: shape as Shape,
          signature: live,
          wholeRow,
          only,
          retired: retired === "t",
        },
      ];
    }),
  );
}

export async function insertLayout(connection: Connection, layout: StoredLayout): Promise<void> {
  await connection.run(
    "UPDATE tidemark.layouts SET retired_at = clock_timestamp() WHERE table_oid = $1 AND retired_at IS NULL",
    [layout.oid],
  );
  await connection.run(
    `INSERT INTO tidemark.layouts
       (id, table_oid, schema_name, table_name, columns, key, filters, shape, signature)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
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
        live: layout.signature,
      } satisfies StoredFacts),
    ],
  );
}

/** What a captured table looks like now. */
export interface TableState {
  readonly columns: readonly ColumnIdentity[];
  /** Triggers of ours, by name. */
  readonly triggers: ReadonlyMap<string, TriggerState>;
}

export interface TriggerState {
  /** For ordinary sessions. */
  readonly enabled: boolean;
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
    rows.map(([oid, columns, triggers]) => [
      oid as string,
      {
        columns: JSON.parse(columns ?? "[]") as ColumnIdentity[],
        triggers: new Map(
          (JSON.parse(triggers ?? "[]") as [string, boolean, string][]).map(
            ([name, enabled, runs]) => [name, { enabled, runs }],
          ),
        ),
      },
    ]),
  );
}

const TABLE_STATES = `
SELECT c.oid::oid,
  (SELECT json_agg(json_build_array(a.attnum, a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT json_agg(json_build_array(t.tgname, t.tgenabled IN ('O', 'A'), p.proname))
   FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
   WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND p.pronamespace = to_regnamespace('tidemark'))
FROM pg_class c WHERE c.oid = ANY ($1::oid[])`;
