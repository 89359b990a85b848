import type { FunctionHooks } from "./function-target.ts";
import type { TablePlant } from "./shapes.ts";
import type { LogRow, Snapshot, SourceDatabase } from "./source-database.ts";
import type { CutRule, SourceHooks } from "./source-session.ts";
import type { TargetHooks } from "./target-server.ts";

/**
 * A fault built in on purpose, which the checker must find: mistakes that relays and appliers of this kind
 * are known for.
 */
export interface Plant {
  readonly what: string;
  /** Made for one world: a rule may remember what it has taken. */
  readonly source?: () => Partial<SourceHooks>;
  readonly target?: Partial<TargetHooks>;
  readonly function?: Omit<FunctionHooks, "onDelivery" | "onRepeat">;
  readonly purgesAtAppend?: boolean;
  readonly noticesEarly?: boolean;
  readonly tellsNobody?: boolean;
  readonly losesCutCommits?: boolean;
  readonly dropsAll?: boolean;
  readonly tables?: TablePlant;
}

export const NO_PLANT: Plant = { what: "nothing" };

export const PLANTS: Readonly<Record<string, Plant>> = {
  "id-polling": {
    what: "the log is read by id > last: what commits late under a lower id is passed by",
    source: () => ({ rule: idPolling() }),
  },
  "paged-read": {
    what: "a cut takes a page of the log: transactions are cut in two",
    source: () => ({ rule: pagedRead(4) }),
  },
  "horizon-by-id": {
    what: "only transactions older than the oldest that runs are read, by id > last: ids below are passed by",
    source: () => ({ rule: horizonById() }),
  },
  "horizon-by-transaction": {
    what: "as before, in the order of transaction ids: a row's older change may come after its newer one",
    source: () => ({ rule: horizonByTransaction() }),
  },
  "gap-expiry": {
    what: "a hole in the ids is passed by when it is old: a transaction that takes longer is lost",
    source: () => ({ rule: gapExpiry(100) }),
  },
  "purge-on-acknowledgement": {
    what: "the log is purged when the broker has acknowledged, not when the target has confirmed",
    purgesAtAppend: true,
  },
  "cut-not-durable": {
    what: "a cut does not make the commits before it durable: a crash of the source takes back what was sent",
    losesCutCommits: true,
  },
  "bound-untold": {
    what: "at its bound the log is purged, and the target that still needed it is not told",
    tellsNobody: true,
  },
  "batch-not-stored": {
    what: "a batch is published before the record of its cut is stored",
    source: () => ({ forgetsCuts: true }),
  },
  "filter-on-changes": {
    what: "a change whose row does not pass the filter is not sent: a row that leaves the filter stays at the target",
    source: () => ({ filtersChanges: true }),
  },
  "equal-rows-removed": {
    what: "without a key, a row that is deleted takes those equal to it along",
    target: { removesAllEqual: true },
  },
  "collision-passed-by": {
    what: "a row whose unique value another row still holds at the target is left out",
    target: { passesByCollisions: true },
  },
  "cascade-untold": {
    what: "a foreign key of the target carries deletions on, and the applier is not told: rows go that stay at the source",
    tables: { cascadesUntold: true },
  },
  "follow-untold": {
    what: "a foreign key of the target follows values that change, and the applier is not told: rows follow one that went and came back",
    tables: { followsUntold: true },
  },
  "altered-not-copied": {
    what: "a table that has got a column more is not copied anew: rows that have not changed since lack it",
    tables: { keepsAltered: true },
  },
  "parked-stays": {
    what: "a row that was set aside stays so when a newer state of it has come",
    target: { keepsParked: true },
  },
  "drop-takes-all": {
    what: "an order to drop some of the rows set aside drops all of them",
    dropsAll: true,
  },
  "function-not-awaited": {
    what: "nobody waits for a function that is a target: progress is stored of what it has not taken",
    function: { isNotAwaited: true },
  },
  "function-copied-over": {
    what: "a copy for a function does not begin with a clear: it keeps rows that went when nobody knew what it was handed",
    function: { copiesOver: true },
  },
  "progress-apart": {
    what: "progress is stored in a transaction of its own, after the rows",
    target: { splitsCommit: true },
  },
  "notice-before-commit": {
    what: "completion is told before the target has committed",
    noticesEarly: true,
  },
  "notice-before-durable": {
    what: "completion is told of commits that a crash of the target may take back",
    target: { flushesNothing: true },
  },
};

function idPolling(): CutRule {
  let last = 0;
  return (source) => {
    const rows = source.committedRows().filter(({ sequence }) => sequence > last);
    last = highest(rows, last);
    return { rows, snapshot: source.snapshot };
  };
}

function pagedRead(limit: number): CutRule {
  const taken = new Set<number>();
  return (source) => {
    const rows = source.committedRows().filter(({ sequence }) => !taken.has(sequence));
    const page = rows.slice(0, limit);
    for (const { sequence } of page) taken.add(sequence);
    return { rows: page, snapshot: source.snapshot };
  };
}

function horizonById(): CutRule {
  let last = 0;
  return (source) => {
    const snapshot = olderThanRunning(source);
    const isNext = (row: LogRow) => row.transaction < snapshot.next && row.sequence > last;
    const rows = source.committedRows().filter(isNext);
    last = highest(rows, last);
    return { rows, snapshot };
  };
}

function horizonByTransaction(): CutRule {
  let from = 0;
  return (source) => {
    const snapshot = olderThanRunning(source);
    const isNext = ({ transaction }: LogRow) => transaction >= from && transaction < snapshot.next;
    const rows = source.committedRows().filter(isNext);
    from = snapshot.next;
    const byTransaction = (a: LogRow, b: LogRow) =>
      a.transaction - b.transaction || a.sequence - b.sequence;
    return { rows: rows.sort(byTransaction), snapshot };
  };
}

function gapExpiry(patienceMs: number): CutRule {
  let next = 1;
  let missingSince: number | null = null;
  return (source) => {
    const committed = new Map(source.committedRows().map((row) => [row.sequence, row]));
    const rows: LogRow[] = [];
    while (next < source.nextSequence) {
      const row = committed.get(next);
      if (row === undefined) {
        missingSince ??= Date.now();
        if (Date.now() - missingSince < patienceMs) break;
      } else rows.push(row);
      missingSince = null;
      next++;
    }
    return { rows, snapshot: source.snapshot };
  };
}

/** Everything older than the oldest transaction that runs: all of it has ended. */
function olderThanRunning(source: SourceDatabase): Snapshot {
  const { next, running } = source.snapshot;
  return { next: Math.min(next, ...running), running: new Set() };
}

function highest(rows: readonly LogRow[], last: number): number {
  return rows.reduce((most, { sequence }) => Math.max(most, sequence), last);
}
