import { columnsAltered, whatAltered } from "../../core/altered.ts";
import { keyNames, type Layout, type LayoutColumn } from "../../core/change.ts";
import { sha256 } from "../../core/hash.ts";
import type { CaptureTable } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import { type CascadeOrigin, originsOf } from "./cascades.ts";
import { columnSchema } from "./catalog.ts";
import { type Computed, computedOf } from "./computed.ts";
import type { Session } from "./connection.ts";
import { quoteText } from "./identifiers.ts";
import type { Made } from "./made.ts";
import { BATCHES, LAYOUTS } from "./ours.ts";
import type { Reference, Versions } from "./references.ts";
import { keyIndex, type TableFacts } from "./table-facts.ts";
import { nativeTypeName } from "./types.ts";

/** A layout as stored, with what tells whether the table and the triggers are still as they were. */
export interface StoredLayout extends Layout {
  /** Hash over the columns that the layout depends on. */
  readonly signature: string;
  /** The names of all columns, where one that comes or goes is drift even if it is not captured; else null. */
  readonly known: readonly string[] | null;
  /** Columns that the filters may speak of, captured or not. */
  readonly filterColumns: readonly string[];
  /** From what those of them that are generated are computed. Absent where none is. */
  readonly computed?: Computed;
  /** Hash over the triggers as the server stored them; null while they are being created; or {@link LOST}. */
  readonly triggers: string | null;
  readonly active: boolean;
  /**
   * The table was altered under this layout: of what stands in later batches none can tell whether it was
   * logged before or after that. Null while the layout holds.
   */
  readonly readUpTo: number | null;
  /** The engine's number of the table when it was last looked at; null where it may not be read. */
  readonly tableId: string | null;
  /** Columns of unique and foreign keys: an update of others cannot be refused by one. */
  readonly guarded: readonly string[];
  /** Those captured that the server sets by itself when a row is updated. */
  readonly stamped: readonly string[];
  /** Tables from which actions of foreign keys reach this one: they have triggers for it. */
  readonly origins: readonly CascadeOrigin[];
  /** Absent where it has none. */
  readonly versions?: Versions;
  /** The column that the server numbers, captured or not. Absent where there is none. */
  readonly numbered?: string;
  /** Hash over what its triggers do: another version of this program may have made them otherwise. */
  readonly work?: string;
  /** For triggers of tables from which actions reach it, by name: hash over what each does, as cascadeDone has it. */
  readonly cascades?: Readonly<Record<string, string>>;
  /** When its triggers were made. */
  readonly made?: Made;
  /** Absent where its triggers knew all keys. */
  readonly doubted?: Doubt;
}

/**
 * A unique or foreign key came that the triggers did not know: updates that it has refused may be logged as carried out
 * (UPDATE IGNORE, see isCarriedOut in capture-sql.ts).
 */
interface Doubt {
  /** The last batch that holds none of them. */
  readonly after: number;
  /** Of that key, as far as the triggers did not ask for them. */
  readonly columns: readonly string[];
}

/** In place of the hash: rows have gone of which nobody knows which, while no sync carried the table. */
export const LOST = "lost";

/** What `definition` holds: all that has no column of its own. */
type Definition = Omit<
  StoredLayout,
  "id" | "signature" | "triggers" | "active" | "readUpTo" | "tableId"
>;

/**
 * The layout that a capture asks for, by the table as it stands now; `id` is still to be given. Throws TM-SCHEMA-DRIFT
 * where that is no longer what whoever asks knows.
 */
export function wantedLayout(
  table: CaptureTable,
  facts: TableFacts,
  references: readonly Reference[],
): StoredLayout {
  const name = formatTable(table.schema.name);
  const wanted = new Set([...table.columns, ...table.schema.key]);
  // Captured otherwise, rows and copies would reach targets that cannot take them, nor pass them by.
  const altered = whatAltered(
    table,
    facts.columns.map((column) => ({ name: column.name, nativeType: nativeTypeName(column) })),
  );
  if (altered !== null) throw columnsAltered(name, altered);
  const native = facts.columns.filter((column) => wanted.has(column.name));
  const columns = native.map((column) => layoutColumn(columnSchema(column)));
  const key = table.schema.key.map((each) => columns.findIndex((column) => column.name === each));
  const numbered = facts.columns.find(({ identity }) => identity)?.name;
  const filterColumns = namedIn(table.filters, facts);
  const computed = computedOf({ columns, filterColumns }, facts);
  const layout = {
    id: 0,
    table: table.schema.name,
    columns,
    key,
    filters: table.filters,
    filterColumns,
    ...(Object.keys(computed).length > 0 && { computed }),
    known: table.takesNewColumns ? namesOf(facts) : null,
    guarded: guardedColumns(facts, references),
    stamped: native.filter(({ stamped }) => stamped).map((column) => column.name),
    origins: originsOf(facts.name, references),
    ...(numbered !== undefined && { numbered }),
    triggers: null,
    tableId: null,
    active: true,
    readUpTo: null,
  };
  return { ...layout, signature: signatureOf(layout, facts) };
}

function namesOf(facts: TableFacts): readonly string[] {
  return facts.columns.map(({ name }) => name).sort();
}

/** An index over expressions or prefixes does not tell of which columns. */
export function guardedColumns(
  { name, columns, uniques, foreignKeys }: TableFacts,
  references: readonly Reference[],
): readonly string[] {
  if (uniques.some(({ partial }) => partial)) return columns.map((column) => column.name);
  const referred = references
    .filter(({ parent }) => parent === name)
    .flatMap(({ pairs }) => pairs.map(([, column]) => column));
  const keys = [...uniques, ...foreignKeys].flatMap((key) => key.columns);
  return [...new Set([...keys, ...referred])].sort();
}

function layoutColumn(column: ReturnType<typeof columnSchema>): LayoutColumn {
  const { name, type, nativeType, nullable, generated } = column;
  return { name, type, nativeType, nullable, generated };
}

/**
 * The columns whose name stands anywhere in the filters. A name that is there by accident costs a
 * little; one that is missing is found before anything is installed (filterCheck).
 */
export function namedIn(filters: readonly string[], facts: TableFacts): readonly string[] {
  const text = filters.join("\n").toLowerCase();
  return facts.columns
    .map((column) => column.name)
    .filter((name) => text.includes(quotedOrPlain(name)));
}

/** As it stands in SQL, lower case: quotes in it are doubled. */
function quotedOrPlain(name: string): string {
  return name.replaceAll("`", "``").toLowerCase();
}

/** The layout without what only the source needs to know. */
export function publicLayout({ id, table, columns, key, filters }: StoredLayout): Layout {
  return { id, table, columns, key, filters };
}

/**
 * Hash over the columns that the layout captures or filters by (what may change without the trigger
 * noticing), and over the names of all where they are {@link StoredLayout.known}.
 */
export function signatureOf(
  layout: Pick<StoredLayout, "columns" | "filterColumns" | "known">,
  facts: TableFacts,
): string {
  const names = layout.known === null ? [] : namesOf(facts);
  const needed = new Set([...layout.columns.map((column) => column.name), ...layout.filterColumns]);
  const columns = facts.columns
    .filter((column) => needed.has(column.name))
    .map(({ name, columnType, charset, collation, nullable, generated, json, stamped }) =>
      JSON.stringify([name, columnType, charset, collation, nullable, generated, json, stamped]),
    );
  return sha256("signature", ...columns, ...names);
}

/**
 * May a row logged under the layout mean something else, as it may have been logged since the table
 * was altered? A column that was dropped or renamed makes the trigger log the row as unread.
 */
export function isAltered(layout: StoredLayout, now: StoredLayout, facts: TableFacts): boolean {
  return isAlteredTo(layout, keyNames(now), facts);
}

function isAlteredTo(layout: StoredLayout, key: readonly string[], facts: TableFacts): boolean {
  const types = new Map(facts.columns.map((column) => [column.name, nativeTypeName(column)]));
  const retyped = layout.columns.some(
    ({ name, nativeType }) => types.has(name) && types.get(name) !== nativeType,
  );
  // Of a table that had no key whole rows are logged, which hold the one that it has now.
  return retyped || (layout.key.length > 0 && keyNames(layout).join("\0") !== key.join("\0"));
}

/** As {@link isAltered}, where nobody asks for the table. `facts`: undefined for one that is gone or has another name. */
export function isAlteredSince(layout: StoredLayout, facts: TableFacts | undefined): boolean {
  return facts === undefined || isAlteredTo(layout, keyIndex(facts)?.columns ?? [], facts);
}

/** For people: what has become of each column. A new name cannot be told from another column. */
export function differences(layout: StoredLayout, facts: TableFacts): string {
  const now = new Map(facts.columns.map((column) => [column.name, column]));
  const lines = layout.columns.flatMap(({ name, nativeType }) => {
    const column = now.get(name);
    if (column === undefined) return [`column ${name} (${nativeType}) was dropped or renamed`];
    const type = nativeTypeName(column);
    return type === nativeType ? [] : [`column ${name} was ${nativeType}, is ${type}`];
  });
  const known = new Set(layout.known ?? now.keys());
  for (const column of facts.columns) {
    if (known.has(column.name)) continue;
    lines.push(`column ${column.name} (${nativeTypeName(column)}) was added or renamed`);
  }
  return lines.length === 0 ? "the definition of a column is another" : lines.join("; ");
}

/** Same shape, so that rows logged under one read as rows of the other? */
export function sameDefinition(a: StoredLayout, b: StoredLayout): boolean {
  const text = (layout: StoredLayout) => JSON.stringify(shapeOf(layout));
  return text(a) === text(b) && a.signature === b.signature;
}

export function definitionText(layout: StoredLayout): string {
  const { cascades, made } = layout;
  const definition: Definition = {
    ...shapeOf(layout),
    ...(cascades && { cascades }),
    ...(made && { made }),
  };
  return JSON.stringify(definition);
}

function shapeOf(layout: StoredLayout): Omit<Definition, "cascades" | "made"> {
  const { table, columns, key, filters, filterColumns, known } = layout;
  const { guarded, stamped, origins, versions, numbered, work, doubted, computed } = layout;
  const shape = { table, columns, key, filters, filterColumns, known };
  return {
    ...shape,
    guarded,
    stamped,
    origins,
    ...(versions && { versions }),
    ...(numbered !== undefined && { numbered }),
    ...(work !== undefined && { work }),
    ...(doubted && { doubted }),
    ...(computed && { computed }),
  };
}

export async function loadLayouts(session: Session): Promise<readonly StoredLayout[]> {
  const rows = await session.rows(
    `SELECT id, definition, signature, triggers, active, table_id, read_up_to
     FROM ${LAYOUTS} ORDER BY id`,
  );
  return rows.map(([id, definition, signature, triggers, active, tableId, readUpTo]) => ({
    ...(JSON.parse(definition ?? "null") as Definition),
    id: Number(id),
    signature: signature ?? "",
    triggers: triggers ?? null,
    active: active === "1",
    readUpTo: (readUpTo ?? null) === null ? null : Number(readUpTo),
    tableId: tableId ?? null,
  }));
}

/** A layout that captured the table before. */
export interface Replaced {
  readonly layout: StoredLayout;
  /** Does it hold no more? */
  readonly altered: boolean;
  /** Empty where nothing is; see {@link StoredLayout.doubted}. */
  readonly doubted: readonly string[];
}

/** Stores a new layout as the active one of its table. Gives what it replaces, as that is stored now. */
export async function storeLayout(
  session: Session,
  layout: StoredLayout,
  replaces: Replaced | null,
): Promise<StoredLayout | null> {
  const table = formatTable(layout.table);
  const insert = () =>
    session.run(
      `INSERT INTO ${LAYOUTS} (id, table_name, definition, signature, triggers, active)
       VALUES (?, ?, ?, ?, NULL, 1)`,
      [layout.id, table, definitionText(layout), layout.signature],
    );
  if (replaces === null) {
    await insert();
    return null;
  }
  let replaced = replaces.layout;
  await inTransaction(session, async () => {
    if (replaces.altered) {
      await session.run(
        `UPDATE ${LAYOUTS} SET read_up_to = COALESCE(read_up_to, (SELECT COALESCE(MAX(n), 0) FROM ${BATCHES}))
         WHERE table_name = ? AND active = 1`,
        [table],
      );
    }
    if (replaces.doubted.length > 0) {
      const after = Number(await session.value(`SELECT COALESCE(MAX(n), 0) FROM ${BATCHES}`));
      const doubted: Doubt = { after, columns: replaces.doubted };
      replaced = { ...replaced, doubted };
      await session.run(definingStatement(replaced));
    }
    await session.run(`UPDATE ${LAYOUTS} SET active = 0 WHERE table_name = ?`, [table]);
    await insert();
  });
  return replaced;
}

/** Of one that may have been replaced. */
export function definingStatement(layout: StoredLayout): string {
  return `UPDATE ${LAYOUTS} SET definition = ${quoteText(definitionText(layout))} WHERE id = ${layout.id}`;
}

/** What is cut after this batch is unread. */
export async function endReading(session: Session, layout: number, batch: number): Promise<void> {
  await session.run(
    `UPDATE ${LAYOUTS} SET read_up_to = COALESCE(read_up_to, ${batch}) WHERE id = ?`,
    [layout],
  );
}

export function inTransaction<T>(session: Session, work: () => Promise<T>): Promise<T> {
  return session.exclusive(async () => {
    await session.run("START TRANSACTION");
    try {
      const result = await work();
      await session.run("COMMIT");
      return result;
    } catch (error) {
      await session.run("ROLLBACK");
      throw error;
    }
  });
}

/**
 * In few statements, however many there are. `values`: by layout. One that another process has replaced meanwhile is left
 * as that one has it.
 */
export async function storeOfLayouts(
  session: Session,
  column: "triggers" | "table_id" | "definition",
  values: ReadonlyMap<number, string>,
): Promise<void> {
  const all: [number, string][][] = [];
  let length = STORED_LENGTH;
  for (const [id, value] of values) {
    length += value.length;
    const last = all.at(-1);
    if (last !== undefined && length < STORED_LENGTH && last.length < STORED_AT_ONCE) {
      last.push([id, value]);
      continue;
    }
    all.push([[id, value]]);
    length = value.length;
  }
  for (const some of all) {
    await session.run(
      `UPDATE ${LAYOUTS} SET ${column} = CASE id ${some.map(() => "WHEN ? THEN ?").join(" ")} END
       WHERE id IN (${some.map(() => "?").join(", ")}) AND active = 1`,
      [...some.flat(), ...some.map(([id]) => id)],
    );
  }
}

const STORED_AT_ONCE = 200;
/** A server may take no text of more than 1 MB, and a character may be four bytes. */
const STORED_LENGTH = 128 << 10;
