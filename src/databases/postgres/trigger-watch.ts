import type { Connection } from "./connection.ts";
import { OUR_SCHEMA } from "./identifiers.ts";
import type { ColumnIdentity } from "./layouts.ts";
import { partitionTree } from "./partitions.ts";
import { isSameValued, type Revaluable, revaluableSql, whatRevalued } from "./revalued.ts";
import { formatArrayText } from "./row-text.ts";

/**
 * Whoever disables a trigger, writes, and enables it again leaves it as it was, and what was written in between is
 * in no log (`pg_restore --disable-triggers` does so, and so do loaders of fixtures). But each of this writes the
 * trigger's row in the catalog: which transaction last did is noted when capture is installed, and compared. A
 * partition's triggers are its own.
 *
 * Not across timelines: pg_upgrade and a dump that is read write the catalog anew.
 */
export interface Noted extends Revaluable {
  readonly timeline: string;
  /** By `oid.trigger`; null: there is none. */
  readonly written: Readonly<Record<string, string>> | null;
}

/** As JSON, of the triggers of ours on a table and its partitions. `oid` is an SQL expression. */
function noteSql(oid: string): string {
  return `(SELECT json_build_object(
    'timeline', (SELECT s.timeline FROM ${OUR_SCHEMA}.source s),
    'written', json_object_agg(t.tgrelid || '.' || t.tgname, t.xmin::text),
    ${revaluableSql(oid)})
  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
  WHERE t.tgrelid = ANY (${oid} || ARRAY(SELECT relid FROM ${partitionTree(oid)} AS part))
    AND p.pronamespace = to_regnamespace('${OUR_SCHEMA}'))`;
}

/** `note` is an SQL expression. */
/** `notes` gives table_oid and note. */
function noteStatement(notes: string): string {
  return `UPDATE ${OUR_SCHEMA}.layouts l
    SET signature = (signature::jsonb || jsonb_build_object('triggers', n.note::jsonb))::text
    FROM ${notes} AS n(table_oid, note) WHERE l.table_oid = n.table_oid AND l.retired_at IS NULL`;
}

/** Notes the triggers of a table as they now are. In the transaction that has installed them. */
export async function noteTriggers(connection: Connection, oid: string): Promise<void> {
  await connection.run(noteStatement(`(VALUES ($1::oid, ${noteSql("$1::oid")}))`), [oid]);
}

/** Triggers of these tables as they were noted, and as they are. */
export interface TriggerLook {
  /** By table, the first that somebody has written since. */
  readonly touched: ReadonlyMap<string, string>;
  /** By table, for people: rows of it may have other values. It counts where the columns are as they were. */
  readonly revalued: ReadonlyMap<string, string>;
  /** By table, what is to be noted: partitions came, or nothing was noted yet. */
  readonly unnoted: ReadonlyMap<string, Noted>;
}

export async function lookAtTriggers(
  connection: Connection,
  oids: readonly string[],
): Promise<TriggerLook> {
  const rows = await connection.rows(
    // In one statement: who alters a table writes its columns and its file at once.
    `SELECT l.table_oid, ${noteSql("l.table_oid")}, l.partitions IS NULL,
       l.signature::json ->> 'live', l.signature::json -> 'triggers',
       (SELECT format('%s %s.%I', CASE WHEN c.relkind <> 'p' THEN 'ONLY' END, c.relnamespace::regnamespace, c.relname) FROM pg_class c WHERE c.oid = l.table_oid),
       has_table_privilege(l.table_oid, 'SELECT'), l.columns, l.filters
     FROM ${OUR_SCHEMA}.layouts l WHERE l.table_oid = ANY ($1::oid[]) AND l.retired_at IS NULL`,
    [formatArrayText(oids)],
    "triggers",
  );
  const touched = new Map<string, string>();
  const revalued = new Map<string, string>();
  const unnoted = new Map<string, Noted>();
  for (const row of rows) {
    const [oid, after, forgets, live] = row as [string, string, string, string];
    const [before = null, table = null, readable, captured, filters] = row.slice(4);
    const stored = JSON.parse(before ?? "null") as Noted | null;
    const now = JSON.parse(after) as Noted;
    const noted = stored?.timeline === now.timeline ? stored : null;
    const known = new Map(
      Object.entries(noted?.written ?? {}).filter(
        // Partitions that came and went have been answered for: see partition-watch.ts.
        ([key]) => forgets !== "t" || isOfTable(key, oid),
      ),
    );
    const current = Object.entries(now.written ?? {});
    const changed = current.find(([key, by]) => known.has(key) && known.get(key) !== by);
    if (changed !== undefined) touched.set(oid, forPeople(changed[0], oid));
    const columns = () => dependedOn(live, captured as string, filters as string);
    const what =
      table === null
        ? null
        : await whatRevalued(connection, {
            noted,
            now,
            columns,
            table,
            isReadable: readable === "t",
          });
    if (what !== null) revalued.set(oid, what);
    const isNoted =
      known.size === current.length &&
      current.every(([key]) => known.has(key)) &&
      (what !== null || isSameValued(noted, now));
    // What is noted already stands: it may have been written since we looked.
    const written = Object.fromEntries(current.map(([key, by]) => [key, known.get(key) ?? by]));
    // Nor is what stops the sync noted as if it had been answered for.
    const values = what === null ? now : noted;
    if (!isNoted) unnoted.set(oid, { ...now, ...values, written });
  }
  return { touched, revalued, unnoted };
}

/** A generated column is not captured, but a filter may name it. */
function dependedOn(live: string, captured: string, filters: string): readonly ColumnIdentity[] {
  const all = JSON.parse(live) as readonly ColumnIdentity[];
  if ((JSON.parse(filters) as readonly string[]).length > 0) return all;
  const columns = JSON.parse(captured) as readonly { readonly name: string }[];
  const names = new Set(columns.map(({ name }) => name));
  return all.filter(([, name]) => names.has(name));
}

export async function storeNoted(
  connection: Connection,
  unnoted: TriggerLook["unnoted"],
): Promise<void> {
  if (unnoted.size === 0) return;
  const notes = [...unnoted.values()].map((noted) => JSON.stringify(noted));
  // In one way to the server: of all tables, when notes are renewed.
  await connection.run(noteStatement("unnest($1::oid[], $2::text[])"), [
    formatArrayText([...unnoted.keys()]),
    formatArrayText(notes),
  ]);
}

function isOfTable(key: string, oid: string): boolean {
  return key.startsWith(`${oid}.`);
}

function forPeople(key: string, oid: string): string {
  const name = key.slice(key.indexOf(".") + 1);
  return isOfTable(key, oid) ? name : `${name} of a partition`;
}

/** For people: `trigger` as {@link TriggerLook} has it. */
export function wasTouched(trigger: string): string {
  return `trigger ${trigger} was disabled for a while, or made anew`;
}
