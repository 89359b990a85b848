import type { Random } from "../../support/random.ts";
import type { SimulatedClock } from "./clock.ts";
import {
  type SourceDatabase,
  type SourceTransaction,
  TABLES,
  type Table,
} from "./source-database.ts";

const KEYS = 12;

export function keyOf(number: number): string {
  return String(number).padStart(2, "0");
}

/** Rows that stand before anybody captures. */
export function initialRows(random: Random): Map<Table, Map<string, string>> {
  return new Map(
    TABLES.map((table) => {
      const keys = Array.from({ length: KEYS }, (_, i) => keyOf(i)).filter(() =>
        random.chance(0.6),
      );
      return [table, new Map(keys.map((key) => [key, "before"]))] as const;
    }),
  );
}

/** One client of the application: transactions of a few changes, some long, some rolled back. */
export async function write(
  source: SourceDatabase,
  clock: SimulatedClock,
  { random, name, untilMs }: { random: Random; name: string; untilMs: number },
): Promise<void> {
  for (let number = 0; clock.now < untilMs; number++) {
    await clock.sleep(random.unit() * 60);
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
  const standing = stands(source, transaction, table, key);
  const other = keyOf(random.between(0, KEYS - 1));
  const moves = standing && other !== key && random.chance(0.15);
  if (moves && source.lock(transaction, table, other)) {
    if (!stands(source, transaction, table, other)) {
      source.move(transaction, table, key, other);
      return;
    }
  }
  const deletes = random.chance(0.25);
  source.write(transaction, { table, key, value: deletes ? null : value }, standing);
}

function stands(
  source: SourceDatabase,
  { writes }: SourceTransaction,
  table: Table,
  key: string,
): boolean {
  const own = writes.findLast((write) => write.table === table && write.key === key);
  return own === undefined ? source.get(table, key) !== null : own.value !== null;
}
