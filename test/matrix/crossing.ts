// What happens to every value of a list of types on its way to another database and back. Types
// share tables, a few to each: what takes time is making tables, not writing rows.

import type { ColumnType } from "../../src/core/column-type.ts";
import { isTidemarkError, type TidemarkError } from "../../src/core/errors.ts";
import { formatTable, type TableSchema } from "../../src/core/table.ts";
import type { BoundTable, ColumnMapping } from "../../src/core/target.ts";
import { refuseUnsupported } from "../../src/core/unsupported.ts";
import { isTagged, type Row, type Value } from "../../src/core/value.ts";
import type { DatabaseKind } from "../servers/index.ts";
import { type SqlClient, transaction } from "../support/sql-client.ts";
import { asked, Endpoint, Receiver } from "./endpoint.ts";
import { nameOf, sqlOf, type TypeEntry } from "./types.ts";

/** A value, or why there is none. */
export type Outcome = Value | TidemarkError;

/** One type at a place: a column of a table, and what stands in it. */
interface Parcel {
  readonly entry: TypeEntry;
  readonly table: string;
  readonly column: string;
  /** In order of `entry.values`. */
  readonly values: readonly Outcome[];
}

export interface TypeAtSource extends Parcel {
  /** Null when the source itself refuses the type. */
  readonly columnType: ColumnType | null;
  /** Why it does. */
  readonly refusal: TidemarkError | null;
}

export interface SourceReading {
  readonly endpoint: Endpoint;
  readonly schemas: readonly TableSchema[];
  readonly types: readonly TypeAtSource[];
  /** Rows that read differently from the log and from the table. */
  readonly disagreements: readonly string[];
}

const TYPES_IN_TABLE = 8;
/** Rows of one column have the ids from its place times this on. */
const IDS = 1_000;

/** Writes every value at a fresh source, and reads it from the log and from the table. */
export async function readSource(
  kind: DatabaseKind,
  entries: readonly TypeEntry[],
  session: readonly string[] = [],
): Promise<SourceReading> {
  const endpoint = await Endpoint.make(kind);
  await prepareTypes(endpoint, entries);
  const places = entries.map((entry, i) => ({ entry, ...placeOf(i) }));
  await createTables(endpoint, entries);
  const { schemas, refusals } = await describeAll(endpoint, [
    ...new Set(places.map(({ table }) => table)),
  ]);
  await endpoint.capture(schemas);
  for (const statement of session) await endpoint.sql.run(statement);
  await transaction(endpoint.sql, async () => {
    for (const { entry, table, column } of places) {
      if (refusals.has(`${table}.${column}`)) continue;
      for (const [n, value] of entry.values.entries()) {
        const values = `(${idOf(column, n)}, ${sqlOf(value)})`;
        await endpoint.sql.run(`INSERT INTO ${table} (id, ${column}) VALUES ${values}`);
      }
    }
  });
  const logged = await endpoint.readLog();
  const read = await readAll(endpoint, schemas);
  const disagreements = schemas.flatMap(({ name }) => {
    const rows = new Map((logged.get(name.name) ?? []).map((row) => [row[0], row]));
    return [...(read.get(name.name)?.rows ?? [])].flatMap((row) => {
      const [a, b] = [JSON.stringify(rows.get(row[0] ?? null)), JSON.stringify(row)];
      return a === b ? [] : [`${name.name}: the log has ${a}, the table ${b}`];
    });
  });
  const types = places.map(
    (place): TypeAtSource => ({
      ...place,
      values: place.entry.values.map((_, n) => valueIn(read, place, n)),
      columnType:
        schemas
          .find(({ name }) => name.name === place.table)
          ?.columns.find(({ name }) => name === place.column)?.type ?? null,
      refusal: refusals.get(`${place.table}.${place.column}`) ?? null,
    }),
  );
  return { endpoint, schemas, types, disagreements };
}

async function prepareTypes(endpoint: Endpoint, entries: readonly TypeEntry[]): Promise<void> {
  for (const { before } of entries) {
    for (const statement of before ?? []) await endpoint.sql.run(statement);
  }
}

async function createTables(endpoint: Endpoint, entries: readonly TypeEntry[]): Promise<void> {
  for (const statement of createStatements(endpoint.kind, entries))
    await endpoint.sql.run(statement);
}

/** Tables `t0`, `t1` … with `id` and columns `c0`, `c1` … of these types, in their order. */
export function createStatements(
  kind: DatabaseKind,
  entries: readonly TypeEntry[],
): readonly string[] {
  const statements: string[] = [];
  for (let from = 0; from < entries.length; from += TYPES_IN_TABLE) {
    const columns = entries.slice(from, from + TYPES_IN_TABLE).map(({ declared }, i) => {
      // The first TIMESTAMP of a table that is not said to be NULL is filled by MariaDB itself.
      const nullable = kind !== "sqlite" && /^timestamp/.test(declared) ? " NULL" : "";
      return `c${i} ${declared}${nullable}`;
    });
    const list = ["id BIGINT NOT NULL PRIMARY KEY", ...columns].join(", ");
    statements.push(`CREATE TABLE t${from / TYPES_IN_TABLE} (${list})`);
  }
  return statements;
}

/** Each value in a row of its own, in tables as {@link createStatements} makes them. One with a name stops some sync: it is left out. */
export function fill(sql: SqlClient, entries: readonly TypeEntry[]): Promise<void> {
  return transaction(sql, async () => {
    for (const [n, { values }] of entries.entries()) {
      const { table, column } = placeOf(n);
      for (const [i, value] of values.entries()) {
        if (nameOf(value) !== null) continue;
        const row = `(${n * IDS + i}, ${sqlOf(value)})`;
        await sql.run(`INSERT INTO ${table} (id, ${column}) VALUES ${row}`);
      }
    }
  });
}

/** Where the type of this number stands. */
export function placeOf(n: number): { readonly table: string; readonly column: string } {
  return { table: `t${Math.floor(n / TYPES_IN_TABLE)}`, column: `c${n % TYPES_IN_TABLE}` };
}

/** Columns of a refused type are dropped, and told by `table.column`. */
async function describeAll(
  endpoint: Endpoint,
  tables: readonly string[],
): Promise<{
  readonly schemas: readonly TableSchema[];
  readonly refusals: ReadonlyMap<string, TidemarkError>;
}> {
  const refusals = new Map<string, TidemarkError>();
  for (;;) {
    try {
      const schemas = await endpoint.describe(tables);
      for (const schema of schemas) {
        refuseUnsupported(schema, schema.columns, { table: formatTable(schema.name) });
      }
      return { schemas, refusals };
    } catch (error) {
      if (!isTidemarkError(error, "TM-TYPE-UNSUPPORTED")) throw error;
      const table = String(error.details.table).split(".").at(-1);
      refusals.set(`${table}.${error.details.column}`, error);
      await endpoint.sql.run(`ALTER TABLE ${table} DROP COLUMN ${error.details.column}`);
    }
  }
}

interface ReadTable {
  readonly rows: readonly Row[];
  readonly byId: ReadonlyMap<number, Row>;
  /** Place of each column. */
  readonly places: ReadonlyMap<string, number>;
}

async function readAll(
  endpoint: Endpoint,
  schemas: readonly TableSchema[],
): Promise<ReadonlyMap<string, ReadTable>> {
  const tables = new Map<string, ReadTable>();
  for (const schema of schemas) {
    const rows = await endpoint.readTable(schema);
    tables.set(schema.name.name, {
      rows,
      byId: new Map(rows.map((row) => [Number(row[0]), row])),
      places: new Map(schema.columns.map(({ name }, i) => [name, i])),
    });
  }
  return tables;
}

function valueIn(
  tables: ReadonlyMap<string, ReadTable>,
  { table, column }: { readonly table: string; readonly column: string },
  n: number,
): Value {
  const read = tables.get(table);
  return read?.byId.get(idOf(column, n))?.[read.places.get(column) ?? -1] ?? null;
}

function idOf(column: string, n: number): number {
  return Number(column.slice(1)) * IDS + n;
}

/** One type in one target. */
export interface Arrival {
  readonly type: TypeAtSource;
  readonly mapping: ColumnMapping;
  /** As the target's own source half reads it, or why it was refused; empty when the type is. */
  readonly values: readonly Outcome[];
  /** Is a value another one when it comes among many fresh rows? */
  readonly freshDiffers: boolean;
  /** The same, at a database of the source's kind that got it from the target; null when not sent. */
  readonly back: readonly Outcome[] | null;
}

export interface CrossOptions {
  /** A target of the source's kind lacks the types that `before` makes. */
  readonly bare?: boolean;
  /** Statements that the target runs first. */
  readonly before?: readonly string[];
  /** Not back. */
  readonly oneWay?: boolean;
}

/** Sends all that a source holds to a fresh target, and from there to a fresh database of the source's kind. */
export async function cross(
  source: SourceReading,
  kind: DatabaseKind,
  { bare = false, before = [], oneWay = false }: CrossOptions = {},
): Promise<readonly Arrival[]> {
  const entries = source.types.map(({ entry }) => entry);
  await using target = await Endpoint.make(kind);
  const sameKind = source.endpoint.adapter.kind === target.adapter.kind;
  for (const statement of before) await target.sql.run(statement);
  if (sameKind && !bare) await prepareTypes(target, entries);
  const there = await Arrived.at(target, source.endpoint, source.schemas, source.types);
  const back = oneWay ? null : await comeBack(source, target, there);
  return source.types.map(
    (type): Arrival => ({
      type,
      mapping: there.mapping(type),
      values: there.values(type),
      freshDiffers: there.freshDiffers(type),
      back: back?.(type) ?? null,
    }),
  );
}

/** Into columns of the first type where they take what comes, else into such as are created. */
async function comeBack(
  source: SourceReading,
  from: Endpoint,
  there: Arrived,
): Promise<(type: TypeAtSource) => readonly Outcome[]> {
  const entries = source.types.map(({ entry }) => entry);
  await using home = await Endpoint.make(source.endpoint.kind);
  await prepareTypes(home, entries);
  await createTables(home, entries);
  const back = await Arrived.at(home, from, there.schemas, there.parcels);
  const rest = there.parcels.filter((parcel) => !back.has(parcel));
  const schemas = there.schemas.map((schema) => ({
    ...schema,
    columns: schema.columns.filter(
      ({ name }) =>
        name === "id" ||
        rest.some(({ table, column }) => table === schema.name.name && column === name),
    ),
  }));
  const created = await Arrived.at(home, from, schemas, rest, "u");
  return (type) => (back.has(type) ? back.values(type) : created.values(type));
}

/** So many rows that each target takes its path for bulk. */
const FRESH_ROWS = 210;
const FRESH_FROM = 100_000;

/** What came of some columns at a target. */
class Arrived {
  readonly schemas: readonly TableSchema[];
  /** Those that were not refused. */
  readonly parcels: readonly Parcel[];
  readonly #mappings: readonly ColumnMapping[];
  readonly #fresh: ReadonlySet<string>;

  static async at(
    to: Endpoint,
    from: Endpoint,
    schemas: readonly TableSchema[],
    parcels: readonly Parcel[],
    prefix = "t",
  ): Promise<Arrived> {
    const rename = (name: string) => prefix + name.slice(1);
    const tables = schemas.map((schema) => {
      const table = asked(schema, from, to);
      return { ...table, name: { ...table.name, name: rename(table.name.name) } };
    });
    await using receiver = await Receiver.open(to, tables);
    const delivered: Parcel[] = [];
    const fresh = new Set<string>();
    for (const table of receiver.tables) {
      const own = parcels.filter(
        (parcel) =>
          rename(parcel.table) === table.name.name &&
          table.columns.some(({ name }) => name === parcel.column),
      );
      for (const parcel of own) {
        delivered.push({ ...parcel, values: await deliver(receiver, table, parcel) });
      }
      for (const parcel of delivered.slice(-own.length)) {
        await deliverFresh(receiver, table, parcel);
      }
    }
    const there = await to.describe(receiver.tables.map(({ name }) => name.name));
    await to.capture(there);
    const read = await readAll(to, there);
    const arrived = delivered.map((parcel) => {
      const place = { table: rename(parcel.table), column: parcel.column };
      const values = parcel.values.map((value, n) =>
        isTidemarkError(value) ? value : valueIn(read, place, n),
      );
      if (freshDiffers(read, place, values)) fresh.add(keyOf(parcel));
      return { ...parcel, values };
    });
    return new Arrived(there, arrived, receiver.mappings, fresh);
  }

  private constructor(
    schemas: readonly TableSchema[],
    parcels: readonly Parcel[],
    mappings: readonly ColumnMapping[],
    fresh: ReadonlySet<string>,
  ) {
    this.schemas = schemas;
    this.parcels = parcels;
    this.#mappings = mappings;
    this.#fresh = fresh;
  }

  has(place: Parcel): boolean {
    return this.parcels.some((parcel) => keyOf(parcel) === keyOf(place));
  }

  values(place: Parcel): readonly Outcome[] {
    return this.parcels.find((parcel) => keyOf(parcel) === keyOf(place))?.values ?? [];
  }

  freshDiffers(place: Parcel): boolean {
    return this.#fresh.has(keyOf(place));
  }

  mapping(place: TypeAtSource): ColumnMapping {
    const found = this.#mappings.find(
      ({ table, column }) => table.name === place.table && column === place.column,
    );
    return (
      found ?? {
        table: { schema: null, name: place.table },
        column: place.column,
        sourceType: place.entry.declared,
        targetType: "",
        fidelity: "refused",
        note: place.refusal?.message ?? "",
      }
    );
  }
}

function keyOf({ table, column }: Parcel): string {
  return `${table}.${column}`;
}

/** Gives the values back, or the error in place of each that was refused. */
async function deliver(
  receiver: Receiver,
  table: BoundTable,
  { column, values }: Parcel,
): Promise<readonly Outcome[]> {
  const outcome = [...values];
  const rows = values.flatMap((value, n): [number, Row][] =>
    isTidemarkError(value) ? [] : [[n, rowOf(table, column, idOf(column, n), value)]],
  );
  try {
    await receiver.put(
      table,
      rows.map(([, row]) => row),
    );
  } catch {
    for (const [n, row] of rows) {
      await receiver.put(table, [row]).catch((error: unknown) => {
        if (!isTidemarkError(error)) throw error;
        outcome[n] = error;
      });
    }
  }
  return outcome;
}

/** The values that were taken, again and again, as rows that are most likely new. */
async function deliverFresh(
  receiver: Receiver,
  table: BoundTable,
  { column, values }: Parcel,
): Promise<void> {
  const rows = Array.from({ length: FRESH_ROWS }, (_, i): Row[] => {
    const value = values[i % values.length] ?? null;
    return isTidemarkError(value)
      ? []
      : [rowOf(table, column, FRESH_FROM + idOf(column, i), value)];
  });
  await receiver.put(table, rows.flat(), true);
}

function freshDiffers(
  read: ReadonlyMap<string, ReadTable>,
  place: { readonly table: string; readonly column: string },
  values: readonly Outcome[],
): boolean {
  return Array.from({ length: FRESH_ROWS }, (_, i) => {
    const value = values[i % values.length] ?? null;
    const id = FRESH_FROM + idOf(place.column, i);
    const table = read.get(place.table);
    const found = table?.byId.get(id)?.[table.places.get(place.column) ?? -1] ?? null;
    return !isTidemarkError(value) && JSON.stringify(found) !== JSON.stringify(value);
  }).includes(true);
}

function rowOf(table: BoundTable, column: string, id: number, value: Value): Row {
  return table.columns.map(({ name }) =>
    name === "id" ? String(id) : name === column ? value : null,
  );
}

/** As a failing test shows it. */
export function printOutcome(value: Outcome | undefined): string {
  if (value === undefined) return "nothing";
  if (isTidemarkError(value)) return value.code;
  const text = isTagged(value) ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
