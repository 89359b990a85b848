import type { Random } from "../../support/random.ts";
import type { SimulatedClock } from "./clock.ts";
import { type Shapes, TABLES, type Table } from "./shapes.ts";
import type { SourceDatabase, SourceTransaction } from "./source-database.ts";

const KEYS = 12;
/** Of a table without a key: few, so that rows are equal. Of one with a unique column: so few that they change hands. */
const BAG_VALUES = 5;
const UNIQUE_VALUES = 16;

export function keyOf(number: number): string {
  return String(number).padStart(2, "0");
}

/** Rows that stand before anybody captures. */
export function initialRows(random: Random, shapes: Shapes): Map<Table, Map<string, string>> {
  return new Map(
    TABLES.map((table) => {
      const numbers = Array.from({ length: KEYS }, (_, i) => i).filter(() => random.chance(0.6));
      const { hasKey, isUnique } = shapes[table];
      const value = (i: number) => (isUnique ? unique(i) : hasKey ? `before ${i}` : bag(random));
      return [table, new Map(numbers.map((i) => [keyOf(i), value(i)]))] as const;
    }),
  );
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
  if (random.chance(0.01)) {
    const keys = Array.from({ length: KEYS }, (_, number) => keyOf(number));
    if (keys.every((each) => source.lock(transaction, table, each))) {
      source.truncate(transaction, table);
    }
    return;
  }
  const key = keyOf(random.between(0, KEYS - 1));
  if (!source.lock(transaction, table, key)) return;
  const before = valueUnder(source, transaction, table, key);
  const other = keyOf(random.between(0, KEYS - 1));
  const { hasKey, isUnique } = source.shapes[table];
  const moves = hasKey && before !== null && other !== key && random.chance(0.15);
  if (moves && source.lock(transaction, table, other)) {
    if (valueUnder(source, transaction, table, other) === null) {
      source.move(transaction, table, key, other);
      return;
    }
  }
  const put = (value: string | null) => source.write(transaction, { table, key, value }, before);
  if (random.chance(0.25)) put(null);
  else if (!hasKey) put(bag(random));
  else if (!isUnique) put(value);
  else takeUnique(source, transaction, { table, key, before }, random);
}

/** Writes a value that no other row holds; one that does takes that of this row in exchange. */
function takeUnique(
  source: SourceDatabase,
  transaction: SourceTransaction,
  { table, key, before }: { table: Table; key: string; before: string | null },
  random: Random,
): void {
  const value = unique(random.between(0, UNIQUE_VALUES - 1));
  if (!source.lock(transaction, table, `= ${value}`)) return;
  const holder = Array.from({ length: KEYS }, (_, i) => keyOf(i)).find(
    (each) => valueUnder(source, transaction, table, each) === value,
  );
  if (holder === key) return;
  if (holder !== undefined && (before === null || !source.lock(transaction, table, holder))) return;
  source.write(transaction, { table, key, value }, before);
  if (holder === undefined) return;
  source.write(transaction, { table, key: holder, value: before }, value);
}

/** Null where the row does not stand for this transaction. */
function valueUnder(
  source: SourceDatabase,
  { writes }: SourceTransaction,
  table: Table,
  key: string,
): string | null {
  const own = writes.findLast((write) => write.table === table && write.key === key);
  return own === undefined ? source.get(table, key) : own.value;
}
