import { whatAltered } from "../../core/altered.ts";
import { keyNames, type LayoutColumn } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import { Objections } from "../../core/many-tables.ts";
import type { CapturePlan, CaptureTable } from "../../core/source.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import { addKey } from "./add-key.ts";
import { assertUnbroken, type Broken, whatBroke } from "./capture-broken.ts";
import {
  type CaptureSpec,
  isWholeRow,
  namedIn,
  namedTypes,
  qualified,
  typeSchemas,
} from "./capture-row.ts";
import { captureTriggers, functionBodies, functionStatements } from "./capture-sql.ts";
import { type FoundColumn, type FoundTable, findTables, loadColumns, tableKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { assertFilters } from "./filters.ts";
import { quoteIdentifier, quoteTable, schemaOf } from "./identifiers.ts";
import {
  type ColumnIdentity,
  loadLayouts,
  loadTableStates,
  type StoredLayout,
  signature,
  type TableState,
} from "./layouts.ts";
import { assertLogFits, missingSourceObjects } from "./ours.ts";
import { partitionStatements, refuseParts } from "./partitions.ts";
import { loadPins } from "./pins.ts";
import { publicationNotes } from "./publications.ts";
import { captureRights } from "./rights-findings.ts";
import { refuseHidden } from "./row-security.ts";
import { chooseShapes, type Shape, type ShapeChoice } from "./shape.ts";
import { lookAtTriggers } from "./trigger-watch.ts";

/** What is to be done for one table. */
export interface TableCapture {
  readonly table: FoundTable;
  readonly spec: CaptureSpec;
  readonly layout: StoredLayout;
  /** The layout before, in force or retired (a resync's): null when this table is new or nothing changes. */
  readonly replaces: StoredLayout | null;
  readonly isNewLayout: boolean;
  /** Of the table before anything was read of it; see pins.ts. */
  readonly pin: string;
  readonly live: readonly ColumnIdentity[];
  readonly functions: readonly string[];
  /** Need the table's lock; empty when the triggers stand. */
  readonly triggers: readonly string[];
  readonly reason: string;
  /** See ShapeChoice and TableState. */
  readonly subscribed: boolean;
  readonly owned: boolean;
  /** What of the table is no longer as whoever asks knows it, for people; null when nothing is. */
  readonly altered: string | null;
  /** Why changes have gone by unseen since it was captured; null when none have. */
  readonly broken: Broken | null;
}

export async function planCapture(
  connection: Connection,
  tables: readonly CaptureTable[],
): Promise<CapturePlan> {
  await assertLogFits(connection);
  const ours = await missingSourceObjects(connection);
  const captures = await prepareCaptures(connection, tables, ours.length === 0);
  assertUnbroken(captures);
  const parted = Map.groupBy(captures, ({ triggers }) => triggers.length > 0);
  const tablesOf = (isDue: boolean) =>
    (parted.get(isDue) ?? []).map(({ table, spec }) => ({
      ...table,
      typeSchemas: typeSchemas(namedTypes(spec)),
    }));
  const wanted = { intact: tablesOf(false), due: tablesOf(true), installed: ours.length === 0 };
  const lacks = await captureRights(connection, wanted, { columns: true });
  // Without the right to read a table its conditions cannot be tried.
  if (lacks.length === 0)
    await Promise.all(captures.map(({ spec }) => assertFilters(connection, spec)));
  return {
    lacks,
    statements: [...ours, ...captures.flatMap((each) => [...each.functions, ...each.triggers])],
    notes: [
      ...captures.map(
        ({ spec, reason }) =>
          `${formatTable(spec.table)}: captured by ${SHAPE_NAMES[spec.shape]}, since ${reason}.`,
      ),
      ...(ours.length > 0 ? await publicationNotes(connection) : []),
    ],
  };
}

const SHAPE_NAMES: Readonly<Record<Shape, string>> = {
  statement: "statement triggers",
  row: "a row trigger",
  "row-current": "a row trigger that reads the row as it stands",
};

/**
 * Compares what is asked with what stands. Not within a transaction. All is read as of one moment: another process may
 * be installing capture just now, and a table whose layout is there and its triggers not yet would be taken for broken.
 */
export async function prepareCaptures(
  connection: Connection,
  tables: readonly CaptureTable[],
  ours: boolean,
): Promise<readonly TableCapture[]> {
  if (tables.length === 0) return [];
  const begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
  return connection.transaction(begin, () => compareCaptures(connection, tables, ours));
}

async function compareCaptures(
  connection: Connection,
  tables: readonly CaptureTable[],
  ours: boolean,
): Promise<readonly TableCapture[]> {
  const found = await findTables(
    connection,
    tables.map((table) => table.schema.name),
  );
  const oids = tables.map((table) => foundTable(found, table).oid);
  const [, , pins, shapes, columns, states, bodies, layouts, { touched, revalued }] =
    await Promise.all([
      refuseParts(connection, oids),
      refuseHidden(connection, oids),
      loadPins(connection, oids),
      chooseShapes(connection, oids),
      loadColumns(connection, oids),
      loadTableStates(connection, oids),
      installedBodies(connection),
      ours ? loadLayouts(connection) : new Map<number, StoredLayout>(),
      ours ? lookAtTriggers(connection, oids) : { touched: NONE_TOUCHED, revalued: NONE_TOUCHED },
    ]);
  const current = new Map(
    [...layouts.values()].filter(({ retired }) => !retired).map((layout) => [layout.oid, layout]),
  );
  const before = new Map([...layouts.values()].map((layout) => [layout.oid, layout]));
  let nextId = Math.max(0, ...layouts.keys()) + 1;
  const newest = newestLayouts([...layouts.values()]);
  const objections = new Objections();
  const captures = await mapInOrder(tables, (table) => objections.tryAsync(() => compare(table)));
  objections.end();
  return captures.filter((capture) => capture !== null);

  async function compare(table: CaptureTable): Promise<TableCapture> {
    const target = foundTable(found, table);
    const capture = prepareCapture(table, target, {
      choice: shapes.get(target.oid) as ShapeChoice,
      columns: (columns.get(target.oid) ?? []) as readonly FoundColumn[],
      state: states.get(target.oid) as TableState,
      bodies,
      current: current.get(target.oid) ?? null,
      before: before.get(target.oid) ?? null,
      pin: pins.get(target.oid) ?? "",
      nextId,
    });
    if (capture.isNewLayout) nextId++;
    const broken = whatBroke(newest(target.oid, table.schema.name), {
      oid: target.oid,
      state: states.get(target.oid),
      touched: touched.get(target.oid) ?? null,
      revalued: revalued.get(target.oid) ?? null,
      choice: shapes.get(target.oid) as ShapeChoice,
    });
    const partitions = await partitionStatements(connection, capture.spec);
    return { ...capture, triggers: [...capture.triggers, ...partitions], broken };
  }
}

const NONE_TOUCHED: ReadonlyMap<string, string> = new Map();

async function mapInOrder<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}

/**
 * The newest layout of the table with this oid, or of this name. Where two tables have exchanged their names, each has the
 * other's layout: the one in force by its name is what the targets have under that name.
 */
function newestLayouts(
  layouts: readonly StoredLayout[],
): (oid: string, name: TableName) => StoredLayout | undefined {
  const byOid = new Map(layouts.map((layout, index) => [layout.oid, index]));
  const byName = new Map(layouts.map((layout, index) => [tableKey(layout.table), index]));
  return (oid, name) => {
    const named = byName.get(tableKey(name)) ?? -1;
    if (layouts[named]?.retired === false) return layouts[named];
    return layouts[Math.max(byOid.get(oid) ?? -1, named)];
  };
}

function foundTable(found: ReadonlyMap<string, FoundTable>, table: CaptureTable): FoundTable {
  const { name } = table.schema;
  const target = found.get(tableKey(name));
  if (!target) {
    throw new TidemarkError("TM-TABLE-MISSING", `There is no table ${formatTable(name)}.`);
  }
  if ((target.kind !== "r" && target.kind !== "p") || target.persistence === "t") {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${formatTable(name)} is not an ordinary table.`,
    );
  }
  return target;
}

interface TableFacts {
  readonly choice: ShapeChoice;
  readonly columns: readonly FoundColumn[];
  readonly state: TableState;
  /** Of functions of ours, by name. */
  readonly bodies: ReadonlyMap<string, string>;
  readonly current: StoredLayout | null;
  /** The newest, in force or not. */
  readonly before: StoredLayout | null;
  readonly pin: string;
  readonly nextId: number;
}

function prepareCapture(
  table: CaptureTable,
  target: FoundTable,
  facts: TableFacts,
): Omit<TableCapture, "broken"> {
  const { current } = facts;
  const choice = table.schema.key.length === 0 ? keylessChoice(table, facts.choice) : facts.choice;
  const wanted = new Set([...table.columns, ...table.schema.key]);
  const columns = facts.columns.filter((column) => wanted.has(column.name));
  const draft: CaptureSpec = {
    oid: target.oid,
    table: { schema: schemaOf(table.schema.name), name: table.schema.name.name },
    layout: facts.nextId,
    shape: choice.shape,
    partitioned: choice.partitioned,
    only: choice.only,
    isReadable: true,
    liveColumns: facts.columns.map((column) => column.name),
    columns,
    key: table.schema.key,
    filters: table.filters,
    filterColumns: namedIn(table.filters, facts.columns),
  };
  const wholeRow = isWholeRow(draft);
  const allColumns = wholeRow || table.takesNewColumns;
  const live: readonly ColumnIdentity[] = facts.state.columns;
  const wantedLayout: StoredLayout = {
    id: facts.nextId,
    table: draft.table,
    columns: columns.map(toLayoutColumn),
    key: draft.key.map((name) => columns.findIndex((column) => column.name === name)),
    filters: table.filters,
    oid: target.oid,
    shape: choice.shape,
    signature: signature(live, columns, allColumns),
    wholeRow,
    only: choice.only,
    allColumns,
    readUpTo: null,
    retired: false,
    forgotten: false,
    kept: null,
    blind: false,
  };
  // What is logged by one that was altered while no sync carried it is unread for good.
  const isSpent = current !== null && (current.readUpTo !== null || current.kept !== null);
  const isNewLayout = current === null || isSpent || !sameLayout(current, wantedLayout);
  const spec = isNewLayout ? draft : { ...draft, layout: current.id };
  return {
    table: target,
    spec,
    layout: isNewLayout ? wantedLayout : { ...wantedLayout, id: current.id },
    replaces: isNewLayout ? facts.before : null,
    isNewLayout,
    pin: facts.pin,
    live,
    ...statementsToRun(spec, facts),
    reason: choice.reason,
    subscribed: choice.subscribed,
    owned: facts.state.owned,
    altered: whatAltered(table, facts.columns),
  };
}

/**
 * Rows without a key are counted, so it matters not in which order they are logged, but the row itself
 * must be what the statement left: a table that is written inside its own statement could log that a
 * row has gone before it has come.
 */
function keylessChoice({ schema }: CaptureTable, choice: ShapeChoice): ShapeChoice {
  const table = formatTable(schema.name);
  if (choice.shape !== "row-current") {
    return { ...choice, shape: "row", reason: "the table has no key: each row is logged whole" };
  }
  throw new TidemarkError(
    "TM-TABLE-NO-KEY",
    `${table} has no primary key and no unique key of not-null columns, and ${choice.reason}: its changes cannot be told apart.`,
    {
      fix: `${addKey(schema)}; or leave it out of the sync.`,
      details: { table },
    },
  );
}

interface CaptureStatements {
  readonly functions: readonly string[];
  readonly triggers: readonly string[];
}

/** Triggers name no layout: they are left alone while shape, key and function stay. */
function statementsToRun(spec: CaptureSpec, facts: TableFacts): CaptureStatements {
  const { bodies, current, state } = facts;
  const { triggers, owned } = state;
  const wanted = [...captureTriggers(spec)];
  const sameKeyAndShape =
    current?.shape === spec.shape && JSON.stringify(keyNames(current)) === JSON.stringify(spec.key);
  const stays = (name: string, runs: string | undefined) =>
    sameKeyAndShape && triggers.get(name)?.runs === runs;
  const runs = new Map(wanted.map(([name, trigger]) => [name, trigger.runs]));
  const toDrop = [...triggers.keys()].filter((name) => !stays(name, runs.get(name)));
  const toEnable = wanted.filter(([name, trigger]) => {
    const found = triggers.get(name);
    if (found === undefined || !stays(name, trigger.runs)) return false;
    return !(owned ? found.always : found.enabled);
  });
  if (!owned && toDrop.length + toEnable.length > 0) {
    return {
      functions: [...dropWithTriggers(state), ...functionStatements(spec)],
      triggers: wanted.map(([, { create }]) => create),
    };
  }
  // Sessions that take themselves for replication write what the targets need as well (loaders do so, to be spared
  // foreign keys; a subscription). Only the owner can have triggers fire for them.
  const enable = (name: string) =>
    `ALTER TABLE ${quoteTable(spec.table)} ENABLE ${owned ? "ALWAYS " : ""}TRIGGER ${quoteIdentifier(name)}`;
  const toCreate = wanted.filter(([name, trigger]) => !stays(name, trigger.runs));
  const functionsStand = [...functionBodies(spec)].every(
    ([name, body]) => bodies.get(name) === body,
  );
  return {
    functions: functionsStand ? [] : functionStatements(spec),
    triggers: [
      ...toDrop.map((name) => `DROP TRIGGER ${quoteIdentifier(name)} ON ${quoteTable(spec.table)}`),
      ...toCreate.flatMap(([name, { create }]) => (owned ? [create, enable(name)] : [create])),
      ...toEnable.map(([name]) => enable(name)),
    ],
  };
}

/**
 * Only the table's owner may drop or enable a trigger. But the functions are ours, and a trigger goes with its function,
 * whoever the table belongs to.
 */
function dropWithTriggers({ triggers }: TableState): string[] {
  const names = new Set([...triggers.values()].map(({ runs }) => runs));
  return [...names].map((name) => `DROP FUNCTION ${qualified(name)}() CASCADE`);
}

function toLayoutColumn(column: FoundColumn): LayoutColumn {
  const { name, type, nativeType, nullable, generated } = column;
  return { name, type, nativeType, nullable, generated };
}

/** A new shape makes a new layout, too: the stored one says how the triggers stand. */
function sameLayout(a: StoredLayout, b: StoredLayout): boolean {
  const facts = ({
    table,
    columns,
    key,
    filters,
    wholeRow,
    only,
    allColumns,
    shape,
    signature: live,
  }: StoredLayout) => {
    const flags = [wholeRow, only, allColumns, shape];
    return JSON.stringify([table.schema, table.name, columns, key, filters, flags, live]);
  };
  return facts(a) === facts(b);
}

/** The source of the functions of ours, by name. */
async function installedBodies(connection: Connection): Promise<ReadonlyMap<string, string>> {
  const rows = await connection.rows(
    `SELECT proname, prosrc FROM pg_proc
     WHERE pronamespace = to_regnamespace('tidemark') AND starts_with(proname, 'capture_')`,
  );
  return new Map(rows.map(([name, source]) => [name as string, source as string]));
}
