import type { Random } from "../../support/random.ts";
import type { SimulatedClock } from "./clock.ts";
import { Family } from "./family.ts";
import type { Rows } from "./oracle.ts";
import {
  CHILD,
  type ForeignKey,
  NOBODY,
  PARENT,
  referredTo,
  type Shapes,
  TABLES,
  type Table,
} from "./shapes.ts";
import { KEY_NAMES, type SourceDatabase, type SourceTransaction } from "./source-database.ts";

/** Of a table without a key: few, so that rows are equal. Of one with a unique column: so few that they change hands. */
const BAG_VALUES = 5;
const UNIQUE_VALUES = 16;

/** Rows that stand before anybody captures. */
export function initialRows(random: Random, shapes: Shapes): Map<Table, Map<string, string>> {
  const tables = new Map<Table, Map<string, string>>();
  for (const table of TABLES) {
    const keys = KEY_NAMES.filter(() => random.chance(0.6));
    const { hasKey, isUnique, foreignKey } = shapes[table];
    const value = (key: string) => {
      if (foreignKey !== null) return random.pick(parentsIn(tables.get(PARENT), foreignKey));
      return isUnique ? unique(Number(key)) : hasKey ? `before ${key}` : bag(random);
    };
    tables.set(table, new Map(keys.map((key) => [key, value(key)])));
  }
  return tables;
}

function parentsIn(rows: Rows | undefined, foreignKey: ForeignKey): readonly [string, ...string[]] {
  const referred = [...(rows ?? [])].map(([key, value]) => referredTo(foreignKey, key, value));
  return [NOBODY, ...referred];
}

const unique = (number: number) => `u${number}`;
const bag = (random: Random) => `v${random.between(0, BAG_VALUES - 1)}`;

export interface Client {
  readonly random: Random;
  readonly name: string;
  readonly untilMs: number;
  /** Between two transactions, at most. */
  readonly pauseMs: number;
}

/** One client of the application: transactions of a few changes, some long, some rolled back. */
export async function write(
  source: SourceDatabase,
  clock: SimulatedClock,
  { random, name, untilMs, pauseMs }: Client,
): Promise<void> {
  for (let number = 0; clock.now < untilMs; number++) {
    await clock.sleep(random.unit() * pauseMs);
    if (!source.up) continue;
    const transaction = source.begin();
    const changes = random.between(1, random.chance(0.05) ? 30 : 5);
    for (let i = 0; i < changes && source.isRunning(transaction); i++) {
      change(source, transaction, random, `${name}.${number}.${i}`);
      const isLong = random.chance(0.02);
      await clock.sleep(random.unit() * (isLong ? 1_500 : 6));
    }
    // A crash of the source has undone it.
    if (!source.isRunning(transaction)) continue;
    if (random.chance(0.1)) source.rollback(transaction);
    else source.commit(transaction);
  }
}

/** Writes what it can lock; nobody waits for a lock, so nobody can lock up. */
function change(
  source: SourceDatabase,
  transaction: SourceTransaction,
  random: Random,
  value: string,
): void {
  const table = random.pick(TABLES);
  const { foreignKey } = source.shapes[CHILD];
  const family = foreignKey === null ? null : new Family(source, transaction, foreignKey);
  /** Of its own rows, when others refer to them. */
  const asParent = table === PARENT ? family : null;
  if (random.chance(0.01)) {
    if (!KEY_NAMES.every((each) => source.lock(transaction, table, each))) return;
    if (asParent === null) source.truncate(transaction, table);
    else asParent.truncate();
    return;
  }
  const key = random.pick(KEY_NAMES);
  if (!source.lock(transaction, table, key)) return;
  const before = source.valueUnder(transaction, table, key);
  const other = random.pick(KEY_NAMES);
  const { hasKey, isUnique } = source.shapes[table];
  // A row that comes under the key of one that moved is not to be taken for it.
  const isFollowed = table === PARENT && foreignKey?.followsValues === true;
  const isMove = random.chance(isFollowed ? 0.35 : 0.15);
  const moves = isMove && hasKey && before !== null && other !== key;
  if (moves && source.lock(transaction, table, other)) {
    if (source.valueUnder(transaction, table, other) === null) {
      if (asParent === null) source.move(transaction, table, key, other);
      else asParent.move(key, other, random);
      return;
    }
  }
  const put = (value: string | null) => source.write(transaction, { table, key, value }, before);
  if (random.chance(0.25)) {
    if (asParent === null || before === null) put(null);
    else asParent.remove(key, before, random);
  } else if (table === CHILD && family !== null) {
    const parent = family.parentFor(key, random);
    if (parent !== null) put(parent);
  } else if (!hasKey) put(bag(random));
  else if (!isUnique) put(value);
  else takeUnique(source, transaction, { table, key, before, asParent }, random);
}

interface UniqueRow {
  readonly table: Table;
  readonly key: string;
  readonly before: string | null;
  /** Where others refer to its table. */
  readonly asParent: Family | null;
}

/** Writes a value that no other row holds; one that does takes that of this row in exchange. */
function takeUnique(
  source: SourceDatabase,
  transaction: SourceTransaction,
  { table, key, before, asParent }: UniqueRow,
  random: Random,
): void {
  const value = unique(random.between(0, UNIQUE_VALUES - 1));
  if (!source.lock(transaction, table, `= ${value}`)) return;
  const holder = KEY_NAMES.find((each) => source.valueUnder(transaction, table, each) === value);
  if (holder === key) return;
  if (holder !== undefined && (before === null || !source.lock(transaction, table, holder))) return;
  if (asParent?.lockFollowers([before, value]) === false) return;
  const put = (at: string, to: string | null, from: string | null) => {
    if (asParent === null) source.write(transaction, { table, key: at, value: to }, from);
    else asParent.change(at, to, from);
  };
  const aside = source.shapes[table].isUniqueLate ? value : `aside ${key}`;
  if (holder !== undefined && aside !== value) put(holder, aside, value);
  put(key, value, before);
  if (holder !== undefined) put(holder, before, aside);
}
