import { isTidemarkError } from "../core/errors.ts";
import type { TargetTransaction } from "../core/target.ts";
import type { Row } from "../core/value.ts";
import type { SyncTable } from "./mapping.ts";
import type { NetEffect, TableEffect } from "./net-effect.ts";

/**
 * Applies a net effect inside a transaction: as sets first; when a constraint objects, change by
 * change in log order, which is legal wherever the target's constraints hold at the source too.
 *
 * `tables`: all of the sync, parents before children.
 */
export async function applyEffect(
  transaction: TargetTransaction,
  effect: NetEffect,
  tables: readonly SyncTable[],
): Promise<void> {
  try {
    await transaction.attempt(() => applySets(transaction, effect, tables));
  } catch (error) {
    if (!isTidemarkError(error, "TM-APPLY-CONSTRAINT")) throw error;
    await transaction.attempt(() => applyOrdered(transaction, effect));
  }
}

/** Children go before parents, parents come before children: foreign keys hold at every statement. */
async function applySets(
  transaction: TargetTransaction,
  effect: NetEffect,
  tables: readonly SyncTable[],
): Promise<void> {
  const byTable = new Map(effect.tables.map((entry) => [entry.table, entry]));
  const present = tables.flatMap((table) => byTable.get(table) ?? []);
  for (const entry of [...present].reverse()) await removeSet(transaction, entry);
  for (const entry of present) await putSet(transaction, entry);
}

async function removeSet(transaction: TargetTransaction, entry: TableEffect): Promise<void> {
  if (entry.clear) return transaction.clear(entry.table.bound);
  const gone = [...entry.rows.values()].filter(({ row }) => row === null);
  if (gone.length > 0)
    await transaction.remove(
      entry.table.bound,
      gone.map(({ key }) => key),
    );
}

async function putSet(transaction: TargetTransaction, entry: TableEffect): Promise<void> {
  const fresh: Row[] = [];
  const known: Row[] = [];
  for (const outcome of entry.rows.values()) {
    if (outcome.row !== null) (outcome.fresh || entry.clear ? fresh : known).push(outcome.row);
  }
  // Rows that existed give up unique values before new rows claim them.
  if (known.length > 0) await transaction.put(entry.table.bound, known);
  if (fresh.length > 0) await transaction.put(entry.table.bound, fresh, { fresh: true });
}

async function applyOrdered(transaction: TargetTransaction, effect: NetEffect): Promise<void> {
  for (const { table, clear, gone, row } of effect.ordered) {
    if (clear) await transaction.clear(table.bound);
    if (gone.length > 0) await transaction.remove(table.bound, gone);
    if (row !== null) await transaction.put(table.bound, [row]);
  }
}
