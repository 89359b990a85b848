import { TidemarkError } from "../core/errors.ts";
import type { ParkedRows } from "../core/parked.ts";
import { shellWord } from "../core/shell.ts";
import type { ApplierSession, BoundTable, Progress } from "../core/target.ts";
import type { SyncTable } from "./mapping.ts";
import type { NoticeWriter } from "./notice-writer.ts";
import type { ApplierOptions } from "./options.ts";

export interface ResyncParts {
  readonly sync: string;
  /** All of the sync, parents before children. */
  readonly tables: readonly SyncTable[];
  /** Where rows set aside are kept, as the session knows it; null where nothing can be. */
  readonly parked: { readonly rows: ParkedRows; readonly bound: BoundTable } | null;
}

/** What has a sync begin anew: one that holds no copy joins the stream wherever that is. */
export function resyncAll(sync: string): string {
  return `tidemark resync '*' --sync ${shellWord(sync)}, then tidemark run`;
}

/** Who asks may have another config. `names`: source tables. Throws TM-USAGE. */
export function mustHave(tables: readonly SyncTable[], names: readonly string[]): void {
  const missing = names.find((name) => !tables.some(({ source }) => source === name));
  if (missing === undefined) return;
  throw new TidemarkError(
    "TM-USAGE",
    `The applier at work does not have ${missing}: it was started with another config. Nothing was emptied.`,
    { fix: "Start it again with this config, then resync." },
  );
}

/** Soon less can be read than was told: nobody who waits may be told so any more. `emptied`: source tables. */
export async function withdraw(
  { session, notices }: { readonly session: ApplierSession; readonly notices: NoticeWriter },
  { sync, from: source, tables, fingerprint }: ApplierOptions,
  emptied: ReadonlySet<string>,
): Promise<void> {
  const { timeline, position, hash, tables: states } = await session.load();
  // A notice tells only what the target cannot lose.
  await session.flush();
  const live = new Set(states.filter(({ state }) => state === "live").map(({ table }) => table));
  const pending = tables.filter((table) => emptied.has(table.source) || !live.has(table.source));
  const tablesPending = pending.length;
  const at = new Date().toISOString();
  const reached = { sync, source, timeline, position, hash };
  notices.put({ ...reached, at, lagMs: 0, tablesPending, fingerprint });
  await notices.settled();
}

/**
 * Empties tables of a sync at its target and forgets that they were copied, in one transaction: whoever goes on
 * from there copies them as if they had just come to the sync. Changes logged before that copy are passed by, so
 * it does not matter what of them was lost. `names`: source tables. Resolves when the target cannot lose it.
 * Throws TM-APPLY-CONSTRAINT. Afterwards the session is of no more use to an applier: what it knows of the
 * tables no longer holds.
 */
export async function emptyForResync(
  session: ApplierSession,
  { sync, tables, parked }: ResyncParts,
  names: ReadonlySet<string>,
): Promise<void> {
  const progress = await session.load();
  const aside = ((await parked?.rows.list(sync)) ?? []).filter(({ table }) => names.has(table));
  const transaction = await session.begin(progress, { relaxed: true });
  try {
    for (const { source, bound } of [...tables].reverse()) {
      // There the copy begins with a clear. One handed over before it is stored that a copy is due may be all that comes.
      if (!names.has(source) || session.mayHoldMore === true) continue;
      if (transaction.enforcing && bound.cascades) throw wouldCascade(source);
      await transaction.attempt(() => transaction.clear(bound));
    }
    if (parked !== null && aside.length > 0) {
      const rows = aside.map(({ id }) => [sync, id]);
      await transaction.attempt(() => transaction.remove(parked.bound, rows));
    }
    const kept: Progress = {
      ...progress,
      tables: progress.tables.filter(({ table }) => !names.has(table)),
    };
    await transaction.commit(kept);
  } catch (error) {
    await transaction.rollback().catch(() => {});
    throw error;
  }
  await session.flush();
}

function wouldCascade(table: string): TidemarkError {
  return new TidemarkError(
    "TM-APPLY-CONSTRAINT",
    `${table} cannot be emptied at the target: a foreign key there would delete or change rows of other tables with it.`,
    {
      fix: "GRANT SET ON PARAMETER session_replication_role to the applier's role (PostgreSQL 15 and later), or make that foreign key ON DELETE NO ACTION for the time being.",
      details: { table },
    },
  );
}
