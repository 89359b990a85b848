import { isTidemarkError, TidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import type { BoundTable, Progress, TargetTransaction } from "../core/target.ts";
import { type Row, UNCHANGED } from "../core/value.ts";
import type { SyncTable } from "./mapping.ts";
import { type NetEffect, type RowOutcome, surplus, type TableEffect } from "./net-effect.ts";

/**
 * Applies a net effect inside a transaction, in the first of these ways that no constraint objects to:
 *
 * 1. as sets;
 * 2. change by change in log order, which is legal wherever the target's constraints hold at the
 *    source too, row by row;
 * 3. anew: every row touched is deleted, then those that stand are inserted. Legal wherever the end is.
 *
 * `tables`: all of the sync, parents before children. `before`: what is being applied, and comes first; the first way is
 * sent behind it, if the target can, before it is done. Throws what that throws.
 */
export async function applyEffect(
  transaction: TargetTransaction,
  effect: NetEffect,
  tables: readonly SyncTable[],
  before: Promise<void> = Promise.resolve(),
): Promise<void> {
  const sent = transaction.attemptBehind?.(() => applySets(transaction, effect, tables));
  // Whatever comes of it, it is over before anything else is sent.
  const [first] = await Promise.allSettled([before, sent]);
  if (first.status === "rejected") throw first.reason;
  let objection: unknown;
  for (const apply of waysToApply(transaction, effect, tables, sent)) {
    try {
      return await apply();
    } catch (error) {
      if (!isTidemarkError(error, "TM-APPLY-CONSTRAINT")) throw error;
      objection = error;
    }
  }
  throw objection;
}

/** One after the other, since the first nearly always does. `sent`: was it done behind the one before? */
function* waysToApply(
  transaction: TargetTransaction,
  effect: NetEffect,
  tables: readonly SyncTable[],
  sent: Promise<boolean> | undefined,
): Generator<() => Promise<void>> {
  yield async () => {
    if (await sent) return;
    await transaction.attempt(() => applySets(transaction, effect, tables));
  };
  if (mayStepThrough(transaction, effect, tables))
    yield () => transaction.attempt(() => applyOrdered(transaction, effect));
  if (mayWriteAnew(transaction, effect))
    yield () => transaction.attempt(() => applyAnew(transaction, effect, tables));
}

/** Are there keys given up whose deletion a foreign key of the target would carry on to other rows? */
export function movesReferredKeys(effect: NetEffect): boolean {
  return effect.tables.some(({ table, moves }) => moves && table.bound.cascades);
}

/**
 * Would a foreign key of the target change rows of a table without a key, or take their reference away? They are told
 * by what they are: those that were changed already are not found when their own change comes.
 */
export function changesKeyless(effect: NetEffect, tables: readonly SyncTable[]): boolean {
  const parents = new Set(
    tables
      .filter(({ bound }) => bound.key.length === 0)
      .flatMap(({ bound }) => bound.parents.map((index) => tables[index])),
  );
  return effect.tables.some(({ table, rows }) => {
    const { followed, cascades } = table.bound;
    if (!parents.has(table) || !(followed || cascades)) return false;
    return [...rows.values()].some(({ row, fresh }) =>
      row === null ? cascades : followed && !fresh,
    );
  });
}

/** A key that is given up, or comes back, must not take with it what refers to it. */
function mayStepThrough(
  { enforcing }: TargetTransaction,
  effect: NetEffect,
  tables: readonly SyncTable[],
): boolean {
  if (!enforcing) return true;
  if (changesKeyless(effect, tables)) return false;
  return !effect.tables.some(
    ({ table, moves, returns }) => table.bound.cascades && (moves || returns),
  );
}

/** Rows of which only a part is known cannot be inserted. */
function mayWriteAnew({ enforcing }: TargetTransaction, effect: NetEffect): boolean {
  if (enforcing && effect.tables.some(({ table }) => table.bound.cascades)) return false;
  return effect.ordered.every(({ row }) => row === null || !row.includes(UNCHANGED));
}

/**
 * Applies a net effect that is all there is to the transaction, and commits, in one go. False when a
 * constraint objects: the transaction is undone, and the other ways are to be tried in a new one.
 */
export async function commitAtOnce(
  finish: NonNullable<TargetTransaction["finish"]>,
  transaction: TargetTransaction,
  work: {
    readonly effect: NetEffect;
    readonly tables: readonly SyncTable[];
    readonly next: Progress;
  },
): Promise<boolean> {
  const sets = async () => {
    await applySets(transaction, work.effect, work.tables);
    failpoint("commit-due");
  };
  try {
    await finish.call(transaction, sets, work.next);
    return true;
  } catch (error) {
    if (!isTidemarkError(error, "TM-APPLY-CONSTRAINT")) throw error;
    return false;
  }
}

/**
 * Children go before parents, parents come before children: foreign keys hold at every statement. What a foreign
 * key would carry on to other rows goes last: a child may have left its parent for another one before that went.
 */
async function applySets(
  transaction: TargetTransaction,
  effect: NetEffect,
  tables: readonly SyncTable[],
): Promise<void> {
  const present = inOrder(effect, tables);
  if (transaction.enforcing) for (const entry of present) mustNotMislead(entry);
  const late = transaction.enforcing
    ? present.filter(
        ({ table, moves }) => table.bound.cascades || (moves && isReferredTo(table, tables)),
      )
    : [];
  // What foreign keys would change while the parents are written stands aside meanwhile.
  const touched = ({ table }: TableEffect) =>
    transaction.enforcing &&
    table.bound.parents.some((index) => {
      const { followed = false, cascades = false } = tables[index]?.bound ?? {};
      return followed || cascades;
    });
  const goesLate = ({ table }: TableEffect, { row, moved }: RowOutcome) =>
    row === null && (table.bound.cascades || moved);
  for (const entry of [...present].reverse()) {
    if (entry.clear) await transaction.clear(entry.table.bound);
    else {
      const first = transaction.enforcing && mayTakeAlong(entry.table.bound);
      const isLate = late.includes(entry);
      const which = (outcome: RowOutcome) =>
        outcome.row === null ? !(isLate && goesLate(entry, outcome)) : outcome.returned && first;
      await removeSet(transaction, entry, { which, touched: touched(entry) });
    }
  }
  const rows = present.reduce((sum, { rows, balances }) => sum + rows.size + balances.size, 0);
  for (const entry of present) {
    await putSet(transaction, entry, { manyRows: rows * MOSTLY, touched: touched(entry) });
  }
  if (transaction.enforcing) await putFollowers(transaction, present, tables);
  // Only now does nothing refer to these any more.
  for (const entry of late.reverse()) {
    const which = (outcome: RowOutcome) => goesLate(entry, outcome);
    if (!entry.clear) await removeSet(transaction, entry, { which, touched: false });
  }
}

/**
 * Throws TM-APPLY-CONSTRAINT where a row has moved to another key, and another came under its old one. Written over it, this
 * one would let follow what refers to other columns of the row that moved; and where deletions, too, are carried on, it
 * cannot go first.
 */
function mustNotMislead({ table, replaces }: TableEffect): void {
  const { followed, cascades } = table.bound;
  if (!replaces || !followed || !cascades) return;
  throw new TidemarkError(
    "TM-APPLY-CONSTRAINT",
    `A row of ${table.source} has another key now, and another row came under its old one: a foreign key of the target would let rows that refer to the first follow the second.`,
    {
      fix: "Let the applier put foreign keys off: see docs/errors/TM-APPLY-CONSTRAINT.md.",
      details: { table: table.source },
    },
  );
}

/**
 * A row that was written with its last value may have followed one that was written later and gave that value
 * up to another: in a table that refers to itself, and in a circle of tables. Nothing moves any more when all of these are
 * written once more. In log order it cannot be: there a value is free before it is given to another.
 */
async function putFollowers(
  transaction: TargetTransaction,
  present: readonly TableEffect[],
  tables: readonly SyncTable[],
): Promise<void> {
  const moved = new Set(present.filter(isFollowed).map(({ table }) => table));
  if (moved.size === 0) return;
  for (const { table, rows } of present) {
    const later = table.bound.parents.filter((index) => index > tables.indexOf(table));
    const followed = [table, ...later.flatMap((index) => tables[index] ?? [])];
    if (!followed.some((each) => moved.has(each))) continue;
    const standing = [...rows.values()].flatMap(({ row }) => (row === null ? [] : [row]));
    if (standing.length > 0) await transaction.put(table.bound, standing);
  }
}

/** Were rows written over whose columns a foreign key of the target makes other rows follow? */
function isFollowed({ table, rows }: TableEffect): boolean {
  if (!table.bound.followed) return false;
  return [...rows.values()].some(({ row, fresh }) => row !== null && !fresh);
}

/**
 * Written over the row that stands, would one that was gone in between take along what follows its columns?
 * Where a deletion, too, is carried on, the source has carried it on as well, and no row is left to follow.
 */
export function mayTakeAlong({ followed, cascades }: BoundTable): boolean {
  return followed && !cascades;
}

/**
 * A fast path for fresh rows waits for the target several times, where all else is sent at once: worth
 * it only when they are most of the work.
 */
const MOSTLY = 2 / 3;

export function isReferredTo(table: SyncTable, tables: readonly SyncTable[]): boolean {
  return tables.some(({ bound }) => bound.parents.some((index) => tables[index] === table));
}

function inOrder(effect: NetEffect, tables: readonly SyncTable[]): TableEffect[] {
  const byTable = new Map(effect.tables.map((entry) => [entry.table, entry]));
  return tables.flatMap((table) => byTable.get(table) ?? []);
}

async function removeSet(
  transaction: TargetTransaction,
  entry: TableEffect,
  { which, touched }: { which: (outcome: RowOutcome) => boolean; touched: boolean },
): Promise<void> {
  const gone = surplus(entry, "went", { touched });
  for (const outcome of entry.rows.values()) {
    if (which(outcome)) gone.push(outcome.key);
  }
  if (gone.length > 0) await transaction.remove(entry.table.bound, gone);
}

async function putSet(
  transaction: TargetTransaction,
  entry: TableEffect,
  { manyRows, touched }: { manyRows: number; touched: boolean },
): Promise<void> {
  const fresh = surplus(entry, "came", { touched });
  const known: Row[] = [];
  for (const outcome of entry.rows.values()) {
    if (outcome.row !== null) (outcome.fresh || entry.clear ? fresh : known).push(outcome.row);
  }
  // Rows that existed give up unique values before new rows claim them.
  if (known.length > 0) await transaction.put(entry.table.bound, known);
  if (fresh.length > 0) {
    await transaction.put(entry.table.bound, fresh, { fresh: fresh.length >= manyRows });
  }
}

async function applyOrdered(transaction: TargetTransaction, effect: NetEffect): Promise<void> {
  for (const { table, clear, gone, row } of effect.ordered) {
    if (clear) await transaction.clear(table.bound);
    if (gone.length > 0) await transaction.remove(table.bound, gone);
    if (row !== null) await transaction.put(table.bound, [row]);
  }
}

async function applyAnew(
  transaction: TargetTransaction,
  effect: NetEffect,
  tables: readonly SyncTable[],
): Promise<void> {
  const present = inOrder(effect, tables);
  for (const entry of [...present].reverse()) {
    const { table, clear, rows } = entry;
    const touched = [...rows.values()].map(({ key }) => key);
    if (clear) await transaction.clear(table.bound);
    else await transaction.remove(table.bound, [...touched, ...surplus(entry, "went")]);
  }
  for (const entry of present) {
    const { table, rows } = entry;
    const known = [...rows.values()].flatMap(({ row }) => (row === null ? [] : [row]));
    const standing = [...known, ...surplus(entry, "came")];
    if (standing.length > 0) await transaction.put(table.bound, standing, { fresh: true });
  }
}
