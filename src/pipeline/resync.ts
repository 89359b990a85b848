import { emptyForResync } from "../applier/resync.ts";
import { withdrawNotice } from "../applier/withdraw-notice.ts";
import { matcher } from "../config/patterns.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { keys, type ResyncOrder, type SourceStatus, type SyncStatus } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { HEARD_WITHIN_MS } from "../core/pace.ts";
import { boundParked } from "../core/parked.ts";
import type { Queue } from "../core/queue.ts";
import { refusedError } from "../core/status-error.ts";
import { formatTable, type TableName } from "../core/table.ts";
import { askApplier } from "./ask-applier.ts";
import { Databases, using } from "./connect.ts";
import { prepare } from "./prepare.ts";
import { type PreparedSync, refuse } from "./prepare-target.ts";

/** What is, or was, emptied. */
export interface Resynced {
  readonly sync: string;
  /** Source tables. */
  readonly tables: readonly string[];
}

export interface ResyncPlan {
  readonly syncs: readonly Resynced[];
  /** Where there is nothing to empty: none of these tables was ever copied, nor holds rows at the target. */
  readonly never: readonly Resynced[];
  /**
   * Empties the tables at their targets, by the applier where one is at work, so that they are copied anew. Where
   * every sync of a table does, its source forgets how it was captured: a relay that stopped because
   * changes went by unseen starts again. Throws TM-WAIT-TIMEOUT, TM-APPLY-CONSTRAINT; TM-USAGE where the applier at work
   * does not have a table. `queue`: null where there is none yet.
   */
  run(queue: Queue | null, timeoutMs: number): Promise<void>;
}

export interface ResyncOptions {
  /** Names or globs of source tables. */
  readonly tables: readonly string[];
  /** Only this one. */
  readonly sync?: string | undefined;
  readonly logger: Logger;
}

/** A table of a sync that is to be emptied. */
interface Chosen {
  readonly prepared: PreparedSync;
  readonly names: readonly TableName[];
}

/** Looks up what is meant; changes nothing. Throws TM-USAGE, TM-TABLE-MISSING, TM-COLUMN-UNFIT, TM-CONNECT-FAILED. */
export async function planResync(
  definition: PipelineDefinition,
  { tables, sync, logger }: ResyncOptions,
): Promise<ResyncPlan> {
  const databases = new Databases(definition, logger);
  if (sync !== undefined) mustKnow(definition, sync);
  const prepared = await prepare(definition, databases, { create: false });
  const all = prepared.syncs.map((each) => choose(each, tables));
  const named = all.filter(
    ({ prepared, names }) =>
      names.length > 0 && (sync === undefined || prepared.resolved.definition.name === sync),
  );
  for (const table of tables) mustMatch(table, named);
  const chosen: Chosen[] = [];
  const never: Chosen[] = [];
  for (const each of named) ((await isNever(each, databases)) ? never : chosen).push(each);
  // What cannot be written cannot be emptied either.
  for (const { prepared } of chosen) {
    const { resolved, plan } = prepared;
    refuse(
      resolved.definition,
      plan.mappings.filter(({ targetType }) => targetType === ""),
    );
  }
  return {
    syncs: chosen.map(resynced),
    never: never.map(resynced),
    run: async (queue, timeoutMs) => {
      for (const each of chosen) {
        const { to } = each.prepared.resolved.definition;
        // Without a queue nothing was handed to a function.
        if (queue === null && databases.kindOf(to) === "function") continue;
        await empty(each, { databases, queue, timeoutMs });
      }
      for (const [source, names] of wholly(named, all)) {
        await forget({ databases, queue, definition }, source, names);
      }
    },
  };
}

function resynced({ prepared, names }: Chosen): Resynced {
  return { sync: prepared.resolved.definition.name, tables: names.map(formatTable) };
}

/** Emptied all the same, it would have our tables made at the target, or the file of an SQLite one. */
async function isNever(
  { prepared: { resolved, tables }, names }: Chosen,
  databases: Databases,
): Promise<boolean> {
  const { name: sync, to } = resolved.definition;
  const asked = new Set(names.map(formatTable));
  return using(databases.openTarget(to, null), async (target) => {
    const copies = await target.copiesOf(sync);
    // Of a function it is not known here.
    if (copies === null || copies.some(({ table }) => asked.has(table))) return false;
    const bound = tables.filter(({ source }) => asked.has(source)).map((table) => table.bound);
    const parked = (await target.parked?.list(sync)) ?? [];
    return (
      (await target.filled(bound)).length === 0 && !parked.some(({ table }) => asked.has(table))
    );
  });
}

function choose(prepared: PreparedSync, patterns: readonly string[]): Chosen {
  const matchers = patterns.map(matcher);
  const names = prepared.resolved.tables
    .map(({ schema }) => schema.name)
    .filter((name) => matchers.some((matches) => matches(name)));
  return { prepared, names };
}

function mustKnow({ syncs }: PipelineDefinition, name: string): void {
  if (syncs.some((sync) => sync.name === name)) return;
  throw new TidemarkError("TM-USAGE", `No sync is named "${name}".`, {
    fix: `Known: ${syncs.map((sync) => sync.name).join(", ")}.`,
  });
}

function mustMatch(pattern: string, chosen: readonly Chosen[]): void {
  const matches = matcher(pattern);
  if (chosen.some(({ names }) => names.some(matches))) return;
  throw new TidemarkError("TM-USAGE", `No table of these syncs is named "${pattern}".`, {
    fix: "Name tables as they are named at the source; tidemark status --json lists them.",
  });
}

async function empty(
  { prepared: { resolved, plan, tables }, names }: Chosen,
  {
    databases,
    queue,
    timeoutMs,
  }: { readonly databases: Databases; readonly queue: Queue | null; readonly timeoutMs: number },
): Promise<void> {
  const { name: sync, to } = resolved.definition;
  const asked = names.map(formatTable);
  const isHeld = await using(databases.openTarget(to, queue), async (target) => {
    // Our tables may have gone at the target, and that be the very reason for this.
    if (plan.statements.length > 0) await target.prepare(plan);
    const rows = target.parked;
    const parked = rows === null ? null : { rows, bound: boundParked(rows.table) };
    const bound = [...plan.tables, ...(parked === null ? [] : [parked.bound])];
    const session = await target.openApplier(sync, bound);
    if (session === null) return true;
    if (queue !== null && session.mayHoldMore === true && (await isAtWork(queue, sync))) {
      await session.close();
      return true;
    }
    return using(Promise.resolve(session), async () => {
      if (queue !== null)
        await withdrawNotice(session, queue.documents, { sync, tablesPending: asked.length });
      await emptyForResync(session, { sync, tables, parked }, new Set(asked));
      return false;
    });
  });
  if (!isHeld) return;
  const order: ResyncOrder = {
    ...{ askedAt: new Date().toISOString(), action: "resync" },
    ...{ tables: asked, answer: null },
  };
  const { error } = await askApplier(queue, sync, order, timeoutMs);
  if (error === null) return;
  throw refusedError(sync, error);
}

/**
 * Nothing keeps two that call a function apart, so no lease tells whether an applier is at work. What it keeps in mind
 * would be written over what is done here: it is to do it.
 */
function isAtWork(queue: Queue, sync: string): Promise<boolean> {
  return isHeard(queue, keys.applier(sync));
}

/** One that was killed says that it works just as well: it is listened to. */
async function isRelayAtWork(queue: Queue, source: string): Promise<boolean> {
  const key = keys.relay(source);
  const status = (await queue.documents.get(key)) as SourceStatus | null;
  if (status === null || status.state === "stopped") return false;
  return isHeard(queue, key);
}

async function isHeard(queue: Queue, key: string): Promise<boolean> {
  const signal = AbortSignal.timeout(HEARD_WITHIN_MS);
  let known: string | null | undefined;
  for await (const { value } of queue.documents.watch(key, signal)) {
    const status = value as Pick<SyncStatus, "heartbeatAt"> | null;
    if (known !== undefined && status !== null && status.heartbeatAt !== known) return true;
    known = status?.heartbeatAt ?? null;
  }
  return false;
}

/** By source, the tables that no other sync relies on as they were captured. */
function wholly(
  chosen: readonly Chosen[],
  all: readonly Chosen[],
): ReadonlyMap<string, readonly TableName[]> {
  const found = new Map<string, TableName[]>();
  for (const { prepared, names } of chosen) {
    const { from } = prepared.resolved.definition;
    const others = all.filter(
      (each) => each.prepared.resolved.definition.from === from && !chosen.includes(each),
    );
    const kept = new Set(others.flatMap((each) => each.names.map(formatTable)));
    const free = names.filter((name) => !kept.has(formatTable(name)));
    found.set(from, [...(found.get(from) ?? []), ...free]);
  }
  return found;
}

/** A relay that holds the source's lease is at work: then nothing of its capture is in doubt. */
async function forget(
  {
    databases,
    queue,
    definition: { syncs },
  }: {
    readonly databases: Databases;
    readonly queue: Queue | null;
    readonly definition: PipelineDefinition;
  },
  name: string,
  tables: readonly TableName[],
): Promise<void> {
  await using(databases.openSource(name), async (source) => {
    const log = await source.openChangeLog();
    if (log === null) return;
    await using(Promise.resolve(log), async (opened) => {
      await opened.forget(tables, async () => {
        // What captured these works with a queue elsewhere.
        if (queue === null) return false;
        // A sync of another config copies nothing anew for what is asked here: its changes must go on being logged.
        const known = new Set(syncs.map((sync) => sync.name));
        const holders = [...(await opened.subscribers.list()).keys()];
        if (!holders.every((holder) => known.has(holder))) return false;
        // The lease of a file is seen by its own user alone, and a relay at work may have copied by now what is asked for.
        return !(await isRelayAtWork(queue, name));
      });
    });
  });
}
