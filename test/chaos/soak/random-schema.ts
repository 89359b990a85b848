// A schema made by chance: tables of random column types with composite keys, unique keys, foreign
// keys, generated columns, defaults and triggers, some without any key. What a database or the plan refuses is taken out again.
import fc from "fast-check";
import { isTidemarkError } from "../../../src/core/errors.ts";
import { type Arrival, cross, readSource } from "../../matrix/crossing.ts";
import { MARIADB_TYPES, MYSQL_TYPES } from "../../matrix/mysql-types.ts";
import { POSTGRES_TYPES } from "../../matrix/postgres-types.ts";
import {
  MARIADB_RANDOM,
  MYSQL_RANDOM,
  POSTGRES_RANDOM,
  type RandomTypes,
  SQLITE_RANDOM,
} from "../../matrix/random-values.ts";
import { SQLITE_TYPES } from "../../matrix/sqlite-types.ts";
import { sqlOf, type TypeEntry } from "../../matrix/types.ts";
import type { DatabaseKind } from "../../servers/index.ts";
import type { Random } from "../../support/random.ts";
import { type Dialect, dialectOf } from "../../support/sql-client.ts";
import { type SoakTrigger, someTrigger } from "./application-triggers.ts";
import { SESSION } from "./sessions.ts";

export interface SoakColumn {
  readonly name: string;
  readonly declared: string;
  /** Values as SQL spells them; the target takes each. */
  readonly pool: readonly string[];
  readonly nullable: boolean;
  readonly hasDefault: boolean;
}

export interface SoakReference {
  readonly table: string;
  /** Of that table: its key, or its unique column. */
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly actions: string;
}

/**
 * Besides its own columns each table has `id` (part of its key, if it has one), `balance` and `n`. Rows of a
 * negative id are the writers' markers: their balances add up to the same sum over all tables.
 */
export interface SoakTable {
  readonly name: string;
  /** Empty: the table has none. */
  readonly key: readonly string[];
  readonly columns: readonly SoakColumn[];
  readonly unique: readonly string[];
  /** Is the unique key held at the end of a transaction only? */
  readonly uniqueLate: boolean;
  readonly reference: SoakReference | null;
  /** Of the application, at the source. */
  readonly trigger: SoakTrigger | null;
  /** Computed of `n`; how it is kept. */
  readonly generated: "STORED" | "VIRTUAL" | null;
  /** Does it hold markers? One without may be emptied as a whole. */
  readonly marked: boolean;
  /** Is it added to the sync only while that runs? */
  readonly late: boolean;
}

export interface SoakTypes {
  /** Statements that make types, at the source and at a target of its kind. */
  readonly before: readonly string[];
  readonly arrivals: readonly Arrival[];
}

interface Known {
  readonly types: readonly TypeEntry[];
  readonly random: RandomTypes;
}

const POSTGRES: Known = { types: POSTGRES_TYPES, random: POSTGRES_RANDOM };

const KNOWN: Readonly<Record<DatabaseKind, Known>> = {
  postgres: POSTGRES,
  "postgres-newest": POSTGRES,
  "postgres-oldest": POSTGRES,
  mysql: { types: MYSQL_TYPES, random: MYSQL_RANDOM },
  mariadb: { types: MARIADB_TYPES, random: MARIADB_RANDOM },
  sqlite: { types: SQLITE_TYPES, random: SQLITE_RANDOM },
};

const RANDOM_VALUES = 8;

/** Tens of kilobytes: hundreds of them in a table without a key would make a world last for minutes. */
const LONG = /REPEAT\(.*, \d{5,}\)/i;

/** Chooses types, and asks the target which of them, and which of their values, it takes. */
export async function chooseTypes(
  random: Random,
  { source, target }: { readonly source: DatabaseKind; readonly target: DatabaseKind },
  count: number,
): Promise<SoakTypes> {
  const known = KNOWN[source];
  const declared = [
    ...new Set([...known.types.map((each) => each.declared), ...Object.keys(known.random)]),
  ];
  // All of them: a type may be made of others.
  const before = [...new Set(known.types.flatMap((each) => each.before ?? []))];
  const entries = take(random, declared, count).map((name, i) => ({
    ...entryOf(known, name, random),
    ...(i === 0 ? { before } : {}),
  }));
  const reading = await readSource(source, entries, SESSION[dialectOf(source)]);
  try {
    const arrivals = await cross(reading, target, { oneWay: true });
    return {
      before,
      arrivals: arrivals.filter(
        ({ type, mapping }) => type.columnType !== null && mapping.fidelity !== "refused",
      ),
    };
  } finally {
    await reading.endpoint[Symbol.asyncDispose]();
  }
}

function entryOf(known: Known, declared: string, random: Random): TypeEntry {
  const entry = known.types.find((each) => each.declared === declared);
  const values = known.random[declared];
  const seed = random.between(0, 2 ** 31);
  const more = values === undefined ? [] : fc.sample(values, { seed, numRuns: RANDOM_VALUES });
  return {
    group: "",
    declared,
    // Named: each may be refused.
    values: [...(entry?.values ?? []).map(sqlOf), ...more].map((sql) => [sql, "a value"] as const),
  };
}

export function makeSchema(
  random: Random,
  dialect: Dialect,
  { arrivals }: SoakTypes,
  { mayExchange }: { readonly mayExchange: boolean },
): readonly SoakTable[] {
  const tables: SoakTable[] = [];
  const count = random.between(3, 5);
  for (let n = 0; n < count; n++) {
    const columns = take(random, arrivals, random.between(2, 5)).flatMap((arrival, i) =>
      columnOf(random, `c${i}`, arrival),
    );
    // Asked for in a NOT NULL column, MariaDB's TIMESTAMP has rules of its own.
    const typed = columns.filter(({ declared }) => !/^timestamp/i.test(declared));
    const wants = random.pick(["id", "id", "part", "typed", "none"]);
    const inKey = wants === "typed" ? typed.slice(0, 1).map(({ name }) => name) : [];
    const key = wants === "none" ? [] : ["id", ...(wants === "part" ? ["part"] : []), ...inKey];
    const keyed = key.length > 0;
    const last = n === count - 1;
    tables.push({
      name: `t${n}`,
      key: random.chance(0.3) ? [...key].reverse() : key,
      columns: columns.map((each) => (inKey.includes(each.name) ? required(each) : each)),
      unique:
        (dialect === "postgres" ? mayExchange : keyed) && random.chance(0.6)
          ? ["u", ...(random.chance(0.2) ? ["c1"] : [])]
          : [],
      uniqueLate: dialect === "postgres" && random.chance(0.3),
      reference: null,
      trigger: keyed && random.chance(0.3) ? someTrigger(random, dialect, n) : null,
      generated: random.chance(0.5) ? (dialect === "postgres" ? "STORED" : storedOr(random)) : null,
      marked: !last,
      late: n > 1 && !last && random.chance(0.6),
    });
  }
  return tables.map((table, n) => ({ ...table, reference: refer(random, dialect, tables, n) }));
}

function storedOr(random: Random): "STORED" | "VIRTUAL" {
  return random.pick(["STORED", "VIRTUAL"]);
}

function required(column: SoakColumn): SoakColumn {
  return { ...column, nullable: false, hasDefault: false };
}

function columnOf(random: Random, name: string, { type, values }: Arrival): SoakColumn[] {
  const pool = type.entry.values
    .filter(
      (value, n) =>
        !LONG.test(sqlOf(value)) && values[n] !== undefined && !isTidemarkError(values[n]),
    )
    .map(sqlOf);
  if (pool.length === 0) return [];
  const nullable = random.chance(0.75);
  return [{ name, declared: type.entry.declared, pool, nullable, hasDefault: random.chance(0.2) }];
}

/** To the key of an earlier table or of itself, made of whole numbers alone, or to its unique column. */
function refer(
  random: Random,
  dialect: Dialect,
  tables: readonly SoakTable[],
  n: number,
): SoakReference | null {
  const eligible = tables
    .slice(0, n + 1)
    .filter(
      ({ key, late }) =>
        key.length > 0 && key.every((name) => NUMBERS.has(name)) && (!late || tables[n]?.late),
    );
  const parent = eligible[random.between(0, Math.max(0, eligible.length - 1))];
  if (parent === undefined || !random.chance(0.8)) return null;
  const onDelete = random.pick(["CASCADE", "SET NULL", "NO ACTION"]);
  const onUpdate = random.pick(["CASCADE", "NO ACTION", "CASCADE"]);
  const byUnique = isOnly(parent.unique, "u") && !parent.uniqueLate && random.chance(0.3);
  const key = byUnique ? parent.unique : parent.key;
  const late = dialect !== "mariadb" && random.chance(0.3) ? LATE : "";
  return {
    table: parent.name,
    key,
    columns: key.map((name) => `up_${name}`),
    actions: `ON DELETE ${onDelete} ON UPDATE ${onUpdate}${late}`,
  };
}

function isOnly(names: readonly string[], name: string): boolean {
  return names.length === 1 && names[0] === name;
}

const NUMBERS = new Set(["id", "part"]);
const LATE = " DEFERRABLE INITIALLY DEFERRED";

/** Columns of whole numbers, by dialect. */
const WHOLE: Readonly<Record<Dialect, string>> = {
  postgres: "bigint",
  mariadb: "bigint",
  sqlite: "INTEGER",
};

export function createSql(dialect: Dialect, table: SoakTable): string {
  const whole = WHOLE[dialect];
  const lines = [
    `id ${whole} NOT NULL`,
    ...(table.key.includes("part") ? [`part ${whole} NOT NULL`] : []),
    `balance ${whole} DEFAULT 0 NOT NULL`,
    `n ${whole} DEFAULT 7`,
    ...(table.unique.length > 0 ? [`u ${whole}`] : []),
    ...(table.reference?.columns ?? []).map((name) => `${name} ${whole}`),
    ...table.columns.map((column) => columnSql(dialect, column)),
    ...(table.generated ? [`twice ${whole} GENERATED ALWAYS AS (n * 2) ${table.generated}`] : []),
    ...(table.key.length > 0 ? [`PRIMARY KEY (${table.key.join(", ")})`] : []),
    ...(table.unique.length > 0
      ? [`UNIQUE (${table.unique.join(", ")})${table.uniqueLate ? LATE : ""}`]
      : []),
  ];
  if (table.reference !== null) {
    const { key, columns, actions } = table.reference;
    lines.push(
      `FOREIGN KEY (${columns.join(", ")}) REFERENCES ${table.reference.table} (${key.join(", ")}) ${actions}`,
    );
  }
  return `CREATE TABLE ${table.name} (\n  ${lines.join(",\n  ")}\n)`;
}

function columnSql(dialect: Dialect, column: SoakColumn): string {
  // MariaDB gives a TIMESTAMP that is not said to be NULL a default of its own.
  const nullable = column.nullable ? (dialect === "sqlite" ? "" : " NULL") : " NOT NULL";
  const wanted = column.hasDefault ? ` DEFAULT (${column.pool[0]})` : "";
  return `${column.name} ${column.declared}${nullable}${wanted}`;
}

/**
 * The schema with less of what the database refuses in this table: the column named, where one is,
 * else what is least common first. Null when nothing is left to take out.
 */
export function weaken(table: SoakTable, column: string | null): SoakTable | null {
  if (column !== null && NUMBERS.has(column)) return null;
  if (column !== null && !table.columns.some(({ name }) => name === column)) return null;
  if (column !== null) {
    if (table.key.includes(column)) {
      return { ...table, key: table.key.filter((name) => name !== column) };
    }
    return {
      ...table,
      columns: table.columns.filter(({ name }) => name !== column),
      unique: table.unique.filter((name) => name !== column),
    };
  }
  if (table.trigger !== null) return { ...table, trigger: null };
  if (table.key.length === 0) return { ...table, key: ["id"] };
  if (table.unique.length > 1) return { ...table, unique: ["u"] };
  const typed = table.key.find((name) => !NUMBERS.has(name));
  if (typed !== undefined) return { ...table, key: table.key.filter((name) => name !== typed) };
  if (table.columns.some(({ hasDefault }) => hasDefault)) {
    return { ...table, columns: table.columns.map((each) => ({ ...each, hasDefault: false })) };
  }
  if (table.reference !== null) return { ...table, reference: null };
  if (table.columns.length > 0) return { ...table, columns: table.columns.slice(0, -1) };
  return null;
}

/** So many of them, each once, in their order. */
function take<T>(random: Random, items: readonly T[], count: number): readonly T[] {
  const left = [...items];
  while (left.length > count) left.splice(random.between(0, left.length - 1), 1);
  return left;
}
